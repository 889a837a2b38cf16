//! Checked values: durations that fit each other, nodes, a program that is there.

use std::{collections::HashMap, fs, os::unix::fs::MetadataExt, path::Path, time::Duration};

use nix::sys::signal::Signal;

use crate::{
    cli::{Cli, ReadyWhen},
    exit::Exit,
    lease::{LONGEST_TTL, SHORTEST_TTL, Times, TimingError},
    once_per::OncePer,
    program::{Program, ProgramError},
    redlock::{Address, RedlockConfig, Tls, split, urls},
    report::Report,
};

/// Everything that was asked for.
#[derive(Debug)]
pub struct Settings {
    pub resource: String,
    pub backend: BackendConfig,
    pub wait_policy: WaitPolicy,
    pub times: Times,
    /// How long the lock stays taken, from the start of the command.
    pub hold: Option<Duration>,
    pub once_per: Option<OncePer>,
    pub signal: Signal,
    pub pid_namespace: bool,
    /// Stand by again where the lead was lost.
    pub rejoin: bool,
    /// When systemd is told that we are ready; `None`: it is told nothing.
    pub ready_when: Option<ReadyWhen>,
    pub not_leader: Exit,
    pub holder: String,
    pub program: Program,
    pub report: Report,
    /// What doesn't keep us from running.
    pub warning: Option<String>,
}

/// Where the lease is held.
#[derive(Clone, Debug)]
pub enum BackendConfig {
    Redlock(RedlockConfig),
    Local,
}

/// How long to stand by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitPolicy {
    None,
    For(Duration),
    Forever,
}

/// What is wrong with what was asked for, and the exit status for it.
#[derive(Debug)]
pub struct ConfigError {
    pub exit: Exit,
    pub message: String,
}

impl ConfigError {
    pub fn usage(message: impl Into<String>) -> Self {
        ConfigError { exit: Exit::Usage, message: message.into() }
    }
}

/// The longest name of a resource, in bytes.
const LONGEST_NAME: usize = 512;

/// What stands behind a resource's name in the keys beside its lock.
const KEYS_OF_OURS: [&str; 4] = [":fence", ":done", ":failed", ":step-down"];

/// The longest time that a lock is kept or a success is remembered.
const LONGEST_PERIOD: Duration = Duration::from_secs(366 * 24 * 60 * 60);

impl TryFrom<Cli> for Settings {
    type Error = ConfigError;

    fn try_from(cli: Cli) -> Result<Self, ConfigError> {
        let wanted = cli.resource.clone().unwrap_or_default();
        resource(&wanted)?;
        let times = times(&cli)?;
        let backend = backend(&cli, &wanted)?;
        let warning = warning(&cli, &backend);
        let signal = signal(&cli.signal)?;
        let holder = cli.holder.unwrap_or_else(default_holder);
        name("--holder", &holder)?;
        let wait_policy = match (cli.try_once, cli.wait) {
            (true, _) => WaitPolicy::None,
            (false, Some(wait)) if wait.is_zero() => WaitPolicy::None,
            (false, Some(wait)) => WaitPolicy::For(wait),
            (false, None) => WaitPolicy::Forever,
        };
        let hold = cli.hold.map(|hold| period("--hold", hold)).transpose()?;
        let once_per = cli.once_per.map(|time| period("--once-per", time)).transpose()?;
        let once_per = once_per.map(|period| OncePer { period, attempts: cli.attempts });
        let program = program(cli.command)?;
        Ok(Settings {
            report: Report::new(&wanted, &holder, cli.verbose, cli.quiet, cli.log_format),
            resource: wanted,
            backend,
            wait_policy,
            times,
            hold,
            once_per,
            signal,
            pid_namespace: cli.pid_namespace,
            rejoin: cli.rejoin,
            ready_when: cli.sd_notify,
            warning,
            not_leader: cli.conflict_exit_code.map_or(Exit::NotLeader, Exit::Conflict),
            holder,
            program,
        })
    }
}

/// A name that can be led.
pub fn resource(wanted: &str) -> Result<(), ConfigError> {
    name("--resource", wanted)?;
    match KEYS_OF_OURS.iter().find(|part| wanted.ends_with(*part)) {
        None => Ok(()),
        Some(part) => Err(ConfigError::usage(format!(
            "--resource {wanted} ends with {part}, which leaderrun puts behind a name for its own keys; give it another name"
        ))),
    }
}

fn name(option: &str, text: &str) -> Result<(), ConfigError> {
    let wrong = if text.is_empty() {
        "is empty; give it a name"
    } else if text.len() > LONGEST_NAME {
        "is longer than 512 bytes; give it a shorter name"
    } else if text.chars().any(char::is_control) {
        "has a control character in it; give it a name of printable characters"
    } else {
        return Ok(());
    };
    Err(ConfigError::usage(format!("{option} {wrong}")))
}

fn period(option: &str, time: Duration) -> Result<Duration, ConfigError> {
    let show = humantime::format_duration;
    if time.is_zero() {
        Err(ConfigError::usage(format!("{option} 0s is no time; leave it out, or give it a time such as 55s or 23h")))
    } else if time > LONGEST_PERIOD {
        Err(ConfigError::usage(format!(
            "{option} {} is too long; give it {} or less",
            show(time),
            show(LONGEST_PERIOD)
        )))
    } else {
        Ok(time)
    }
}

/// How long a lease lasts, and what follows from that.
pub fn times(cli: &Cli) -> Result<Times, ConfigError> {
    let show = |d: Duration| humantime::format_duration(d).to_string();
    let ttl = show(cli.ttl);
    Times::new(cli.ttl, cli.kill_after).map_err(|misfit| {
        ConfigError::usage(match misfit {
            TimingError::TtlTooShort => {
                format!("--ttl {ttl} is too short; give it {} or more, such as 15s", show(SHORTEST_TTL))
            }
            TimingError::TtlTooLong => {
                format!("--ttl {ttl} is too long; give it {} or less, such as 15s", show(LONGEST_TTL))
            }
            TimingError::KillAfterTooLong(most) => {
                let most = show(Duration::from_millis(most.as_millis() as u64));
                let asked = show(cli.kill_after.unwrap_or_default());
                format!("--kill-after {asked} doesn't fit --ttl {ttl}; give it {most} or less, or a longer --ttl")
            }
        })
    })
}

/// Where the lease of a resource is held.
pub fn backend(cli: &Cli, resource: &str) -> Result<BackendConfig, ConfigError> {
    if cli.local {
        return Ok(BackendConfig::Local);
    }
    let (source, text) = match &cli.redis_file {
        Some(file) => (format!("--redis-file {}", file.display()), read(file)?),
        None => ("--redis".into(), cli.redis.iter().flat_map(|list| split(list)).collect::<Vec<_>>().join("\n")),
    };
    let urls: Vec<&str> = urls(&text).collect();
    if urls.is_empty() {
        return Err(ConfigError::usage(if cli.redis_file.is_some() {
            format!("{source} names no server; write a URL such as redis://host:6379 on each line")
        } else {
            "where to hold the lease isn't given; use --redis URL,... for many machines or --local for this one".into()
        }));
    }
    let mut addresses = Vec::with_capacity(urls.len());
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (number, url) in (1..).zip(&urls) {
        let address = Address::parse(url).map_err(|wrong| {
            ConfigError::usage(format!(
                "{source}: URL {number} of {} is wrong: {wrong}; write redis://[user:password@]host[:port][/database]",
                urls.len()
            ))
        })?;
        if let Some(first) = seen.insert(address.server().to_owned(), number) {
            return Err(ConfigError::usage(format!(
                "{source}: URLs {first} and {number} are the same server, {}; each must be a server of its own",
                address.server()
            )));
        }
        addresses.push(match &cli.redis_file {
            Some(file) => address.in_file(file),
            None => address,
        });
    }
    let tls = tls(cli, addresses.iter().any(Address::has_tls))?;
    Ok(BackendConfig::Redlock(RedlockConfig { addresses, lock: format!("{}{resource}", cli.key_prefix), tls }))
}

fn tls(cli: &Cli, needed: bool) -> Result<Option<Tls>, ConfigError> {
    let shown = cli.tls_cert.as_deref().zip(cli.tls_key.as_deref());
    match (needed, cli.tls_ca.as_deref(), shown) {
        (true, ca, shown) => Tls::load(ca, shown).map(Some).map_err(ConfigError::usage),
        (false, None, None) => Ok(None),
        (false, ..) => Err(ConfigError::usage(
            "--tls-ca, --tls-cert and --tls-key are for servers with TLS; write rediss:// for those in --redis",
        )),
    }
}

fn read(file: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(file)
        .map_err(|e| ConfigError::usage(format!("--redis-file {} can't be read: {e}", file.display())))
}

/// A file with passwords that others than its owner can read.
fn warning(cli: &Cli, backend: &BackendConfig) -> Option<String> {
    let (Some(file), BackendConfig::Redlock(config)) = (&cli.redis_file, backend) else { return None };
    let mode = fs::metadata(file).map_or(0, |metadata| metadata.mode());
    let open = mode & 0o044 != 0 && config.addresses.iter().any(Address::has_password);
    open.then(|| format!("warning: others can read the passwords in {}; chmod 600 {0}", file.display()))
}

fn signal(text: &str) -> Result<Signal, ConfigError> {
    let upper = text.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    let by_number = || text.parse::<i32>().ok().and_then(|n| Signal::try_from(n).ok());
    full.parse::<Signal>().ok().or_else(by_number).ok_or_else(|| {
        ConfigError::usage(format!("--signal {text} is not a signal; give it a name such as TERM or INT, or a number"))
    })
}

fn default_holder() -> String {
    let host = nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |h| h.to_string_lossy().into_owned());
    format!("{host}:{}", std::process::id())
}

fn program(command: Vec<std::ffi::OsString>) -> Result<Program, ConfigError> {
    let name = command.first().map(|c| c.to_string_lossy().into_owned()).unwrap_or_default();
    Program::find(command, std::env::var_os("PATH").as_deref()).map_err(|missing| match missing {
        ProgramError::NotFound => ConfigError { exit: Exit::NotFound, message: format!("{name}: command not found") },
        ProgramError::NotExecutable(path) => ConfigError {
            exit: Exit::CannotRun,
            message: format!("{}: it can't be run: it is not an executable file", path.display()),
        },
    })
}
