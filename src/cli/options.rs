//! The options of a run, nothing else. `hide_short_help` keeps an option out of `-h`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    Arg, ArgAction, ArgGroup, Parser, ValueHint,
    builder::{OsStringValueParser, TypedValueParser},
    value_parser,
};

use super::{
    questions::Questions,
    short_help,
    values::{LocalLock, LogFormat, ReadyWhen, SignalName, duration, flag, local_lock, shell_line, verbosity},
    variables::Variables,
};

const WHERE: &str = "What to run, and where";
const HOW_LONG: &str = "How long";
const HOW_IT_ENDS: &str = "How it ends";
const OUTPUT: &str = "Output";

/// Run a command on exactly one of many machines, and only while that machine leads
///
/// Start leaderrun with the same resource on every machine: one instance runs COMMAND, the others stand by. The leader
/// holds a lease on a quorum of independent Redis servers (Redlock) and extends it while the command runs. If the lease
/// can't be extended, the command and everything it started are stopped before another instance can lead. Each Redis
/// server is a node.
#[derive(Debug, Parser)]
#[command(
    name = "leaderrun",
    version,
    long_version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("LEADERRUN_BUILT"), ")"),
    max_term_width = 100,
    override_usage = "leaderrun [OPTIONS] --resource NAME [--] COMMAND [ARG]...",
    group = ArgGroup::new("question"),
    group = ArgGroup::new("once"),
    disable_help_flag = true,
    arg = short_help::flag(),
    arg = Arg::new("help").long("help").action(ArgAction::HelpLong).help("Print this help"),
    after_help = "Example: leaderrun -R redis-1,redis-2,redis-3 -r nightly -- ./job.sh\n\
        All options, exit statuses: --help. All but questions also as LEADERRUN_...",
    after_long_help = "Examples:\n\
        \u{20}\u{20}leaderrun -R redis-1,redis-2,redis-3 -r nightly -- ./job.sh\n\
        \u{20}\u{20}leaderrun --local -r report -w 60 -c 'make && ./send'\n\
        \u{20}\u{20}leaderrun -R redis-1,redis-2,redis-3 -r nightly --status\n\n\
        Each option but the questions can also be set in the environment, as LEADERRUN_ and its long name: \
        LEADERRUN_RESOURCE, LEADERRUN_REDIS, LEADERRUN_TTL and so on.\n\n\
        A command has LEADERRUN_RESOURCE, LEADERRUN_HOLDER and LEADERRUN_FENCING_TOKEN in its environment, but not LEADERRUN_REDIS, \
        which may hold passwords: a leaderrun that it starts gets servers by an option or from --redis-file.\n\n\
        Exit status: that of the command; if a signal ended it, the same signal ends leaderrun, which a shell shows as 128 + N; 75 another instance leads and the wait is over; \
        76 leadership was lost and the command stopped; 124 the command ran for longer than --max-run and was stopped; 69 no quorum of nodes could be reached; 74 the command \
        succeeded, but --once-per or --once-for could not record that, or an answer could not be written; 78 another instance uses another number of nodes or slots; 64 usage error; 125 leaderrun itself failed; 126 the command \
        can't be run; 127 the command was not found."
)]
pub(crate) struct Cli {
    /// Name to lead, the same on every instance
    ///
    /// 1 to 512 bytes without control characters.
    #[arg(help_heading = WHERE)]
    #[arg(short, long, value_name = "NAME", env = "LEADERRUN_RESOURCE", hide_env = true)]
    #[arg(required_unless_present_any = ["check", "list", "completions", "man"])]
    pub resource: Option<String>,

    /// Redis servers (nodes); or --redis-file FILE
    ///
    /// Separate servers by commas or repeat the option. Each is HOST[:PORT][/DB] or a URL:
    /// redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss:// for TLS, or unix://PATH?db=DB&user=USER&pass=PASSWORD. An IPv6
    /// address stands in brackets, and special characters in a password are written as %XX. A password in REDISCLI_AUTH is
    /// for each server whose URL has none. Use an odd number of independent servers, 3 or 5: a majority must answer. None of
    /// them may be a Redis replica of another.
    ///
    /// A server with Redis replicas behind Sentinel is one node:
    /// redis-sentinel://[USER:PASSWORD@]HOST[:PORT],.../NAME[/DB] lists all of its Sentinels and the name of the
    /// master. If the Sentinels need a password, append ?sentinel-pass=PASSWORD, and &sentinel-user=USER for a user.
    /// Use rediss-sentinel:// for TLS.
    #[arg(help_heading = WHERE)]
    #[arg(short = 'R', long, value_name = "URL,...", env = "LEADERRUN_REDIS", hide_env = true)]
    #[arg(action = ArgAction::Append)]
    pub redis: Vec<String>,

    /// Read servers from FILE, one per line
    ///
    /// Keeps passwords out of the command line and the environment. Empty lines and lines that begin with # are
    /// ignored. FILE must be a regular file, not a pipe, a device or -: leaderrun reads the file again for each connection, so a password can be changed while a leader runs;
    /// the list of servers can't.
    #[arg(help_heading = WHERE, hide_short_help = true)]
    #[arg(long, value_name = "FILE", env = "LEADERRUN_REDIS_FILE", hide_env = true, conflicts_with = "redis")]
    pub redis_file: Option<PathBuf>,

    /// The nodes before, while they are changed
    ///
    /// To change the nodes of a running system, restart its instances one by one with the new nodes in --redis and the old
    /// ones in this option; when all have both, restart them one by one without it. An instance with both leads only with a
    /// quorum of each, so it never leads beside one that has just the old nodes, or just the new ones. Write a node that
    /// stays in the same way in both.
    #[arg(help_heading = WHERE, hide_short_help = true)]
    #[arg(long, value_name = "URL,...", env = "LEADERRUN_REDIS_BEFORE", hide_env = true)]
    #[arg(action = ArgAction::Append, conflicts_with = "local")]
    pub redis_before: Vec<String>,

    /// CA certificates to trust for rediss://
    ///
    /// A PEM file. By default leaderrun trusts the certificates of the system, or those that SSL_CERT_FILE names.
    #[arg(help_heading = WHERE, hide_short_help = true)]
    #[arg(long, value_name = "FILE", env = "LEADERRUN_TLS_CA", hide_env = true)]
    #[arg(conflicts_with = "local")]
    pub tls_ca: Option<PathBuf>,

    /// Client certificate for rediss://
    ///
    /// A PEM file, for servers that require one. Needs --tls-key.
    #[arg(help_heading = WHERE, hide_short_help = true)]
    #[arg(long, value_name = "FILE", env = "LEADERRUN_TLS_CERT", hide_env = true)]
    #[arg(requires = "tls_key", conflicts_with = "local")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the client certificate
    #[arg(help_heading = WHERE, hide_short_help = true)]
    #[arg(long, value_name = "FILE", env = "LEADERRUN_TLS_KEY", hide_env = true)]
    #[arg(requires = "tls_cert", conflicts_with = "local")]
    pub tls_key: Option<PathBuf>,

    /// Let N instances lead at a time [default: 1]
    ///
    /// At most 64. Each leads in a slot of its own. The slots are numbered from 1 to N, and each is led like a resource of its own: one leader at a
    /// time, with its own lease and fencing tokens. The command finds its slot in LEADERRUN_SLOT, and N in LEADERRUN_SLOTS.
    /// When a leader ends or dies, a standby takes over its slot. Use the same value on every instance: one that finds
    /// another value stands by, or exits with 78. To change it, stop all instances first. A command that has LEADERRUN_SLOT
    /// doesn't pass LEADERRUN_SLOTS on to a leaderrun that it starts itself. Can't be combined with --once-for or --once-per.
    #[arg(help_heading = WHERE, hide_short_help = true)]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=64))]
    pub slots: Option<u16>,

    /// This machine only, with flock(2) and no Redis
    ///
    /// The lock file is in $XDG_RUNTIME_DIR, /run/lock or the temporary directory, whichever is the first where it can
    /// be. Processes of the same user that use the same directory compete.
    ///
    /// With --local=FILE the lock is that file, for all users who may write to it, whatever the name of the resource is.
    /// leaderrun and flock(1) on the same file exclude each other. leaderrun creates the file for all users if it doesn't
    /// exist, and keeps its token counter and records there; the file must not hold anything else, and a script that locks it
    /// by flock(1) must open it with 9>>FILE, since 9>FILE empties it. --hold keeps out leaderruns alone. It has one
    /// slot, and runs aren't recorded there.
    #[arg(help_heading = WHERE)]
    #[arg(long, value_name = "FILE", env = "LEADERRUN_LOCAL", hide_env = true)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "1", value_hint = ValueHint::FilePath)]
    #[arg(value_parser = OsStringValueParser::new().try_map(local_lock))]
    #[arg(conflicts_with_all = ["redis", "redis_file"])]
    pub local: Option<LocalLock>,

    /// Prefix of the keys on the nodes
    ///
    /// The lock is the key PREFIX + NAME. With the prefix of another Redlock library, leaderrun and that library
    /// exclude each other.
    #[arg(help_heading = WHERE, hide_short_help = true)]
    #[arg(long, value_name = "PREFIX", env = "LEADERRUN_KEY_PREFIX", hide_env = true, default_value = "leaderrun:")]
    pub key_prefix: String,

    /// Name of this instance [default: host:pid]
    ///
    /// A leaderrun that a command of leaderrun starts has a name of its own: LEADERRUN_HOLDER is that of its leader there.
    #[arg(help_heading = WHERE, hide_short_help = true)]
    #[arg(long, value_name = "NAME", env = "LEADERRUN_HOLDER", hide_env = true)]
    pub holder: Option<String>,

    /// Run LINE with sh instead of a COMMAND
    ///
    /// -c 'a && b' is the same as the command sh -c 'a && b'. It is always sh, whatever SHELL is; for another shell, write
    /// bash -c 'a && b' as the command.
    #[arg(help_heading = WHERE, hide_short_help = true)]
    #[arg(short = 'c', long = "command", value_name = "LINE", env = "LEADERRUN_COMMAND", hide_env = true)]
    #[arg(value_hint = ValueHint::CommandString, conflicts_with_all = ["command", "question"])]
    #[arg(value_parser = OsStringValueParser::new().try_map(shell_line))]
    pub shell_line: Option<OsString>,

    /// Don't wait: exit with 75 if another leads
    ///
    /// Prints who leads on a terminal, and elsewhere only with -v. Exits with 78 if an instance with another number of nodes
    /// or slots has the lock, or asks for it. While nodes hang, to learn that takes up to a third of the ttl; with -w 1, it
    /// doesn't.
    #[arg(help_heading = HOW_LONG)]
    #[arg(short = 'n', long = "try", aliases = ["nb", "nonblock"], env = "LEADERRUN_TRY", hide_env = true, value_parser = flag)]
    #[arg(conflicts_with = "wait")]
    pub try_once: bool,

    /// Wait at most DURATION to lead [default: forever]
    ///
    /// Then exit with 75, or with 69 if no quorum of nodes can be reached. Prints who leads on a terminal, and elsewhere only
    /// with -v. While nodes hang, it waits for their answers for a second at least, and may take a second or two more to give
    /// its votes back. A number without a unit is seconds, here and in
    /// all durations: 5, 0.5, 500ms, 15s, 2m.
    #[arg(help_heading = HOW_LONG)]
    #[arg(short, long, alias = "timeout", value_name = "DURATION", env = "LEADERRUN_WAIT", hide_env = true, value_parser = duration)]
    #[arg(allow_hyphen_values = true)]
    pub wait: Option<Duration>,

    /// Duration of the lease [default: 15s]
    ///
    /// If the leader's host dies, a standby takes over within this time. The minimum is 500ms. The leader extends the
    /// lease every third of it. Use the same value on every instance.
    #[arg(help_heading = HOW_LONG)]
    #[arg(short, long, value_name = "DURATION", env = "LEADERRUN_TTL", hide_env = true)]
    #[arg(value_parser = duration, allow_hyphen_values = true, default_value = "15s", hide_default_value = true)]
    pub ttl: Duration,

    /// Keep the lock for at least DURATION
    ///
    /// The time counts from the start of the command. The lock stays taken even when the command and leaderrun have
    /// ended, so that instances with a late clock still find it taken. A crash of leaderrun or a lost lease still
    /// releases it, and so do nodes that lose their data meanwhile.
    #[arg(help_heading = HOW_LONG, hide_short_help = true)]
    #[arg(long, value_name = "DURATION", env = "LEADERRUN_HOLD", hide_env = true, value_parser = duration)]
    #[arg(allow_hyphen_values = true)]
    pub hold: Option<Duration>,

    /// At most one success per KEY, such as a date
    ///
    /// Once the command has exited with 0 on any instance with this KEY, no instance starts it again with the same KEY;
    /// they exit with 0. While it runs, the others stand by; if it fails, one of them runs it again. For a daily job,
    /// "$(date +%F)" names the day (in a crontab: "$(date +\%F)"). A day that was missed can be caught up on later, by
    /// its KEY. A success is remembered for 32 days (--remember).
    #[arg(help_heading = HOW_LONG)]
    #[arg(long, value_name = "KEY", env = "LEADERRUN_ONCE_FOR", hide_env = true, group = "once")]
    pub once_for: Option<String>,

    /// How long --once-for remembers a KEY [default: 32d]
    ///
    /// The time counts from the start of the command that succeeded, and for failures (--attempts) from the first one.
    /// Use the same value on every instance.
    #[arg(help_heading = HOW_LONG, hide_short_help = true)]
    #[arg(long, value_name = "DURATION", env = "LEADERRUN_REMEMBER", hide_env = true, requires = "once_for")]
    #[arg(value_parser = duration, allow_hyphen_values = true, default_value = "32d", hide_default_value = true)]
    #[arg(conflicts_with = "once_per")]
    pub remember: Duration,

    /// At most one success per DURATION
    ///
    /// As --once-for, for a period that has a length in place of a name. It counts from the start of the command that
    /// succeeded. Use a bit less than the time between two runs, and the same value on every instance. A run that
    /// succeeds late, after failures, also covers the start of the next period: with 23h, a job of 3:00 that succeeds
    /// at 4:30 is skipped the next night. For a job that must succeed each day, use --once-for.
    #[arg(help_heading = HOW_LONG, hide_short_help = true)]
    #[arg(long, value_name = "DURATION", env = "LEADERRUN_ONCE_PER", hide_env = true, value_parser = duration)]
    #[arg(allow_hyphen_values = true, group = "once")]
    pub once_per: Option<Duration>,

    /// Maximum number of failures per period
    ///
    /// With --once-for or --once-per: once the command has failed N times, on all instances together, they give up and
    /// exit with 75, with an error that names the last failure. By default it runs once per waiting instance. A crash, a
    /// lost lease, a step-down, or an end after TERM, INT, HUP or QUIT has come to leaderrun doesn't count.
    #[arg(help_heading = HOW_LONG, hide_short_help = true)]
    #[arg(long, value_name = "N", env = "LEADERRUN_ATTEMPTS", hide_env = true, requires = "once")]
    #[arg(value_parser = value_parser!(u16).range(1..))]
    pub attempts: Option<u16>,

    /// Stop a command that runs for longer than DURATION
    ///
    /// The time counts from the start of the command. leaderrun then sends --signal, kills after --stop-timeout, and
    /// exits with 124, as timeout(1) does. It counts as a failure, so that with --once-for or --once-per another instance
    /// tries.
    #[arg(help_heading = HOW_LONG, hide_short_help = true)]
    #[arg(long, value_name = "DURATION", env = "LEADERRUN_MAX_RUN", hide_env = true, value_parser = duration)]
    #[arg(allow_hyphen_values = true)]
    pub max_run: Option<Duration>,

    /// Signal that stops the command [default: TERM]
    ///
    /// A name or a number. leaderrun sends it to the command's process group when leadership is lost.
    #[arg(help_heading = HOW_IT_ENDS)]
    #[arg(short, long, value_name = "SIGNAL", env = "LEADERRUN_SIGNAL", hide_env = true)]
    #[arg(default_value = "TERM", hide_default_value = true, value_parser = SignalName, hide_possible_values = true)]
    pub signal: String,

    /// Time from signal to SIGKILL [default: 5s or ttl/3]
    ///
    /// SIGKILL goes to the command and everything it started. The default is 5s or ttl/3, whichever is less. It follows a
    /// signal that leaderrun sends of its own accord, not one that is sent to leaderrun and passed on.
    #[arg(help_heading = HOW_IT_ENDS)]
    #[arg(short, long, value_name = "DURATION", env = "LEADERRUN_KILL_AFTER", hide_env = true)]
    #[arg(value_parser = duration, allow_hyphen_values = true)]
    pub kill_after: Option<Duration>,

    /// The same for --step-down and --max-run
    ///
    /// How long the command may take to stop when the lease isn't lost, and what it leaves behind when it ends: leaderrun
    /// extends the lease meanwhile, so any time is allowed. By default that of --kill-after.
    #[arg(help_heading = HOW_IT_ENDS, hide_short_help = true)]
    #[arg(long, value_name = "DURATION", env = "LEADERRUN_STOP_TIMEOUT", hide_env = true)]
    #[arg(value_parser = duration, allow_hyphen_values = true)]
    pub stop_timeout: Option<Duration>,

    /// Run the command in a PID namespace
    ///
    /// When leaderrun dies, the kernel kills everything that the command started, even if both processes of leaderrun
    /// are killed in the same instant. Needs root, or a system that lets users create namespaces. The command has its
    /// own /proc and its own mounts.
    #[arg(help_heading = HOW_IT_ENDS, hide_short_help = true)]
    #[arg(long, env = "LEADERRUN_PID_NAMESPACE", hide_env = true, value_parser = flag)]
    pub pid_namespace: bool,

    /// Exit with N instead of 75
    ///
    /// Also with --step-down and --forget.
    #[arg(help_heading = HOW_IT_ENDS, hide_short_help = true)]
    #[arg(short = 'E', long, value_name = "N", env = "LEADERRUN_CONFLICT_EXIT_CODE", hide_env = true)]
    #[arg(value_parser = value_parser!(u8))]
    pub conflict_exit_code: Option<u8>,

    /// Exit with N if the command has succeeded already
    ///
    /// With --once-for or --once-per, in place of 0, so that a run that was skipped can be told from one that was done.
    #[arg(help_heading = HOW_IT_ENDS, hide_short_help = true)]
    #[arg(long, value_name = "N", env = "LEADERRUN_SKIP_EXIT_CODE", hide_env = true, requires = "once")]
    #[arg(value_parser = value_parser!(u8))]
    pub skip_exit_code: Option<u8>,

    /// Stand by again after losing leadership
    ///
    /// By default leaderrun exits with 76 when the lease is lost or it is asked to step down. With --rejoin it lets
    /// another instance lead first and then competes again. For environments where nothing restarts leaderrun.
    #[arg(help_heading = HOW_IT_ENDS, hide_short_help = true)]
    #[arg(long, env = "LEADERRUN_REJOIN", hide_env = true, value_parser = flag)]
    pub rejoin: bool,

    /// Print more; twice: every round
    #[arg(help_heading = OUTPUT)]
    #[arg(short, long, env = "LEADERRUN_VERBOSE", hide_env = true, action = ArgAction::Count, value_parser = verbosity)]
    pub verbose: u8,

    /// Print nothing but usage errors
    ///
    /// With a question, the exit status is the answer, as with grep -q. The variable LEADERRUN_QUIET is for runs: answers are
    /// printed all the same.
    #[arg(help_heading = OUTPUT)]
    #[arg(short, long, env = "LEADERRUN_QUIET", hide_env = true, value_parser = flag)]
    #[arg(conflicts_with = "verbose")]
    pub quiet: bool,

    /// Format of the messages on stderr
    #[arg(help_heading = OUTPUT, hide_short_help = true)]
    #[arg(long, value_name = "FORMAT", env = "LEADERRUN_LOG_FORMAT", hide_env = true, value_enum)]
    #[arg(default_value = "text")]
    pub log_format: LogFormat,

    /// Notify systemd when leaderrun is ready
    ///
    /// For units with Type=notify. leaderrun also reports its status, that it is stopping and, with WatchdogSec=, that
    /// it is alive. The command doesn't see the socket. Does nothing if NOTIFY_SOCKET is unset.
    #[arg(help_heading = OUTPUT, hide_short_help = true)]
    #[arg(long, value_name = "WHEN", env = "LEADERRUN_SD_NOTIFY", hide_env = true, value_enum)]
    pub sd_notify: Option<ReadyWhen>,

    #[command(flatten)]
    pub questions: Questions,

    /// The command and its arguments
    ///
    /// Its exit ends leadership. What it leaves running then, also in the background or detached, is sent --signal, and SIGKILL
    /// after --stop-timeout.
    #[arg(required_unless_present_any = ["question", "shell_line", "openmetrics"], trailing_var_arg = true)]
    #[arg(value_name = "COMMAND")]
    #[arg(value_hint = ValueHint::CommandWithArguments, value_parser = value_parser!(OsString))]
    pub command: Vec<OsString>,

    #[arg(skip)]
    pub variables: Variables,
}
