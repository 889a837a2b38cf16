//! What went wrong with a node: a value to decide on, a text for people, and advice on what to do about it.

use std::{borrow::Cow, fmt, time::Duration};

use super::{resolver::ResolveError, tls_problem::TlsProblem};

const NAME_ALL_SENTINELS: &str = "check that the URL names all of its Sentinels, and the master's name";

/// What went wrong with a node. Its text follows the node's name: "redis://b:6379 timed out".
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Failure {
    /// Nobody listens at the address.
    Refused,
    /// A connection or an answer took too long.
    TimedOut,
    /// The round ended before the node answered.
    NotHeard,
    /// The server closed the connection. One that never answers may want a connection of another kind.
    Closed { may_want: Option<ServerDemand> },
    /// The server sent more than it may, and was cut off.
    Flooded,
    /// The host name has no address.
    Unresolved(ResolveError),
    /// The system or the library reports another error, in these words.
    Unreachable(String),
    /// TLS could not be agreed on.
    Tls(TlsProblem),
    /// The bytes that came are not of the Redis protocol.
    NotRedis,
    /// The answer isn't one that our scripts give.
    StrangeAnswer,
    /// The server asks for a password.
    NoAuth,
    /// The server rejects the user name or the password.
    WrongPassword,
    /// The user lacks a right.
    MissingRight(Right),
    /// The server is a replica, which takes no writes.
    Replica,
    /// The server is a member of a cluster.
    Cluster,
    /// The server is still reading its data from disk.
    Loading,
    /// The server takes no writes since it can't save its data.
    CannotSave,
    /// The server takes no writes since its memory is full.
    OutOfMemory,
    /// The lock's key holds a value of another type.
    WrongType,
    /// The server is older than Redis 5.
    TooOld,
    /// The server runs no scripts, as a Sentinel doesn't.
    NoScripts,
    /// The server was asked as a Sentinel and isn't one.
    NoSentinel,
    /// The answer isn't one that a Sentinel gives.
    StrangeSentinel,
    /// The Sentinel has no master of this name.
    UnknownMaster,
    /// No majority of the Sentinels names a master.
    NoMaster(NoMaster),
    /// By the time the server answered, the Sentinels had another master.
    Replaced,
    /// The master is so new that it may lack what the last one knew. It votes after this time.
    Promoted(Duration),
    /// The server answered with another error, in these words.
    Answered(String),
}

/// What a server may have expected that closes connections without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerDemand {
    Tls,
    ClientCertificate,
}

/// A right that a user lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// To run the command of this name, in capitals.
    Command(String),
    /// To use the lock's keys.
    Keys,
    /// To use the lock's channel.
    Channel,
    /// The server doesn't say which.
    Unnamed,
}

/// Why the Sentinels name no master.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NoMaster {
    /// All of them name one, and no majority the same.
    Disagreement,
    /// Too few of them name one. Each that doesn't is listed with its address.
    TooFew { able: usize, all: usize, needed: usize, faults: Vec<(String, Failure)> },
}

impl Failure {
    /// Returns the failure of a connection that was closed before anything was answered on it. A server may close it
    /// before its reason can be read, so that only the kind of the connection hints at one.
    pub(crate) fn closed_unanswered(plain: bool) -> Self {
        let may_want = if plain { ServerDemand::Tls } else { ServerDemand::ClientCertificate };
        Failure::Closed { may_want: Some(may_want) }
    }

    /// Returns whether there is no connection, so that a notification follows once there is one.
    pub(crate) fn is_unconnected(&self) -> bool {
        match self {
            Failure::Refused
            | Failure::Closed { .. }
            | Failure::Flooded
            | Failure::Unresolved(_)
            | Failure::Unreachable(_)
            | Failure::Tls(_)
            | Failure::NotRedis
            | Failure::WrongPassword => true,
            Failure::TimedOut
            | Failure::NotHeard
            | Failure::StrangeAnswer
            | Failure::NoAuth
            | Failure::MissingRight(_)
            | Failure::Replica
            | Failure::Cluster
            | Failure::Loading
            | Failure::CannotSave
            | Failure::OutOfMemory
            | Failure::WrongType
            | Failure::TooOld
            | Failure::NoScripts
            | Failure::NoSentinel
            | Failure::StrangeSentinel
            | Failure::UnknownMaster
            | Failure::NoMaster(_)
            | Failure::Replaced
            | Failure::Promoted(_)
            | Failure::Answered(_) => false,
        }
    }

    /// Returns when the node votes, if all that is wrong is that its master is too new.
    pub(crate) fn votes_in(&self) -> Option<Duration> {
        match self {
            Failure::Promoted(votes_in) => Some(*votes_in),
            _ => None,
        }
    }

    /// Returns what an operator can do about it.
    pub(crate) fn advice(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Failure::Refused => "check that it runs, and listens on this address and port",
            Failure::TimedOut => "check that it runs, and that no firewall is in between",
            Failure::Closed { .. } => "see its log; protected-mode and maxclients close connections, too",
            Failure::Unresolved(why) => return why.advice().into(),
            Failure::Unreachable(_) => "check the address and the network",
            Failure::Tls(problem) => problem.advice(),
            Failure::NotRedis => "check which server listens on this port",
            Failure::NoAuth => "give a user and password: redis://USER:PASSWORD@HOST, best in --redis-file",
            Failure::WrongPassword => {
                "check what --redis, --redis-file or REDISCLI_AUTH gives, and ACL LIST on the server"
            }
            Failure::MissingRight(right) => return right.advice(),
            Failure::Replica => "give its master, or write redis-sentinel:// for both",
            Failure::Cluster => "give servers of their own; a cluster's slots are no independent nodes",
            Failure::Loading => "wait until it has loaded",
            Failure::CannotSave => "check its disk; until it can save, it takes no lock",
            Failure::OutOfMemory => "give it more memory (maxmemory), or a server of its own",
            Failure::WrongType => "give another --resource or --key-prefix, or delete that key",
            Failure::TooOld => "use Redis 5 or newer, or Valkey",
            Failure::NoScripts | Failure::NoSentinel | Failure::StrangeSentinel => NAME_ALL_SENTINELS,
            Failure::UnknownMaster => "check the name in the URL, and SENTINEL MASTERS",
            Failure::NoMaster(why) => return why.advice(),
            Failure::Replaced => "try again once the failover is over",
            Failure::Promoted(_) => "wait; it grants no lease before",
            Failure::NotHeard | Failure::Flooded | Failure::StrangeAnswer | Failure::Answered(_) => "see its log",
        })
    }
}

impl Right {
    fn advice(&self) -> Cow<'static, str> {
        match self {
            Right::Command(command) => grant_command(&[command]).into(),
            Right::Keys => "grant them: ACL SETUSER USER ~leaderrun:* (or your --key-prefix)".into(),
            Right::Channel => "grant it: ACL SETUSER USER &leaderrun:* (or your --key-prefix)".into(),
            Right::Unnamed => "grant what is missing; ACL LOG on the server names it".into(),
        }
    }
}

impl NoMaster {
    fn advice(&self) -> Cow<'static, str> {
        match self {
            // What is wrong with the first of them is often wrong with all.
            NoMaster::TooFew { faults, .. } if !faults.is_empty() => faults[0].1.advice(),
            NoMaster::TooFew { .. } | NoMaster::Disagreement => NAME_ALL_SENTINELS.into(),
        }
    }
}

/// Returns the command that grants a user these commands.
pub(crate) fn grant_command(commands: &[impl AsRef<str>]) -> String {
    let rights: Vec<_> = commands.iter().map(|command| format!("+{}", command.as_ref().to_lowercase())).collect();
    format!("ACL SETUSER USER {}", rights.join(" "))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::Refused => "refused the connection",
            Failure::TimedOut => "timed out",
            Failure::NotHeard => "has not answered yet",
            Failure::Closed { may_want: None } => "closed the connection",
            Failure::Closed { may_want: Some(ServerDemand::Tls) } => {
                "closed the connection (one with TLS wants rediss://)"
            }
            Failure::Closed { may_want: Some(ServerDemand::ClientCertificate) } => {
                "closed the connection (it may want a certificate of ours: --tls-cert and --tls-key)"
            }
            Failure::Flooded => "sends more than it was asked for",
            Failure::Unresolved(why) => return write!(f, "can't be resolved: {why}"),
            Failure::Unreachable(why) => return write!(f, "can't be reached: {why}"),
            Failure::Tls(problem) => return problem.fmt(f),
            Failure::NotRedis => "doesn't speak the Redis protocol",
            Failure::StrangeAnswer => "doesn't answer as Redis 5 or newer does",
            Failure::NoAuth => "wants a password (NOAUTH)",
            Failure::WrongPassword => "rejected the user name or password",
            Failure::MissingRight(right) => return write!(f, "doesn't let this user {right} (NOPERM)"),
            Failure::Replica => "is a replica (READONLY)",
            Failure::Cluster => "belongs to a cluster (MOVED)",
            Failure::Loading => "is still loading its data (LOADING)",
            Failure::CannotSave => "can't save its data (MISCONF)",
            Failure::OutOfMemory => "is out of memory (OOM)",
            Failure::WrongType => "has something else under the lock's name (WRONGTYPE)",
            Failure::TooOld => "is older than Redis 5; use 5 or newer, or Valkey",
            Failure::NoScripts => "knows no scripts; if it is a Sentinel, write redis-sentinel://HOST,.../NAME",
            Failure::NoSentinel => "is no Sentinel; write redis:// for a server",
            Failure::StrangeSentinel => "doesn't answer as a Sentinel does",
            Failure::UnknownMaster => "knows no master of this name",
            Failure::NoMaster(why) => return why.fmt(f),
            Failure::Replaced => "has another master by now",
            Failure::Promoted(votes_in) => {
                return write!(f, "has a new master, which votes in {} s", votes_in.as_secs().saturating_add(1));
            }
            Failure::Answered(text) => return write!(f, "answered: {text}"),
        })
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Right::Command(command) => write!(f, "run {command}"),
            Right::Keys => f.write_str("use the lock's keys"),
            Right::Channel => f.write_str("use the lock's channel"),
            Right::Unnamed => f.write_str("run the commands"),
        }
    }
}

impl fmt::Display for NoMaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoMaster::Disagreement => f.write_str("has Sentinels that don't agree on its master"),
            NoMaster::TooFew { able, all, needed, faults } => {
                let faults: Vec<_> = faults.iter().map(|(address, failure)| format!("{address} {failure}")).collect();
                let faults = faults.join("; ");
                write!(f, "has {able} of {all} Sentinels that name its master, {needed} needed: {faults}")
            }
        }
    }
}
