complete -c leaderrun -s r -l resource -d 'What to lead: a name, the same on every replica' -r
complete -c leaderrun -s R -l redis -d 'The Redis servers, with commas or repeated' -r
complete -c leaderrun -l redis-file -d 'The same from a file, a URL a line' -r -F
complete -c leaderrun -l tls-ca -d 'For rediss://: the CA\'s certificates' -r -F
complete -c leaderrun -l tls-cert -d 'For rediss://: our certificate' -r -F
complete -c leaderrun -l tls-key -d 'For rediss://: our certificate\'s key' -r -F
complete -c leaderrun -l key-prefix -d 'The prefix of the keys on the Redis servers' -r
complete -c leaderrun -l holder -d 'Who we are to others [default: host:pid]' -r
complete -c leaderrun -s w -l wait -d 'Wait so long to lead [default: for ever]' -r
complete -c leaderrun -s t -l ttl -d 'How long a lease lasts [default: 15s]' -r
complete -c leaderrun -l hold -d 'Keep the lock so long from the start' -r
complete -c leaderrun -l once-per -d 'At most one success per period' -r
complete -c leaderrun -l attempts -d 'How often it may fail per period' -r
complete -c leaderrun -s s -l signal -d 'What tells the command to stop [default: TERM]' -r -f -a "HUP\t''
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
complete -c leaderrun -s k -l kill-after -d 'How long it then has [default: 5s or ttl/3]' -r
complete -c leaderrun -s E -l conflict-exit-code -d 'Exit with N instead of 75' -r
complete -c leaderrun -l log-format -d 'How messages are written to stderr' -r -f -a "text\t''
json\t''"
complete -c leaderrun -l sd-notify -d 'Tell systemd when we are ready' -r -f -a "standby\t'As soon as we stand by or lead'
leader\t'When the command runs'"
complete -c leaderrun -l leads -d 'Ask whether HOLDER leads' -r
complete -c leaderrun -l completions -d 'Print completions' -r -f -a "bash\t''
zsh\t''
fish\t''
elvish\t''
powershell\t''"
complete -c leaderrun -l local -d 'This machine only, with flock(2) and no Redis'
complete -c leaderrun -s n -l try -d 'Don\'t wait: exit with 75 if another leads'
complete -c leaderrun -l pid-namespace -d 'Run the command in a PID namespace'
complete -c leaderrun -l rejoin -d 'Stand by again after losing the lead'
complete -c leaderrun -s v -l verbose -d 'Say more; twice: each round'
complete -c leaderrun -s q -l quiet -d 'Say nothing, not even errors'
complete -c leaderrun -l status -d 'Ask who leads'
complete -c leaderrun -l watch -d 'Tell whenever the leader changes'
complete -c leaderrun -l check -d 'Ask the servers whether they are fit'
complete -c leaderrun -l step-down -d 'Ask the leader to give up'
complete -c leaderrun -l json -d 'With --check, --status and --watch: print JSON'
complete -c leaderrun -l man -d 'Print the man page'
complete -c leaderrun -s h -l help -d 'Print help (see more with \'--help\')'
complete -c leaderrun -s V -l version -d 'Print version'
