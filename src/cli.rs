//! The options, nothing else. The man page and the completions are made from this file; the short help beside it is written.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    time::Duration,
};

use clap::{
    Arg, ArgAction, ArgGroup, Command, Parser, ValueEnum, ValueHint,
    builder::{FalseyValueParser, PossibleValue, StringValueParser, TypedValueParser},
    value_parser,
};
use nix::sys::signal::Signal;

const WHERE: &str = "What to run, and where";
const HOW_LONG: &str = "How long";
const HOW_IT_ENDS: &str = "How it ends";
const OUTPUT: &str = "Output";
const QUESTIONS: &str = "Questions, in place of a command";

/// What -h prints: one screen. The rest is in --help.
pub const SHORT_HELP: &str = include_str!("short_help.txt");

/// Run a command on exactly one of many machines, and only while that machine leads.
///
/// Started with the same resource on every replica, leaderrun runs COMMAND on one of them; the others stand by. The
/// leader holds a lease on a quorum of independent Redis servers (Redlock) and extends it while the command runs. When
/// the lease can't be extended, the command and all that it started are stopped before another replica can lead.
#[derive(Debug, Parser)]
#[command(
    name = "leaderrun",
    version,
    long_version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("LEADERRUN_BUILT"), ")"),
    max_term_width = 100,
    override_usage = "leaderrun [OPTIONS] --resource NAME [--] COMMAND [ARG]...",
    group = ArgGroup::new("question"),
    after_long_help = "Each option can also be given in the environment, as LEADERRUN_ and its long name: \
        LEADERRUN_RESOURCE, LEADERRUN_REDIS, LEADERRUN_TTL and so on.\n\n\
        Exit status: the command's, or 128 + N if signal N ended it; 75 another leads and we did not wait, or no \
        longer; 76 leadership was lost and the command stopped; 69 no quorum of nodes could be reached; 74 the \
        command succeeded, but that could not be recorded for --once-per; 64 a usage error; 125 our own failure; 126 the \
        command can't be run; 127 the command was not found."
)]
pub struct Cli {
    /// What to lead: a name, the same on every replica
    ///
    /// 1 to 512 bytes without control characters.
    #[arg(help_heading = WHERE)]
    #[arg(short, long, value_name = "NAME", env = "LEADERRUN_RESOURCE", hide_env = true)]
    #[arg(required_unless_present_any = ["check", "completions", "man"])]
    pub resource: Option<String>,

    /// The Redis servers, with commas or repeated
    ///
    /// redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss:// for TLS, or
    /// unix://PATH?db=DB&user=USER&pass=PASSWORD. An odd number of independent servers
    /// is best, 3 or 5: a majority must answer. None of them may be a replica of another.
    ///
    /// A server with replicas behind Sentinel counts as one:
    /// redis-sentinel://[USER:PASSWORD@]HOST[:PORT],.../NAME[/DB] names all of its Sentinels, and the master's name. A password of
    /// theirs follows as ?sentinel-pass=PASSWORD, a user as &sentinel-user=USER. rediss-sentinel:// is for TLS.
    #[arg(help_heading = WHERE)]
    #[arg(short = 'R', long, value_name = "URL,...", env = "LEADERRUN_REDIS", hide_env = true)]
    #[arg(action = ArgAction::Append)]
    pub redis: Vec<String>,

    /// The same from a file, a URL a line
    ///
    /// Keeps passwords out of the command line and the environment. Empty lines and lines that begin with # are skipped. The
    /// file is read again for each connection, so that a password can be changed under a running leader; the servers stay.
    #[arg(help_heading = WHERE)]
    #[arg(long, value_name = "FILE", env = "LEADERRUN_REDIS_FILE", hide_env = true, conflicts_with = "redis")]
    pub redis_file: Option<PathBuf>,

    /// For rediss://: the CA's certificates
    ///
    /// A PEM file. Otherwise the system's are trusted, or those that SSL_CERT_FILE names.
    #[arg(help_heading = WHERE)]
    #[arg(long, value_name = "FILE", env = "LEADERRUN_TLS_CA", hide_env = true)]
    #[arg(conflicts_with = "local")]
    pub tls_ca: Option<PathBuf>,

    /// For rediss://: our certificate
    ///
    /// A PEM file, for servers that want one; with --tls-key.
    #[arg(help_heading = WHERE)]
    #[arg(long, value_name = "FILE", env = "LEADERRUN_TLS_CERT", hide_env = true)]
    #[arg(requires = "tls_key", conflicts_with = "local")]
    pub tls_cert: Option<PathBuf>,

    /// For rediss://: our certificate's key
    #[arg(help_heading = WHERE)]
    #[arg(long, value_name = "FILE", env = "LEADERRUN_TLS_KEY", hide_env = true)]
    #[arg(requires = "tls_cert", conflicts_with = "local")]
    pub tls_key: Option<PathBuf>,

    /// This machine only, with flock(2) and no Redis
    ///
    /// The lock's file is kept in $XDG_RUNTIME_DIR, /run/lock or the temporary folder, the first of them that can be
    /// written to; the processes of one user that use the same folder compete.
    #[arg(help_heading = WHERE)]
    #[arg(long, env = "LEADERRUN_LOCAL", hide_env = true, value_parser = FalseyValueParser::new())]
    #[arg(conflicts_with_all = ["redis", "redis_file"])]
    pub local: bool,

    /// The prefix of the keys on the Redis servers
    ///
    /// The lock is the key PREFIX + NAME. With the prefix of another Redlock library, leaderrun and that library keep each
    /// other out.
    #[arg(help_heading = WHERE)]
    #[arg(long, value_name = "PREFIX", env = "LEADERRUN_KEY_PREFIX", hide_env = true, default_value = "leaderrun:")]
    pub key_prefix: String,

    /// Who we are to others [default: host:pid]
    #[arg(help_heading = WHERE)]
    #[arg(long, value_name = "NAME", env = "LEADERRUN_HOLDER", hide_env = true)]
    pub holder: Option<String>,

    /// Don't wait: exit with 75 if another leads
    #[arg(help_heading = HOW_LONG)]
    #[arg(short = 'n', long = "try", env = "LEADERRUN_TRY", hide_env = true, value_parser = FalseyValueParser::new())]
    #[arg(conflicts_with = "wait")]
    pub try_once: bool,

    /// Wait so long to lead [default: for ever]
    ///
    /// Then exit with 75, or with 69 if no quorum of nodes can be reached.
    #[arg(help_heading = HOW_LONG)]
    #[arg(short, long, value_name = "DURATION", env = "LEADERRUN_WAIT", hide_env = true, value_parser = duration)]
    pub wait: Option<Duration>,

    /// How long a lease lasts [default: 15s]
    ///
    /// When the leader's host dies, a standby takes over within this time. At least 500ms. The lease is extended each
    /// third of it. It must be the same on every replica.
    #[arg(help_heading = HOW_LONG)]
    #[arg(short, long, value_name = "DURATION", env = "LEADERRUN_TTL", hide_env = true)]
    #[arg(value_parser = duration, default_value = "15s", hide_default_value = true)]
    pub ttl: Duration,

    /// Keep the lock so long from the start
    ///
    /// It stays taken for at least this long from the start of the command, though the command and leaderrun have ended:
    /// replicas whose clock is late find it taken. A crash of leaderrun or a lost lease frees it as ever.
    #[arg(help_heading = HOW_LONG)]
    #[arg(long, value_name = "DURATION", env = "LEADERRUN_HOLD", hide_env = true, value_parser = duration)]
    pub hold: Option<Duration>,

    /// At most one success per period
    ///
    /// Once the command has ended with 0 on any replica, none starts it again for this long, counted from the start of
    /// the command that succeeded; they exit with 0. While it runs, the others stand by, and run it again if it fails. Give
    /// it a bit less than the time between two runs, such as 23h for a daily one, and the same on every replica.
    #[arg(help_heading = HOW_LONG)]
    #[arg(long, value_name = "DURATION", env = "LEADERRUN_ONCE_PER", hide_env = true, value_parser = duration)]
    pub once_per: Option<Duration>,

    /// How often it may fail per period
    ///
    /// With --once-per: once the command has failed so often, on all replicas together, they give up and exit with 75. The
    /// default is as often as there are replicas that are willing. A crash or a lost lease doesn't count.
    #[arg(help_heading = HOW_LONG)]
    #[arg(long, value_name = "N", env = "LEADERRUN_ATTEMPTS", hide_env = true, requires = "once_per")]
    #[arg(value_parser = value_parser!(u16).range(1..))]
    pub attempts: Option<u16>,

    /// What tells the command to stop [default: TERM]
    ///
    /// Sent when leadership is lost, to the command's process group: a name or a number.
    #[arg(help_heading = HOW_IT_ENDS)]
    #[arg(short, long, value_name = "SIGNAL", env = "LEADERRUN_SIGNAL", hide_env = true)]
    #[arg(default_value = "TERM", hide_default_value = true, value_parser = SignalName, hide_possible_values = true)]
    pub signal: String,

    /// How long it then has [default: 5s or ttl/3]
    ///
    /// Then it is killed, with all that it started. The default is 5s or ttl/3, whichever is less.
    #[arg(help_heading = HOW_IT_ENDS)]
    #[arg(short, long, value_name = "DURATION", env = "LEADERRUN_KILL_AFTER", hide_env = true)]
    #[arg(value_parser = duration)]
    pub kill_after: Option<Duration>,

    /// Run the command in a PID namespace
    ///
    /// Then the kernel itself ends all that it started when leaderrun dies, also when both of its processes are killed in
    /// the same instant. Needs root, or a system that lets users make namespaces. The command sees its own /proc, and its
    /// mounts are its own.
    #[arg(help_heading = HOW_IT_ENDS)]
    #[arg(long, env = "LEADERRUN_PID_NAMESPACE", hide_env = true, value_parser = FalseyValueParser::new())]
    pub pid_namespace: bool,

    /// Exit with N instead of 75
    #[arg(help_heading = HOW_IT_ENDS)]
    #[arg(short = 'E', long, value_name = "N", env = "LEADERRUN_CONFLICT_EXIT_CODE", hide_env = true)]
    #[arg(value_parser = value_parser!(u8))]
    pub conflict_exit_code: Option<u8>,

    /// Stand by again after losing the lead
    ///
    /// Instead of exiting with 76 when the lease was lost, or when we stepped down: then another gets the time to lead first. For
    /// places without a supervisor that starts us again.
    #[arg(help_heading = HOW_IT_ENDS)]
    #[arg(long, env = "LEADERRUN_REJOIN", hide_env = true, value_parser = FalseyValueParser::new())]
    pub rejoin: bool,

    /// Say more; twice: each round
    #[arg(help_heading = OUTPUT)]
    #[arg(short, long, env = "LEADERRUN_VERBOSE", hide_env = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Say nothing, not even errors
    #[arg(help_heading = OUTPUT)]
    #[arg(short, long, env = "LEADERRUN_QUIET", hide_env = true, value_parser = FalseyValueParser::new())]
    #[arg(conflicts_with = "verbose")]
    pub quiet: bool,

    /// How messages are written to stderr
    #[arg(help_heading = OUTPUT)]
    #[arg(long, value_name = "FORMAT", env = "LEADERRUN_LOG_FORMAT", hide_env = true, value_enum)]
    #[arg(default_value = "text")]
    pub log_format: LogFormat,

    /// Tell systemd when we are ready
    ///
    /// For units with Type=notify: ready when we stand by, or lead, or only when we lead; and what we do, that we stop, and with
    /// WatchdogSec= that leaderrun itself still runs. The command doesn't see the socket. Without one, nothing is told.
    #[arg(help_heading = OUTPUT)]
    #[arg(long, value_name = "WHEN", env = "LEADERRUN_SD_NOTIFY", hide_env = true, value_enum)]
    pub sd_notify: Option<ReadyWhen>,

    /// Ask who leads
    ///
    /// Prints who leads since when, with which fencing token and for how long at least, and what each node says. Doesn't disturb
    /// an election. Exit status: 0 somebody leads, 1 nobody does, 69 no quorum of nodes could be asked.
    #[arg(help_heading = QUESTIONS)]
    #[arg(long, group = "question", conflicts_with = "command")]
    pub status: bool,

    /// Ask whether HOLDER leads
    ///
    /// For health checks: prints nothing. Exit status: 0 that holder leads, 1 it doesn't, 69 no quorum of nodes could be asked.
    /// Give --holder a name that you know where you run the command.
    #[arg(help_heading = QUESTIONS)]
    #[arg(long, value_name = "HOLDER", group = "question", conflicts_with = "command")]
    pub leads: Option<String>,

    /// Tell whenever the leader changes
    ///
    /// Prints a line for each change as it happens, until it is ended. To the nodes it is one more that listens.
    #[arg(help_heading = QUESTIONS)]
    #[arg(long, group = "question", conflicts_with = "command")]
    pub watch: bool,

    /// Ask the servers whether they are fit
    ///
    /// Prints a table of the nodes, what is to be mended and how, and a verdict. Runs nothing, and leaves nothing on the
    /// servers. Exit status: 0 all is well, 1 there is something to be mended, 69 no quorum of nodes can vote. With
    /// --resource, it asks with that name's keys, which matters where a user may use no others.
    #[arg(help_heading = QUESTIONS)]
    #[arg(long, group = "question", conflicts_with = "command")]
    pub check: bool,

    /// Ask the leader to give up
    ///
    /// Its command is stopped with its --signal and --kill-after, and another replica leads. Returns when that has happened, or says
    /// why not after --wait, or else two ttl. The leader hears of it when it extends its lease, within a third of its ttl. It exits
    /// with 76, or stands by again with --rejoin. Exit status: 0 it has stepped down, 1 nobody leads, 75 it still leads, 69 too few
    /// nodes could be reached.
    #[arg(help_heading = QUESTIONS)]
    #[arg(long, group = "question", conflicts_with = "command")]
    pub step_down: bool,

    /// With --check, --status and --watch: print JSON
    #[arg(help_heading = QUESTIONS)]
    #[arg(long)]
    pub json: bool,

    /// Print completions
    ///
    /// What a package puts in the shell's place for them, such as
    /// leaderrun --completions bash >/usr/share/bash-completion/completions/leaderrun
    #[arg(help_heading = QUESTIONS)]
    #[arg(long, value_name = "SHELL", group = "question", conflicts_with = "command", value_enum)]
    pub completions: Option<Shell>,

    /// Print the man page
    ///
    /// As it is read by man(1): leaderrun --man | man -l -
    #[arg(help_heading = QUESTIONS)]
    #[arg(long, group = "question", conflicts_with = "command")]
    pub man: bool,

    /// The command and its arguments
    #[arg(required_unless_present = "question", trailing_var_arg = true, value_name = "COMMAND")]
    #[arg(value_hint = ValueHint::CommandWithArguments, value_parser = value_parser!(OsString))]
    pub command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Shells that we have completions for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

/// A signal's name or number, of which completions know the names.
#[derive(Clone, Copy, Debug)]
struct SignalName;

impl TypedValueParser for SignalName {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Signal::iterator().map(|signal| PossibleValue::new(signal.as_str().trim_start_matches("SIG")))))
    }
}

/// When we are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReadyWhen {
    /// As soon as we stand by or lead
    Standby,
    /// When the command runs
    Leader,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; write it as 500ms, 15s or 2m"))
}
