//! Why a node gave no answer that counts, in words for its operator.

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use redis::{Arg, Cmd, ErrorKind, RedisError};

use super::resolver::ResolveError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Follows the node's name: "redis://b:6379 timed out".
    phrase: String,
    kind: Kind,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The node may be asked again at any time.
    Answered,
    /// There is no connection; that there is one again will be told.
    Unconnected,
    /// The same, and what closed it may have had a reason that was not read.
    HungUp,
    /// Its master is a new one, and votes in so long.
    Promoted(Duration),
}

impl Failure {
    fn answered(phrase: impl Into<String>) -> Self {
        Failure { phrase: phrase.into(), kind: Kind::Answered }
    }

    fn unconnected(phrase: impl Into<String>) -> Self {
        Failure { phrase: phrase.into(), kind: Kind::Unconnected }
    }

    pub fn timed_out() -> Self {
        Failure::answered("timed out")
    }

    pub fn not_heard() -> Self {
        Failure::answered("has not answered yet")
    }

    /// More has come than may: the connection was cut off.
    pub fn flooded() -> Self {
        Failure::unconnected("sends more than it was asked for")
    }

    /// One connection after the other was closed before anything was answered.
    pub fn hung_up() -> Self {
        Failure { phrase: "closed the connection".into(), kind: Kind::HungUp }
    }

    /// The same of a `plain` connection, or of one with TLS: a server may hang up before its reason has been read.
    pub fn perhaps_for_tls(mut self, plain: bool) -> Self {
        if self.kind == Kind::HungUp {
            self.phrase.push_str(if plain {
                " (one with TLS wants rediss://)"
            } else {
                " (it may want a certificate of ours: --tls-cert and --tls-key)"
            });
        }
        self
    }

    /// The Sentinels have another master than the one that answered.
    pub fn replaced() -> Self {
        Failure::answered("has another master by now")
    }

    /// The master is one for so short a time that it may have missed what the last one knew.
    pub fn promoted(votes_in: Duration) -> Self {
        let phrase = format!("has a new master, which votes in {} s", votes_in.as_secs() + 1);
        Failure { phrase, kind: Kind::Promoted(votes_in) }
    }

    /// An answer that is none of a Sentinel.
    pub fn no_sentinel() -> Self {
        Failure::answered("doesn't answer as a Sentinel does")
    }

    /// No majority of the Sentinels names the same master.
    pub fn no_master(story: impl Into<String>) -> Self {
        Failure::answered(story)
    }

    /// An answer that is no answer to our scripts.
    pub fn strange() -> Self {
        Failure::answered("doesn't answer as Redis 5 or newer does")
    }

    /// Why this command was answered with an error.
    pub fn of(error: &RedisError, cmd: &Cmd) -> Self {
        let script = cmd.args_iter().nth(1).and_then(|arg| match arg {
            Arg::Simple(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        });
        denied(error, script).or_else(|| unknown(error)).map_or_else(|| Failure::from(error), Failure::answered)
    }

    /// Whether news will come when the node can be asked again.
    pub fn is_unconnected(&self) -> bool {
        matches!(self.kind, Kind::Unconnected | Kind::HungUp)
    }

    /// When the node votes, if it only has a master that is too new.
    pub fn votes_in(&self) -> Option<Duration> {
        match self.kind {
            Kind::Promoted(votes_in) => Some(votes_in),
            _ => None,
        }
    }
}

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(unresolved) = error.get_ref().and_then(|inner| inner.downcast_ref::<ResolveError>()) {
            return Failure::unconnected(format!("can't be resolved: {unresolved}"));
        }
        Failure::unconnected(match (tls, error.kind()) {
            (Some(tls), _) => told_of_tls(tls),
            (None, io::ErrorKind::ConnectionRefused) => "refused the connection".into(),
            (None, io::ErrorKind::TimedOut) => return Failure::timed_out(),
            (
                None,
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe,
            ) => "closed the connection".into(),
            _ => format!("can't be reached: {error}"),
        })
    }
}

/// Why there is no connection with TLS, and what to do.
fn told_of_tls(error: &rustls::Error) -> String {
    use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
    match error {
        Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "has a certificate of an unknown issuer (give that one's with --tls-ca)".into()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "has a certificate that has expired".into()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "has a certificate for another name".into()
            }
            why => format!("has a certificate that can't be trusted: {why}"),
        },
        Error::HandshakeNotComplete
        | Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            "doesn't speak TLS (redis:// is for servers without)".into()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure) => {
            "wants a certificate of ours (--tls-cert and --tls-key)".into()
        }
        Error::AlertReceived(alert) => format!("refused TLS: {alert:?}"),
        error => format!("can't be reached: {error}"),
    }
}

impl From<&RedisError> for Failure {
    fn from(error: &RedisError) -> Self {
        // Before a sign-in, a server may refuse a long command without the code for it.
        let unauthenticated = error.detail().is_some_and(|detail| detail.contains("unauthenticated"));
        if let Some(known) = known(if unauthenticated { "NOAUTH" } else { code_of(error) }) {
            return Failure::answered(known);
        }
        if let Some(denied) = denied(error, None) {
            return Failure::answered(denied);
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Failure::unconnected("rejected the user name or password"),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
                Failure::unconnected("doesn't speak the Redis protocol")
            }
            ErrorKind::Io => match io_error(error) {
                // With TLS 1.3, what is wrong with our certificate is told after the connection is there.
                Some(io) => Failure::from(io),
                None if error.is_connection_dropped() => Failure::unconnected("closed the connection"),
                None => Failure::unconnected(format!("can't be reached: {error}")),
            },
            _ => Failure::answered(format!("answered: {}", server_text(error))),
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Failure::from(&error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::from(&error)
    }
}

/// Which right this user lacks. Some servers tell only the line of the script that could not be run.
fn denied(error: &RedisError, script: Option<&str>) -> Option<String> {
    let detail = error.detail()?;
    let in_script = detail.contains("ACL failure in script") || detail.contains("user executing the script can't");
    if error.code() != Some("NOPERM") && !in_script {
        return None;
    }
    let between = |text: &str, before: &str| {
        text.split_once(before).and_then(|(_, rest)| rest.split_once('\'')).map(|(name, _)| name.to_uppercase())
    };
    let line = || {
        let (_, rest) = detail.split_once("@user_script:")?;
        let number: usize = rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
        script?.lines().nth(number.checked_sub(1)?)
    };
    let command = between(detail, "to run the '").or_else(|| between(line()?, "redis.call('"));
    Some(match command {
        Some(command) => format!("doesn't let this user run {command} (NOPERM)"),
        None if detail.contains(" key") => "doesn't let this user use the lock's keys (NOPERM)".into(),
        None => "doesn't let this user run the commands (NOPERM)".into(),
    })
}

/// What a server is that doesn't know our commands.
fn unknown(error: &RedisError) -> Option<String> {
    let detail = error.detail()?.to_lowercase();
    if detail.contains("no such master") {
        return Some("knows no master of this name".into());
    }
    let command = detail.split_once("unknown command ")?.1.trim_start_matches(['\'', '`']);
    Some(match command.get(..4)? {
        "eval" => "knows no scripts; if it is a Sentinel, write redis-sentinel://HOST,.../NAME".into(),
        "sent" => "is no Sentinel; write redis:// for a server".into(),
        _ => return None,
    })
}

/// The library keeps it behind a reference count.
fn io_error(error: &RedisError) -> Option<&io::Error> {
    error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?.downcast_ref()
}

/// The error's code. Before Redis 7 that of an error in a script stands within its text.
fn code_of(error: &RedisError) -> &str {
    let in_script = error.detail().filter(|detail| detail.contains("Error running script"));
    let words = in_script.into_iter().flat_map(|detail| detail.split([' ', ':']));
    let inner = words.map(|word| word.trim_start_matches('-')).find(|word| known(word).is_some());
    inner.or(error.code()).unwrap_or_default()
}

/// What a server's error code means for us.
fn known(code: &str) -> Option<&'static str> {
    Some(match code {
        "NOAUTH" => "wants a password (NOAUTH)",
        "WRONGPASS" => "rejected the user name or password (WRONGPASS)",
        "READONLY" => "is a replica (READONLY)",
        "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" => "belongs to a cluster (MOVED)",
        "LOADING" => "is still loading its data (LOADING)",
        "MISCONF" => "can't save its data (MISCONF)",
        "OOM" => "is out of memory (OOM)",
        "TOOOLD" => "is older than Redis 5; use 5 or newer, or Valkey",
        "WRONGTYPE" => "has something else under the lock's name (WRONGTYPE)",
        _ => return None,
    })
}

fn server_text(error: &RedisError) -> String {
    let detail = error.detail().map_or_else(|| error.to_string(), ToOwned::to_owned);
    format!("{} {detail}", error.code().unwrap_or_default()).trim().to_owned()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.phrase)
    }
}
