//! Why a node gave no answer that counts, in words for its operator.

use std::fmt;

use redis::{ErrorKind, RedisError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Follows the node's name: "redis://b:6379 timed out".
    phrase: String,
    /// There is no connection; that there is one again will be told.
    unconnected: bool,
}

impl Failure {
    fn answered(phrase: impl Into<String>) -> Self {
        Failure { phrase: phrase.into(), unconnected: false }
    }

    fn unconnected(phrase: impl Into<String>) -> Self {
        Failure { phrase: phrase.into(), unconnected: true }
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

    /// An answer that is no answer to our scripts.
    pub fn strange() -> Self {
        Failure::answered("doesn't answer as Redis 5 or newer does")
    }

    /// Whether news will come when the node can be asked again.
    pub fn is_unconnected(&self) -> bool {
        self.unconnected
    }
}

impl From<&RedisError> for Failure {
    fn from(error: &RedisError) -> Self {
        // Before a sign-in, a server may refuse a long command without the code for it.
        let unauthenticated = error.detail().is_some_and(|detail| detail.contains("unauthenticated"));
        if let Some(known) = known(if unauthenticated { "NOAUTH" } else { error.code().unwrap_or_default() }) {
            return Failure::answered(known);
        }
        if error.is_connection_refusal() {
            return Failure::unconnected("refused the connection");
        }
        if error.is_timeout() {
            return Failure::timed_out();
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Failure::unconnected("rejected the user name or password"),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
                Failure::unconnected("doesn't speak the Redis protocol")
            }
            ErrorKind::Io if error.is_connection_dropped() => Failure::unconnected("closed the connection"),
            ErrorKind::Io => Failure::unconnected(format!("can't be reached: {error}")),
            _ => Failure::answered(format!("answered: {}", server_text(error))),
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
        f.write_str(&self.phrase)
    }
}
