
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
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'Name to lead, the same on every instance')
            [CompletionResult]::new('--resource', '--resource', [CompletionResultType]::ParameterName, 'Name to lead, the same on every instance')
            [CompletionResult]::new('-R', '-R ', [CompletionResultType]::ParameterName, 'Redis servers (nodes); or --redis-file FILE')
            [CompletionResult]::new('--redis', '--redis', [CompletionResultType]::ParameterName, 'Redis servers (nodes); or --redis-file FILE')
            [CompletionResult]::new('--redis-file', '--redis-file', [CompletionResultType]::ParameterName, 'Read servers from FILE, one per line')
            [CompletionResult]::new('--redis-before', '--redis-before', [CompletionResultType]::ParameterName, 'The nodes before, while they are changed')
            [CompletionResult]::new('--tls-ca', '--tls-ca', [CompletionResultType]::ParameterName, 'CA certificates to trust for rediss://')
            [CompletionResult]::new('--tls-cert', '--tls-cert', [CompletionResultType]::ParameterName, 'Client certificate for rediss://')
            [CompletionResult]::new('--tls-key', '--tls-key', [CompletionResultType]::ParameterName, 'Private key of the client certificate')
            [CompletionResult]::new('--slots', '--slots', [CompletionResultType]::ParameterName, 'Let N instances lead at a time [default: 1]')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'This machine only, with flock(2) and no Redis')
            [CompletionResult]::new('--key-prefix', '--key-prefix', [CompletionResultType]::ParameterName, 'Prefix of the keys on the nodes')
            [CompletionResult]::new('--holder', '--holder', [CompletionResultType]::ParameterName, 'Name of this instance [default: host:pid]')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'Run LINE with sh instead of a COMMAND')
            [CompletionResult]::new('--command', '--command', [CompletionResultType]::ParameterName, 'Run LINE with sh instead of a COMMAND')
            [CompletionResult]::new('-w', '-w', [CompletionResultType]::ParameterName, 'Wait at most DURATION to lead [default: forever]')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Wait at most DURATION to lead [default: forever]')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'Duration of the lease [default: 15s]')
            [CompletionResult]::new('--ttl', '--ttl', [CompletionResultType]::ParameterName, 'Duration of the lease [default: 15s]')
            [CompletionResult]::new('--hold', '--hold', [CompletionResultType]::ParameterName, 'Keep the lock for at least DURATION')
            [CompletionResult]::new('--once-for', '--once-for', [CompletionResultType]::ParameterName, 'At most one success per KEY, such as a date')
            [CompletionResult]::new('--remember', '--remember', [CompletionResultType]::ParameterName, 'How long --once-for remembers a KEY [default: 32d]')
            [CompletionResult]::new('--once-per', '--once-per', [CompletionResultType]::ParameterName, 'At most one success per DURATION')
            [CompletionResult]::new('--attempts', '--attempts', [CompletionResultType]::ParameterName, 'Maximum number of failures per period')
            [CompletionResult]::new('--max-run', '--max-run', [CompletionResultType]::ParameterName, 'Stop a command that runs for longer than DURATION')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'Signal that stops the command [default: TERM]')
            [CompletionResult]::new('--signal', '--signal', [CompletionResultType]::ParameterName, 'Signal that stops the command [default: TERM]')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'Time from signal to SIGKILL [default: 5s or ttl/3]')
            [CompletionResult]::new('--kill-after', '--kill-after', [CompletionResultType]::ParameterName, 'Time from signal to SIGKILL [default: 5s or ttl/3]')
            [CompletionResult]::new('--stop-timeout', '--stop-timeout', [CompletionResultType]::ParameterName, 'The same for --step-down and --max-run')
            [CompletionResult]::new('-E', '-E ', [CompletionResultType]::ParameterName, 'Exit with N instead of 75')
            [CompletionResult]::new('--conflict-exit-code', '--conflict-exit-code', [CompletionResultType]::ParameterName, 'Exit with N instead of 75')
            [CompletionResult]::new('--skip-exit-code', '--skip-exit-code', [CompletionResultType]::ParameterName, 'Exit with N if the command has succeeded already')
            [CompletionResult]::new('--log-format', '--log-format', [CompletionResultType]::ParameterName, 'Format of the messages on stderr')
            [CompletionResult]::new('--sd-notify', '--sd-notify', [CompletionResultType]::ParameterName, 'Notify systemd when leaderrun is ready')
            [CompletionResult]::new('--leads', '--leads', [CompletionResultType]::ParameterName, 'Exit with 0 if HOLDER leads')
            [CompletionResult]::new('--history', '--history', [CompletionResultType]::ParameterName, 'Print the last N runs, and how each ended [default: 20]')
            [CompletionResult]::new('--succeeded-within', '--succeeded-within', [CompletionResultType]::ParameterName, 'Exit with 0 if the command has succeeded within DURATION')
            [CompletionResult]::new('--openmetrics', '--openmetrics', [CompletionResultType]::ParameterName, 'Write metrics to FILE, with --status or --list')
            [CompletionResult]::new('--slot', '--slot', [CompletionResultType]::ParameterName, 'The slot for --step-down or --succeeded-within')
            [CompletionResult]::new('--completions', '--completions', [CompletionResultType]::ParameterName, 'Print the completions for SHELL')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Don''t wait: exit with 75 if another leads')
            [CompletionResult]::new('--try', '--try', [CompletionResultType]::ParameterName, 'Don''t wait: exit with 75 if another leads')
            [CompletionResult]::new('--pid-namespace', '--pid-namespace', [CompletionResultType]::ParameterName, 'Run the command in a PID namespace')
            [CompletionResult]::new('--rejoin', '--rejoin', [CompletionResultType]::ParameterName, 'Stand by again after losing leadership')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more; twice: every round')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more; twice: every round')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print nothing but usage errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print nothing but usage errors')
            [CompletionResult]::new('--status', '--status', [CompletionResultType]::ParameterName, 'Print who leads (--watch: and every change)')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Print a line for each change of leader')
            [CompletionResult]::new('--list', '--list', [CompletionResultType]::ParameterName, 'Print every resource: who leads, and the last run')
            [CompletionResult]::new('--check', '--check', [CompletionResultType]::ParameterName, 'Check the nodes: problems and suggested fixes')
            [CompletionResult]::new('--step-down', '--step-down', [CompletionResultType]::ParameterName, 'Ask the leader to step down gracefully')
            [CompletionResult]::new('--if-standby', '--if-standby', [CompletionResultType]::ParameterName, 'Let --step-down ask only if an instance stands by')
            [CompletionResult]::new('--forget', '--forget', [CompletionResultType]::ParameterName, 'Delete what is recorded of successes and failures')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON, with a question')
            [CompletionResult]::new('--man', '--man', [CompletionResultType]::ParameterName, 'Print the man page')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print a summary')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print this help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
