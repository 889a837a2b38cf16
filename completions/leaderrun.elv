
use builtin;
use str;

set edit:completion:arg-completer[leaderrun] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'leaderrun'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'leaderrun'= {
            cand -r 'Name to lead, the same on every instance'
            cand --resource 'Name to lead, the same on every instance'
            cand -R 'Redis servers (nodes); or --redis-file FILE'
            cand --redis 'Redis servers (nodes); or --redis-file FILE'
            cand --redis-file 'Read servers from FILE, one per line'
            cand --redis-before 'The nodes before, while they are changed'
            cand --tls-ca 'CA certificates to trust for rediss://'
            cand --tls-cert 'Client certificate for rediss://'
            cand --tls-key 'Private key of the client certificate'
            cand --slots 'Let N instances lead at a time [default: 1]'
            cand --local 'This machine only, with flock(2) and no Redis'
            cand --key-prefix 'Prefix of the keys on the nodes'
            cand --holder 'Name of this instance [default: host:pid]'
            cand -c 'Run LINE with sh instead of a COMMAND'
            cand --command 'Run LINE with sh instead of a COMMAND'
            cand -w 'Wait at most DURATION to lead [default: forever]'
            cand --wait 'Wait at most DURATION to lead [default: forever]'
            cand -t 'Duration of the lease [default: 15s]'
            cand --ttl 'Duration of the lease [default: 15s]'
            cand --hold 'Keep the lock for at least DURATION'
            cand --once-for 'At most one success per KEY, such as a date'
            cand --remember 'How long --once-for remembers a KEY [default: 32d]'
            cand --once-per 'At most one success per DURATION'
            cand --attempts 'Maximum number of failures per period'
            cand --max-run 'Stop a command that runs for longer than DURATION'
            cand -s 'Signal that stops the command [default: TERM]'
            cand --signal 'Signal that stops the command [default: TERM]'
            cand -k 'Time from signal to SIGKILL [default: 5s or ttl/3]'
            cand --kill-after 'Time from signal to SIGKILL [default: 5s or ttl/3]'
            cand --stop-timeout 'The same for --step-down and --max-run'
            cand -E 'Exit with N instead of 75'
            cand --conflict-exit-code 'Exit with N instead of 75'
            cand --skip-exit-code 'Exit with N if the command has succeeded already'
            cand --log-format 'Format of the messages on stderr'
            cand --sd-notify 'Notify systemd when leaderrun is ready'
            cand --leads 'Exit with 0 if HOLDER leads'
            cand --history 'Print the last N runs, and how each ended [default: 20]'
            cand --succeeded-within 'Exit with 0 if the command has succeeded within DURATION'
            cand --openmetrics 'Write metrics to FILE, with --status or --list'
            cand --slot 'The slot for --step-down or --succeeded-within'
            cand --completions 'Print the completions for SHELL'
            cand -n 'Don''t wait: exit with 75 if another leads'
            cand --try 'Don''t wait: exit with 75 if another leads'
            cand --pid-namespace 'Run the command in a PID namespace'
            cand --rejoin 'Stand by again after losing leadership'
            cand -v 'Print more; twice: every round'
            cand --verbose 'Print more; twice: every round'
            cand -q 'Print nothing but usage errors'
            cand --quiet 'Print nothing but usage errors'
            cand --status 'Print who leads (--watch: and every change)'
            cand --watch 'Print a line for each change of leader'
            cand --list 'Print every resource: who leads, and the last run'
            cand --check 'Check the nodes: problems and suggested fixes'
            cand --step-down 'Ask the leader to step down gracefully'
            cand --if-standby 'Let --step-down ask only if an instance stands by'
            cand --forget 'Delete what is recorded of successes and failures'
            cand --json 'Print JSON, with a question'
            cand --man 'Print the man page'
            cand -h 'Print a summary'
            cand --help 'Print this help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
    ]
    $completions[$command]
}
