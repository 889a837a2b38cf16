//! Errors in options and settings: their messages and exit statuses.

use std::{
    fmt::{self, Display, Formatter},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use humantime::format_duration;

use crate::{
    event::{Details, Event},
    exit::Exit,
    lease::{LONGEST_TTL, SHORTEST_TTL, TimingError},
    program::ProgramError,
    report::{self, Report},
    server_url::without_secrets,
};

/// Why leaderrun doesn't start. `option` is the option as it is written on the command line.
#[derive(Debug)]
pub(crate) enum ConfigError {
    Name { option: &'static str, problem: NameProblem },
    ReservedName { name: String, suffix: String },
    ReservedLock { lock: String, suffix: String },
    Slots { text: String, most: u16 },
    SlotsOncePer,
    SlotsInFile,
    RunsOfFile { option: &'static str },
    NoPeriod { option: &'static str },
    PeriodTooLong { option: &'static str, period: Duration, longest: Duration },
    Times { problem: TimingError, ttl: Duration, kill_after: Duration },
    NoBackend,
    NoBackendInCommand,
    UnreadableFile { file: PathBuf, error: io::Error },
    EmptyFile { file: PathBuf },
    Url { source: UrlSource, number: usize, count: usize, problem: String },
    OtherDatabase { server: String },
    SameServer { source: UrlSource, first: usize, second: usize, server: String },
    Tls(String),
    TlsWithoutUse,
    Signal(String),
    Program { name: String, error: ProgramError, report: Box<Report> },
    JsonWithoutQuestion,
    SlotWithoutQuestion,
    MetricsWithoutQuestion,
    CheckOfLocal,
}

/// Why a text isn't a valid name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameProblem {
    Empty,
    TooLong { most: usize },
    ControlCharacter,
}

/// Where the URLs of the servers are given.
#[derive(Clone, Debug)]
pub(crate) enum UrlSource {
    Option,
    Before,
    File(PathBuf),
}

impl ConfigError {
    /// Returns the options that may be to blame, as they are written on the command line.
    pub(crate) fn options(&self) -> Vec<&'static str> {
        match self {
            Self::Name { option, .. } | Self::NoPeriod { option } | Self::PeriodTooLong { option, .. } => vec![option],
            Self::ReservedName { .. } => vec!["--resource"],
            Self::ReservedLock { .. } => vec!["--key-prefix", "--resource"],
            Self::SlotsOncePer => vec!["--once-per", "--once-for"],
            Self::SlotsInFile | Self::RunsOfFile { .. } | Self::CheckOfLocal => vec!["--local"],
            Self::Times { .. } => vec!["--ttl", "--kill-after"],
            Self::UnreadableFile { .. } | Self::EmptyFile { .. } => vec!["--redis-file"],
            Self::Url { source, .. } | Self::SameServer { source, .. } => vec![source.option()],
            Self::OtherDatabase { .. } => vec!["--redis", "--redis-before"],
            Self::TlsWithoutUse => vec!["--tls-ca", "--tls-cert", "--tls-key"],
            Self::Signal(_) => vec!["--signal"],
            Self::Slots { .. }
            | Self::NoBackend
            | Self::NoBackendInCommand
            | Self::Tls(_)
            | Self::Program { .. }
            | Self::JsonWithoutQuestion
            | Self::SlotWithoutQuestion
            | Self::MetricsWithoutQuestion => Vec::new(),
        }
    }

    /// Reports it: in the form that the settings ask for where all of them are right, or else as text. `remark`: what follows
    /// the text.
    pub(crate) fn report(&self, remark: &str) {
        match self {
            Self::Program { error, report, .. } => {
                report.error_with(Event::Failed, &Details::of_reason(error.word()), self);
            }
            _ => report::print_error(format_args!("{self}{remark}")),
        }
    }
}

impl UrlSource {
    fn option(&self) -> &'static str {
        match self {
            Self::Option => "--redis",
            Self::Before => "--redis-before",
            Self::File(_) => "--redis-file",
        }
    }
}

impl From<&ConfigError> for Exit {
    fn from(error: &ConfigError) -> Self {
        match error {
            ConfigError::Program { error, .. } => error.into(),
            _ => Exit::Usage,
        }
    }
}

impl Display for ConfigError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { option, problem } => write!(f, "{option} {problem}"),
            Self::ReservedName { name, suffix } => write!(
                f,
                "--resource {name} ends with {suffix}, which leaderrun appends for its own keys and channels; give it another name"
            ),
            Self::ReservedLock { lock, suffix } => write!(
                f,
                "--key-prefix and --resource make {lock}, which ends with {suffix}, as leaderrun's own keys do; change one"
            ),
            Self::Slots { text, most } => {
                let text = without_secrets(text);
                write!(f, "LEADERRUN_SLOTS={text} is no number of slots; set it to a number from 1 to {most}")
            }
            Self::SlotsOncePer => write!(
                f,
                "--slots can't be used with --once-per or --once-for: one success for all slots would leave the others undone; leave out one"
            ),
            Self::SlotsInFile => write!(
                f,
                "--slots can't be used with --local=FILE: flock(1) and leaderrun share one lock in a file; leave out one, or use --local alone"
            ),
            Self::RunsOfFile { option } => {
                write!(f, "{option} can't be used with --local=FILE: runs aren't recorded there; use --local alone")
            }
            Self::NoPeriod { option } => {
                write!(f, "{option} 0s is no duration; leave it out, or give it one such as 55s or 23h")
            }
            Self::PeriodTooLong { option, period, longest } => {
                write!(f, "{option} {} is too long; give it {} or less", as_typed(*period), as_typed(*longest))
            }
            Self::Times { problem, ttl, kill_after } => write_timing_error(f, *problem, *ttl, *kill_after),
            Self::NoBackend => write!(
                f,
                "nothing says where to hold the lease; use --redis URL,... for many machines or --local for this one; \
                 LEADERRUN_REDIS or --redis-file FILE will do, too"
            ),
            Self::NoBackendInCommand => write!(
                f,
                "nothing says where to hold the lease; use --redis URL,... or --redis-file FILE: a command of leaderrun \
                 doesn't get LEADERRUN_REDIS, which may hold passwords"
            ),
            Self::UnreadableFile { file, error } => write!(f, "--redis-file {} can't be read: {error}", shown(file)),
            Self::EmptyFile { file } => write!(
                f,
                "--redis-file {} names no server; write a URL such as redis://host:6379 on each line",
                shown(file)
            ),
            Self::Url { source, number, count, problem } => {
                const FORM: &str = "redis://[user:password@]host[:port][/database]";
                write!(f, "{source}: URL {number} of {count} is wrong: {problem}; write ")?;
                match source {
                    UrlSource::File(_) => write!(f, "one server on each line, as {FORM}, and comments on their own"),
                    UrlSource::Option | UrlSource::Before => f.write_str(FORM),
                }
            }
            Self::SameServer { source, first, second, server } => write!(
                f,
                "{source}: URLs {first} and {second} are the same server, {server}; each must be a server of its own"
            ),
            Self::OtherDatabase { server } => write!(
                f,
                "--redis and --redis-before give {server} different databases; to change the database, stop all instances"
            ),
            Self::Tls(problem) => f.write_str(&without_secrets(problem)),
            Self::TlsWithoutUse => write!(
                f,
                "--tls-ca, --tls-cert and --tls-key are for servers with TLS; write rediss:// for those in --redis"
            ),
            Self::Signal(text) => {
                let text = without_secrets(text);
                write!(f, "--signal {text} is not a signal; give it a name such as TERM or INT, or a number")
            }
            Self::Program { name, error: ProgramError::NotFound, .. } if name.is_empty() => {
                write!(f, "the command is an empty word: command not found")
            }
            Self::Program { name, error: ProgramError::NotFound, .. } => {
                write!(f, "{}: command not found", without_secrets(name))?;
                let is_line = name.contains(char::is_whitespace);
                if is_line {
                    write!(f, "; for a line of the shell, give it with -c, or each word as an argument of its own")
                } else {
                    Ok(())
                }
            }
            Self::Program { error: ProgramError::NotExecutable(path), .. } => {
                write!(f, "{}: it can't be run: it is not an executable file", shown(path))
            }
            Self::JsonWithoutQuestion => write!(
                f,
                "--json is for --check, --status, --watch, --forget, --list, --history and --succeeded-within; leave it out"
            ),
            Self::SlotWithoutQuestion => write!(f, "--slot is for --step-down and --succeeded-within; leave it out"),
            Self::MetricsWithoutQuestion => write!(f, "--openmetrics is for --status and --list; add one of them"),
            Self::CheckOfLocal => {
                write!(f, "--check asks the Redis servers, of which --local has none; give --redis URL,...")
            }
        }
    }
}

/// Shows a duration as people type it: a number of its largest unit that leaves no rest, and no months and years, which have no
/// length that everybody knows.
fn as_typed(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let unit = units.into_iter().find(|(_, length)| seconds.is_multiple_of(*length) && duration.subsec_nanos() == 0);
    unit.map_or_else(|| format_duration(duration).to_string(), |(unit, length)| format!("{}{unit}", seconds / length))
}

/// Returns a path as it is shown: it may be the URL of a server, which was meant for another option.
fn shown(path: &Path) -> String {
    without_secrets(&path.display().to_string())
}

fn write_timing_error(f: &mut Formatter<'_>, problem: TimingError, ttl: Duration, kill_after: Duration) -> fmt::Result {
    let (ttl, kill_after) = (format_duration(ttl), format_duration(kill_after));
    match problem {
        TimingError::TtlTooShort => {
            let least = format_duration(SHORTEST_TTL);
            write!(f, "--ttl {ttl} is too short; give it {least} or more, such as 15s")
        }
        TimingError::TtlTooLong => {
            let most = format_duration(LONGEST_TTL);
            write!(f, "--ttl {ttl} is too long; give it {most} or less, such as 15s")
        }
        TimingError::KillAfterTooLong(most) => {
            // Whole milliseconds are easy to read.
            let most = format_duration(Duration::from_millis(most.as_millis() as u64));
            write!(f, "--kill-after {kill_after} doesn't fit --ttl {ttl}; give it {most} or less, or a longer --ttl")
        }
    }
}

impl Display for NameProblem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "is empty; give it a name"),
            Self::TooLong { most } => write!(f, "is longer than {most} bytes; give it a shorter name"),
            Self::ControlCharacter => {
                write!(f, "has a control character; give it a name of printable characters")
            }
        }
    }
}

impl Display for UrlSource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "{} {}", self.option(), shown(file)),
            Self::Option | Self::Before => f.write_str(self.option()),
        }
    }
}
