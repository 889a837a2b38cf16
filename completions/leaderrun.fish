complete -c leaderrun -s r -l resource -d 'Name to lead, the same on every instance' -r
complete -c leaderrun -s R -l redis -d 'Redis servers (nodes); or --redis-file FILE' -r
complete -c leaderrun -l redis-file -d 'Read servers from FILE, one per line' -r -F
complete -c leaderrun -l redis-before -d 'The nodes before, while they are changed' -r
complete -c leaderrun -l tls-ca -d 'CA certificates to trust for rediss://' -r -F
complete -c leaderrun -l tls-cert -d 'Client certificate for rediss://' -r -F
complete -c leaderrun -l tls-key -d 'Private key of the client certificate' -r -F
complete -c leaderrun -l slots -d 'Let N instances lead at a time [default: 1]' -r
complete -c leaderrun -l local -d 'This machine only, with flock(2) and no Redis' -r -F
complete -c leaderrun -l key-prefix -d 'Prefix of the keys on the nodes' -r
complete -c leaderrun -l holder -d 'Name of this instance [default: host:pid]' -r
complete -c leaderrun -s c -l command -d 'Run LINE with sh instead of a COMMAND' -r -f -a "(__fish_complete_command)"
complete -c leaderrun -s w -l wait -d 'Wait at most DURATION to lead [default: forever]' -r
complete -c leaderrun -s t -l ttl -d 'Duration of the lease [default: 15s]' -r
complete -c leaderrun -l hold -d 'Keep the lock for at least DURATION' -r
complete -c leaderrun -l once-for -d 'At most one success per KEY, such as a date' -r
complete -c leaderrun -l remember -d 'How long --once-for remembers a KEY [default: 32d]' -r
complete -c leaderrun -l once-per -d 'At most one success per DURATION' -r
complete -c leaderrun -l attempts -d 'Maximum number of failures per period' -r
complete -c leaderrun -l max-run -d 'Stop a command that runs for longer than DURATION' -r
complete -c leaderrun -s s -l signal -d 'Signal that stops the command [default: TERM]' -r -f -a "HUP\t''
INT\t''
QUIT\t''
ILL\t''
TRAP\t''
ABRT\t''
BUS\t''
FPE\t''
KILL\t''
USR1\t''
SEGV\t''
USR2\t''
PIPE\t''
ALRM\t''
TERM\t''
STKFLT\t''
CHLD\t''
CONT\t''
STOP\t''
TSTP\t''
TTIN\t''
TTOU\t''
URG\t''
XCPU\t''
XFSZ\t''
VTALRM\t''
PROF\t''
WINCH\t''
IO\t''
PWR\t''
SYS\t''"
complete -c leaderrun -s k -l kill-after -d 'Time from signal to SIGKILL [default: 5s or ttl/3]' -r
complete -c leaderrun -l stop-timeout -d 'The same for --step-down and --max-run' -r
complete -c leaderrun -s E -l conflict-exit-code -d 'Exit with N instead of 75' -r
complete -c leaderrun -l skip-exit-code -d 'Exit with N if the command has succeeded already' -r
complete -c leaderrun -l log-format -d 'Format of the messages on stderr' -r -f -a "text\t''
json\t''"
complete -c leaderrun -l sd-notify -d 'Notify systemd when leaderrun is ready' -r -f -a "standby\t'As soon as this instance stands by or leads'
leader\t'When the command runs'"
complete -c leaderrun -l leads -d 'Exit with 0 if HOLDER leads' -r
complete -c leaderrun -l history -d 'Print the last N runs, and how each ended [default: 20]' -r
complete -c leaderrun -l succeeded-within -d 'Exit with 0 if the command has succeeded within DURATION' -r
complete -c leaderrun -l openmetrics -d 'Write metrics to FILE, with --status or --list' -r -F
complete -c leaderrun -l slot -d 'The slot for --step-down or --succeeded-within' -r
complete -c leaderrun -l completions -d 'Print the completions for SHELL' -r -f -a "bash\t''
zsh\t''
fish\t''
elvish\t''
powershell\t''"
complete -c leaderrun -s n -l try -d 'Don\'t wait: exit with 75 if another leads'
complete -c leaderrun -l pid-namespace -d 'Run the command in a PID namespace'
complete -c leaderrun -l rejoin -d 'Stand by again after losing leadership'
complete -c leaderrun -s v -l verbose -d 'Print more; twice: every round'
complete -c leaderrun -s q -l quiet -d 'Print nothing but usage errors'
complete -c leaderrun -l status -d 'Print who leads (--watch: and every change)'
complete -c leaderrun -l watch -d 'Print a line for each change of leader'
complete -c leaderrun -l list -d 'Print every resource: who leads, and the last run'
complete -c leaderrun -l check -d 'Check the nodes: problems and suggested fixes'
complete -c leaderrun -l step-down -d 'Ask the leader to step down gracefully'
complete -c leaderrun -l if-standby -d 'Let --step-down ask only if an instance stands by'
complete -c leaderrun -l forget -d 'Delete what is recorded of successes and failures'
complete -c leaderrun -l json -d 'Print JSON, with a question'
complete -c leaderrun -l man -d 'Print the man page'
complete -c leaderrun -s h -d 'Print a summary'
complete -c leaderrun -l help -d 'Print this help'
complete -c leaderrun -s V -l version -d 'Print version'
