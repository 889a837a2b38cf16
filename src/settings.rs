//! Checked values: durations that fit each other, nodes that differ, a program that can be run.

use std::{
    collections::HashMap,
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{sys::signal::Signal, unistd::gethostname};

use crate::{
    cli::{Cli, LocalLock, ReadyWhen},
    config_error::{ConfigError, NameProblem, UrlSource},
    exit::Exit,
    file_warning::FileWarning,
    history::KEPT_FOR,
    leader_variables::{LeaderAround, SLOT, SLOTS, TOKEN, leaders_around, value_of},
    lease::{Quorums, Times},
    lock::{LONGEST_NAME, MOST_SLOTS, Slot, slot_suffix},
    once_per::{OncePer, PeriodKey},
    program::Program,
    redlock::{Address, KEY_SUFFIXES, RedlockConfig, Tls, urls},
    regular_file,
    report::Report,
    server_url,
};

/// The variable with the password for servers whose URL has none.
const PASSWORD: &str = "REDISCLI_AUTH";

/// The longest time that a lock is kept, a success is remembered, or a command runs or stops.
const LONGEST_PERIOD: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Everything that a run needs.
#[derive(Debug)]
pub(crate) struct Settings {
    pub resource: String,
    pub backend: BackendConfig,
    /// How many may lead at a time, if an option says it.
    pub slots: Option<u16>,
    pub wait_policy: WaitPolicy,
    pub times: Times,
    /// How long the lock stays taken, from the start of the command.
    pub hold: Option<Duration>,
    pub once_per: Option<OncePer>,
    /// How long the command may run.
    pub max_run: Option<Duration>,
    pub signal: Signal,
    /// The time between the signal and SIGKILL when the command is stopped though the lease is ours.
    pub stop_timeout: Duration,
    pub pid_namespace: bool,
    /// Stand by again after leadership is lost.
    pub rejoin: bool,
    /// When to notify systemd; `None` for never.
    pub ready_when: Option<ReadyWhen>,
    pub not_leader: Exit,
    /// The exit status if the command has succeeded in this period.
    pub skip_exit_code: u8,
    pub holder: String,
    /// The leaders that we run under.
    pub around: Vec<LeaderAround>,
    pub program: Program,
    pub report: Report,
    /// Problems that don't keep leaderrun from running.
    pub warnings: Vec<FileWarning>,
}

/// Where the lease is held.
#[derive(Clone, Debug)]
pub(crate) enum BackendConfig {
    Redlock(RedlockConfig),
    Local {
        /// `None` for one that depends on resource and user.
        file: Option<PathBuf>,
    },
}

/// How long to stand by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitPolicy {
    None,
    For(Duration),
    Forever,
}

impl Settings {
    /// Returns how many may lead at a time.
    pub(crate) fn slots(&self) -> u16 {
        self.slots.unwrap_or(Slot::ONLY.of)
    }
}

impl TryFrom<Cli> for Settings {
    type Error = ConfigError;

    fn try_from(cli: Cli) -> Result<Self, ConfigError> {
        let resource = resource(cli.resource.as_deref().unwrap_or_default())?;
        let times = times(&cli)?;
        let backend = backend(&cli, &resource)?;
        let warnings = file_warnings(&cli, &backend);
        let signal = signal(&cli.signal)?;
        let holder = name("--holder", &cli.holder.clone().unwrap_or_else(default_holder))?;
        let hold = cli.hold.map(|hold| period("--hold", hold)).transpose()?;
        let slots = slots(&cli)?;
        let once_per = once_per(&cli)?;
        if once_per.is_some() && slots.is_some_and(|slots| slots > 1) {
            return Err(ConfigError::SlotsOncePer);
        }
        let max_run = cli.max_run.map(|time| period("--max-run", time)).transpose()?;
        let stop_timeout = cli.stop_timeout.map(|time| at_most_a_year("--stop-timeout", time)).transpose()?;
        let report = Report::new(&resource, &holder, cli.verbose, cli.quiet, cli.log_format);
        Ok(Settings {
            wait_policy: wait_policy(&cli),
            once_per,
            max_run,
            stop_timeout: stop_timeout.unwrap_or(times.kill_after()),
            skip_exit_code: cli.skip_exit_code.unwrap_or_default(),
            pid_namespace: cli.pid_namespace,
            rejoin: cli.rejoin,
            ready_when: cli.sd_notify,
            not_leader: Exit::of_conflict(cli.conflict_exit_code),
            around: leaders_around(),
            program: program(cli.command, cli.shell_line, &report)?,
            report,
            slots,
            resource,
            backend,
            times,
            hold,
            signal,
            warnings,
            holder,
        })
    }
}

/// Returns the name of a resource.
///
/// # Errors
/// It isn't a valid name, or could be mistaken for a key of leaderrun's own.
pub(crate) fn resource(text: &str) -> Result<String, ConfigError> {
    let name = name("--resource", text)?;
    match reserved_suffix(&name) {
        None => Ok(name),
        Some(suffix) => Err(ConfigError::ReservedName { suffix: suffix.to_owned(), name }),
    }
}

/// Returns the name of a resource's lock on the nodes.
///
/// # Errors
/// Prefix and name together could be mistaken for a key of leaderrun's own, as `leaderrun:a:` and `fence` could.
fn lock_name(prefix: &str, resource: &str) -> Result<String, ConfigError> {
    let lock = format!("{prefix}{resource}");
    match reserved_suffix(&lock) {
        None => Ok(lock),
        Some(suffix) => Err(ConfigError::ReservedLock { suffix: suffix.to_owned(), lock }),
    }
}

fn reserved_suffix(name: &str) -> Option<&str> {
    KEY_SUFFIXES.into_iter().find(|suffix| name.ends_with(suffix)).or_else(|| slot_suffix(name))
}

/// Returns how many may lead at a time, if that is said. The variable of a leaderrun whose command we are is not for us.
///
/// # Errors
/// It isn't a number of slots, or there is no place for several.
pub(crate) fn slots(cli: &Cli) -> Result<Option<u16>, ConfigError> {
    let slots = slots_said(cli)?;
    let has_several = slots.is_some_and(|slots| slots > Slot::ONLY.of);
    if has_several && matches!(cli.local, Some(LocalLock::File(_))) {
        return Err(ConfigError::SlotsInFile);
    }
    Ok(slots)
}

fn slots_said(cli: &Cli) -> Result<Option<u16>, ConfigError> {
    if cli.slots.is_some() || value_of(SLOT).is_some() {
        return Ok(cli.slots);
    }
    match value_of(SLOTS).map(|text| text.to_string_lossy().into_owned()) {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(slots) if (1..=MOST_SLOTS).contains(&slots) => Ok(Some(slots)),
            _ => Err(ConfigError::Slots { text, most: MOST_SLOTS }),
        },
    }
}

/// Returns the value of an option that is a name.
///
/// # Errors
/// It isn't a valid name.
pub(crate) fn name(option: &'static str, text: &str) -> Result<String, ConfigError> {
    let problem = if text.is_empty() {
        NameProblem::Empty
    } else if text.len() > LONGEST_NAME {
        NameProblem::TooLong { most: LONGEST_NAME }
    } else if text.chars().any(char::is_control) {
        NameProblem::ControlCharacter
    } else {
        return Ok(text.to_owned());
    };
    Err(ConfigError::Name { option, problem })
}

/// Returns the times of the lease.
///
/// # Errors
/// They don't fit each other.
pub(crate) fn times(cli: &Cli) -> Result<Times, ConfigError> {
    Times::new(cli.ttl, cli.kill_after).map_err(|problem| ConfigError::Times {
        problem,
        ttl: cli.ttl,
        kill_after: cli.kill_after.unwrap_or_default(),
    })
}

fn period(option: &'static str, period: Duration) -> Result<Duration, ConfigError> {
    if period.is_zero() { Err(ConfigError::NoPeriod { option }) } else { at_most_a_year(option, period) }
}

fn at_most_a_year(option: &'static str, period: Duration) -> Result<Duration, ConfigError> {
    if period > LONGEST_PERIOD {
        return Err(ConfigError::PeriodTooLong { option, period, longest: LONGEST_PERIOD });
    }
    Ok(period)
}

fn once_per(cli: &Cli) -> Result<Option<OncePer>, ConfigError> {
    let (attempts, key) = (cli.attempts, period_key(cli)?);
    let length = match &key {
        Some(_) => Some(period("--remember", cli.remember)?),
        None => cli.once_per.map(|time| period("--once-per", time)).transpose()?,
    };
    Ok(length.map(|period| OncePer { period, attempts, key }))
}

/// Returns the name of the period, if it has one.
///
/// # Errors
/// It isn't a valid name.
pub(crate) fn period_key(cli: &Cli) -> Result<Option<PeriodKey>, ConfigError> {
    cli.once_for.as_deref().map(|key| name("--once-for", key).map(PeriodKey::new)).transpose()
}

/// Returns an age that a run on record can have.
///
/// # Errors
/// It is zero, or longer than runs are kept.
pub(crate) fn age(option: &'static str, age: Duration) -> Result<Duration, ConfigError> {
    let age = period(option, age)?;
    if age > KEPT_FOR { Err(ConfigError::PeriodTooLong { option, period: age, longest: KEPT_FOR }) } else { Ok(age) }
}

fn wait_policy(cli: &Cli) -> WaitPolicy {
    match cli.wait {
        _ if cli.try_once => WaitPolicy::None,
        Some(Duration::ZERO) => WaitPolicy::None,
        Some(wait) => WaitPolicy::For(wait),
        None => WaitPolicy::Forever,
    }
}

/// Returns where the lease of a resource is held. Reads `--redis-file` and the files of TLS.
///
/// # Errors
/// No backend is given, or it can't be used.
pub(crate) fn backend(cli: &Cli, resource: &str) -> Result<BackendConfig, ConfigError> {
    match &cli.local {
        Some(LocalLock::Default) => return Ok(BackendConfig::Local { file: None }),
        Some(LocalLock::File(file)) => return Ok(BackendConfig::Local { file: Some(file.clone()) }),
        Some(LocalLock::No) | None => {}
    }
    let now = match &cli.redis_file {
        Some(file) => addresses_in_file(file)?,
        None => addresses_in_options(&UrlSource::Option, &cli.redis)?,
    };
    if now.is_empty() {
        let is_in_command = value_of(TOKEN).is_some();
        return Err(if is_in_command { ConfigError::NoBackendInCommand } else { ConfigError::NoBackend });
    }
    let before = addresses_in_options(&UrlSource::Before, &cli.redis_before)?;
    let (addresses, quorums) = both_lists(now, before)?;
    let tls = tls(cli, addresses.iter().any(Address::has_tls))?;
    Ok(BackendConfig::Redlock(RedlockConfig { addresses, quorums, lock: lock_name(&cli.key_prefix, resource)?, tls }))
}

fn addresses_in_file(file: &Path) -> Result<Vec<Address>, ConfigError> {
    let text =
        regular_file::read_text(file).map_err(|error| ConfigError::UnreadableFile { file: file.to_owned(), error })?;
    let urls: Vec<&str> = urls(&text).collect();
    if urls.is_empty() {
        return Err(ConfigError::EmptyFile { file: file.to_owned() });
    }
    let addresses = addresses(&UrlSource::File(file.to_owned()), &urls)?;
    Ok(addresses.into_iter().map(|address| address.in_file(file)).collect())
}

fn addresses_in_options(source: &UrlSource, lists: &[String]) -> Result<Vec<Address>, ConfigError> {
    let text = lists.iter().flat_map(|list| server_url::split(list)).collect::<Vec<_>>().join("\n");
    addresses(source, &urls(&text).collect::<Vec<_>>())
}

/// Joins the servers of both lists; there may be none before. One that is in both is one node, and signed in to as the present
/// list says.
fn both_lists(now: Vec<Address>, before: Vec<Address>) -> Result<(Vec<Address>, Quorums), ConfigError> {
    let quorums = Quorums::of(now.len());
    let (mut all, mut nodes_before) = (now, Vec::new());
    for address in before {
        match all.iter().position(|other| other.server() == address.server()) {
            Some(node) if all[node].database() != address.database() => {
                return Err(ConfigError::OtherDatabase { server: address.server().to_owned() });
            }
            Some(node) => nodes_before.push(node),
            None => {
                nodes_before.push(all.len());
                all.push(address);
            }
        }
    }
    Ok((all, if nodes_before.is_empty() { quorums } else { quorums.and_before(nodes_before) }))
}

fn addresses(source: &UrlSource, urls: &[&str]) -> Result<Vec<Address>, ConfigError> {
    // As for redis-cli(1).
    let password = value_of(PASSWORD).and_then(|password| password.into_string().ok());
    let mut addresses = Vec::with_capacity(urls.len());
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for (number, url) in (1..).zip(urls) {
        let parsed = Address::parse(url).map_err(|problem| ConfigError::Url {
            source: source.clone(),
            number,
            count: urls.len(),
            problem: problem.to_string(),
        })?;
        let address = match &password {
            Some(password) => parsed.or_password(password),
            None => parsed,
        };
        let server = address.server().to_owned();
        if let Some(first) = numbers.insert(server.clone(), number) {
            return Err(ConfigError::SameServer { source: source.clone(), first, second: number, server });
        }
        addresses.push(address);
    }
    Ok(addresses)
}

fn tls(cli: &Cli, needed: bool) -> Result<Option<Tls>, ConfigError> {
    let client_certificate = cli.tls_cert.as_deref().zip(cli.tls_key.as_deref());
    match (needed, cli.tls_ca.as_deref(), client_certificate) {
        (true, ca, client_certificate) => {
            Tls::load(ca, client_certificate).map(Some).map_err(|problem| ConfigError::Tls(problem.to_string()))
        }
        (false, None, None) => Ok(None),
        (false, ..) => Err(ConfigError::TlsWithoutUse),
    }
}

/// Returns what should be changed about the files of the servers.
fn file_warnings(cli: &Cli, backend: &BackendConfig) -> Vec<FileWarning> {
    let BackendConfig::Redlock(config) = backend else { return Vec::new() };
    let passwords = config.addresses.iter().any(Address::has_password).then_some("passwords");
    let files = [
        ("--redis-file", &cli.redis_file, passwords),
        ("--tls-ca", &cli.tls_ca, None),
        ("--tls-cert", &cli.tls_cert, None),
        ("--tls-key", &cli.tls_key, Some("key")),
    ];
    let given = files.into_iter().filter_map(|(option, file, secret)| Some((option, file.as_deref()?, secret)));
    given.flat_map(|(option, file, secret)| FileWarning::about(option, file, secret)).collect()
}

fn signal(text: &str) -> Result<Signal, ConfigError> {
    let upper = text.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    let by_number = || text.parse::<i32>().ok().and_then(|number| Signal::try_from(number).ok());
    full.parse().ok().or_else(by_number).ok_or_else(|| ConfigError::Signal(text.to_owned()))
}

fn default_holder() -> String {
    let host = gethostname().map_or_else(|_| "localhost".into(), |host| host.to_string_lossy().into_owned());
    format!("{host}:{}", std::process::id())
}

fn program(command: Vec<OsString>, line: Option<OsString>, report: &Report) -> Result<Program, ConfigError> {
    let command = line.map_or(command, |line| vec!["sh".into(), "-c".into(), line]);
    let name = command.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Program::find(command, env::var_os("PATH").as_deref()).map_err(|error| {
        let report = Box::new(report.clone());
        ConfigError::Program { name, error, report }
    })
}
