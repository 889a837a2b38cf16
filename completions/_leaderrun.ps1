
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'leaderrun' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'leaderrun'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'leaderrun' {
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'What to lead: a name, the same on every replica')
            [CompletionResult]::new('--resource', '--resource', [CompletionResultType]::ParameterName, 'What to lead: a name, the same on every replica')
            [CompletionResult]::new('-R', '-R ', [CompletionResultType]::ParameterName, 'The Redis servers, with commas or repeated')
            [CompletionResult]::new('--redis', '--redis', [CompletionResultType]::ParameterName, 'The Redis servers, with commas or repeated')
            [CompletionResult]::new('--redis-file', '--redis-file', [CompletionResultType]::ParameterName, 'The same from a file, a URL a line')
            [CompletionResult]::new('--tls-ca', '--tls-ca', [CompletionResultType]::ParameterName, 'For rediss://: the CA''s certificates')
            [CompletionResult]::new('--tls-cert', '--tls-cert', [CompletionResultType]::ParameterName, 'For rediss://: our certificate')
            [CompletionResult]::new('--tls-key', '--tls-key', [CompletionResultType]::ParameterName, 'For rediss://: our certificate''s key')
            [CompletionResult]::new('--key-prefix', '--key-prefix', [CompletionResultType]::ParameterName, 'The prefix of the keys on the Redis servers')
            [CompletionResult]::new('--holder', '--holder', [CompletionResultType]::ParameterName, 'Who we are to others [default: host:pid]')
            [CompletionResult]::new('-w', '-w', [CompletionResultType]::ParameterName, 'Wait so long to lead [default: for ever]')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Wait so long to lead [default: for ever]')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'How long a lease lasts [default: 15s]')
            [CompletionResult]::new('--ttl', '--ttl', [CompletionResultType]::ParameterName, 'How long a lease lasts [default: 15s]')
            [CompletionResult]::new('--hold', '--hold', [CompletionResultType]::ParameterName, 'Keep the lock so long from the start')
            [CompletionResult]::new('--once-per', '--once-per', [CompletionResultType]::ParameterName, 'At most one success per period')
            [CompletionResult]::new('--attempts', '--attempts', [CompletionResultType]::ParameterName, 'How often it may fail per period')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'What tells the command to stop [default: TERM]')
            [CompletionResult]::new('--signal', '--signal', [CompletionResultType]::ParameterName, 'What tells the command to stop [default: TERM]')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'How long it then has [default: 5s or ttl/3]')
            [CompletionResult]::new('--kill-after', '--kill-after', [CompletionResultType]::ParameterName, 'How long it then has [default: 5s or ttl/3]')
            [CompletionResult]::new('-E', '-E ', [CompletionResultType]::ParameterName, 'Exit with N instead of 75')
            [CompletionResult]::new('--conflict-exit-code', '--conflict-exit-code', [CompletionResultType]::ParameterName, 'Exit with N instead of 75')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'How messages are written to stderr')
            [CompletionResult]::new('--sd-notify', '--sd-notify', [CompletionResultType]::ParameterName, 'Tell systemd when we are ready')
            [CompletionResult]::new('--leads', '--leads', [CompletionResultType]::ParameterName, 'Ask whether HOLDER leads')
            [CompletionResult]::new('--completions', '--completions', [CompletionResultType]::ParameterName, 'Print completions')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'This machine only, with flock(2) and no Redis')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Don''t wait: exit with 75 if another leads')
            [CompletionResult]::new('--try', '--try', [CompletionResultType]::ParameterName, 'Don''t wait: exit with 75 if another leads')
            [CompletionResult]::new('--pid-namespace', '--pid-namespace', [CompletionResultType]::ParameterName, 'Run the command in a PID namespace')
            [CompletionResult]::new('--rejoin', '--rejoin', [CompletionResultType]::ParameterName, 'Stand by again after losing the lead')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more; twice: each round')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more; twice: each round')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing, not even errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing, not even errors')
            [CompletionResult]::new('--status', '--status', [CompletionResultType]::ParameterName, 'Ask who leads')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Tell whenever the leader changes')
            [CompletionResult]::new('--check', '--check', [CompletionResultType]::ParameterName, 'Ask the servers whether they are fit')
            [CompletionResult]::new('--step-down', '--step-down', [CompletionResultType]::ParameterName, 'Ask the leader to give up')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'With --check, --status and --watch: print JSON')
            [CompletionResult]::new('--man', '--man', [CompletionResultType]::ParameterName, 'Print the man page')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
