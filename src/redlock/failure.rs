//! Why a node gave no answer that counts, in words for its operator.

use std::fmt;

use redis::{ErrorKind, RedisError};

/// A phrase that follows the node's name: "redis://b:6379 timed out".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    pub fn timed_out() -> Self {
        Failure("timed out".into())
    }

    pub fn not_heard() -> Self {
        Failure("has not answered yet".into())
    }

    /// An answer that is no answer to our scripts.
    pub fn strange() -> Self {
        Failure("doesn't answer as Redis 5 or newer does".into())
    }
}

impl From<&RedisError> for Failure {
    fn from(error: &RedisError) -> Self {
        if let Some(known) = error.code().and_then(known) {
            return Failure(known.into());
        }
        if error.is_connection_refusal() {
            return Failure("refused the connection".into());
        }
        if error.is_timeout() {
            return Failure::timed_out();
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Failure("rejected the user name or password".into()),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Failure("doesn't speak the Redis protocol".into()),
            ErrorKind::Io if error.is_connection_dropped() => Failure("closed the connection".into()),
            ErrorKind::Io => Failure(format!("can't be reached: {error}")),
            _ => Failure(format!("answered: {}", server_text(error))),
        }
    }
}

/// What a server's error code means for us.
fn known(code: &str) -> Option<&'static str> {
    Some(match code {
        "NOAUTH" => "wants a password (NOAUTH)",
        "WRONGPASS" => "rejected the user name or password (WRONGPASS)",
        "NOPERM" => "doesn't let this user run the commands (NOPERM)",
        "READONLY" => "is a replica (READONLY)",
        "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" => "belongs to a cluster (MOVED)",
        "LOADING" => "is still loading its data (LOADING)",
        "MISCONF" => "can't save its data (MISCONF)",
        "OOM" => "is out of memory (OOM)",
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
        f.write_str(&self.0)
    }
}
