
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
            cand -r 'What to lead: a name, the same on every replica'
            cand --resource 'What to lead: a name, the same on every replica'
            cand -R 'The Redis servers, with commas or repeated'
            cand --redis 'The Redis servers, with commas or repeated'
            cand --redis-file 'The same from a file, a URL a line'
            cand --tls-ca 'For rediss://: the CA''s certificates'
            cand --tls-cert 'For rediss://: our certificate'
            cand --tls-key 'For rediss://: our certificate''s key'
            cand --key-prefix 'The prefix of the keys on the Redis servers'
            cand --holder 'Who we are to others [default: host:pid]'
            cand -w 'Wait so long to lead [default: for ever]'
            cand --wait 'Wait so long to lead [default: for ever]'
            cand -t 'How long a lease lasts [default: 15s]'
            cand --ttl 'How long a lease lasts [default: 15s]'
            cand --hold 'Keep the lock so long from the start'
            cand --once-per 'At most one success per period'
            cand --attempts 'How often it may fail per period'
            cand -s 'What tells the command to stop [default: TERM]'
            cand --signal 'What tells the command to stop [default: TERM]'
            cand -k 'How long it then has [default: 5s or ttl/3]'
            cand --kill-after 'How long it then has [default: 5s or ttl/3]'
            cand -E 'Exit with N instead of 75'
            cand --conflict-exit-code 'Exit with N instead of 75'
            cand --log-format 'How messages are written to stderr'
            cand --sd-notify 'Tell systemd when we are ready'
            cand --leads 'Ask whether HOLDER leads'
            cand --completions 'Print completions'
            cand --local 'This machine only, with flock(2) and no Redis'
            cand -n 'Don''t wait: exit with 75 if another leads'
            cand --try 'Don''t wait: exit with 75 if another leads'
            cand --pid-namespace 'Run the command in a PID namespace'
            cand --rejoin 'Stand by again after losing the lead'
            cand -v 'Say more; twice: each round'
            cand --verbose 'Say more; twice: each round'
            cand -q 'Say nothing, not even errors'
            cand --quiet 'Say nothing, not even errors'
            cand --status 'Ask who leads'
            cand --watch 'Tell whenever the leader changes'
            cand --check 'Ask the servers whether they are fit'
            cand --step-down 'Ask the leader to give up'
            cand --json 'With --check, --status and --watch: print JSON'
            cand --man 'Print the man page'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
    ]
    $completions[$command]
}
