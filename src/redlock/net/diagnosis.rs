//! Derives what went wrong with a node from errors of the system, TLS, the library and servers.

use std::{error::Error, io, sync::Arc};

use redis::{Arg, Cmd, ErrorKind, RedisError};

use super::{
    failure::{Failure, Right},
    resolver::ResolveError,
    server_error::{Denied, ServerError, Statement},
    tls_problem::TlsProblem,
};

impl Failure {
    /// Returns why this command was answered with an error. If a server only gives a line of the script, the script
    /// names the command.
    pub(crate) fn of(error: &RedisError, cmd: &Cmd) -> Self {
        diagnose(error, script_of(cmd))
    }
}

impl From<&RedisError> for Failure {
    fn from(error: &RedisError) -> Self {
        diagnose(error, None)
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Failure::from(&error)
    }
}

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Self {
        let inner = error.get_ref();
        if let Some(unresolved) = inner.and_then(|inner| inner.downcast_ref::<ResolveError>()) {
            return Failure::Unresolved(unresolved.clone());
        }
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Failure::Tls(TlsProblem::from(tls));
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            io::ErrorKind::TimedOut => Failure::TimedOut,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Failure::Closed { may_want: None },
            _ => Failure::Unreachable(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::from(&error)
    }
}

fn diagnose(error: &RedisError, script: Option<&str>) -> Failure {
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension => {
            let said = ServerError::parse(error.code().unwrap_or_default(), error.detail().unwrap_or_default());
            of_server(&said, script).unwrap_or_else(|| Failure::Answered(own_words(error)))
        }
        // The library gives neither code nor text of a sign-in that failed.
        ErrorKind::AuthenticationFailed => Failure::WrongPassword,
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Failure::NotRedis,
        ErrorKind::Io => match io_error(error) {
            // With TLS 1.3, what is wrong with our certificate is only reported once there is a connection.
            Some(io) => Failure::from(io),
            None if error.is_connection_dropped() => Failure::Closed { may_want: None },
            None => Failure::Unreachable(error.to_string()),
        },
        _ => Failure::Answered(own_words(error)),
    }
}

/// Returns what a server's error means for us; `None` for an error that means nothing in particular.
fn of_server(error: &ServerError, script: Option<&str>) -> Option<Failure> {
    match error.statement {
        Statement::Unauthenticated => return Some(Failure::NoAuth),
        Statement::Denied(denied) => return Some(Failure::MissingRight(right(denied, script))),
        Statement::UnknownMaster => return Some(Failure::UnknownMaster),
        Statement::UnknownCommand(name) if name.eq_ignore_ascii_case("EVAL") => return Some(Failure::NoScripts),
        Statement::UnknownCommand(name) if name.eq_ignore_ascii_case("SENTINEL") => return Some(Failure::NoSentinel),
        Statement::UnknownCommand(_) | Statement::Other => {}
    }
    Some(match error.code {
        "NOAUTH" => Failure::NoAuth,
        "WRONGPASS" => Failure::WrongPassword,
        "NOPERM" => Failure::MissingRight(Right::Unnamed),
        "READONLY" => Failure::Replica,
        "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" => Failure::Cluster,
        "LOADING" => Failure::Loading,
        "MISCONF" => Failure::CannotSave,
        "OOM" => Failure::OutOfMemory,
        "WRONGTYPE" => Failure::WrongType,
        // Our own script's word.
        "TOOOLD" => Failure::TooOld,
        _ => return None,
    })
}

fn right(denied: Denied, script: Option<&str>) -> Right {
    let on_line = |line: Option<usize>| command_on_line(script?, line?);
    match denied {
        Denied::Command(name) => Right::Command(name.to_uppercase()),
        Denied::CommandOnLine(line) => on_line(line).map_or(Right::Unnamed, |name| Right::Command(name.to_uppercase())),
        Denied::Keys => Right::Keys,
        Denied::Channel => Right::Channel,
        Denied::Other => Right::Unnamed,
    }
}

/// Returns the command that a script calls on this line, counted from 1.
fn command_on_line(script: &str, line: usize) -> Option<&str> {
    let line = script.lines().nth(line.checked_sub(1)?)?;
    let (_, call) = line.split_once("redis.call('")?;
    call.split_once('\'').map(|(name, _)| name)
}

/// Returns the script that a command runs: EVAL's first argument.
fn script_of(cmd: &Cmd) -> Option<&str> {
    match cmd.args_iter().nth(1)? {
        Arg::Simple(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// The library keeps it behind a reference count.
fn io_error(error: &RedisError) -> Option<&io::Error> {
    error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?.downcast_ref()
}

/// Returns the server's own words, after their code.
fn own_words(error: &RedisError) -> String {
    let detail = match error.detail() {
        Some(detail) => detail.to_owned(),
        // A code that the library doesn't know is all that the server said.
        None if error.kind() == ErrorKind::Extension => String::new(),
        None => error.to_string(),
    };
    format!("{} {detail}", error.code().unwrap_or_default()).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use redis::{Value, parse_redis_value};

    use super::*;
    use crate::redlock::net::failure::ServerDemand;

    const SCRIPT: &str = "local x = 1\nlocal y = redis.call('get', KEYS[1])";

    /// What a server answers to `EVAL SCRIPT`, as it comes on the connection.
    fn answered(line: &str) -> Failure {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(SCRIPT).arg(0);
        let value = parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an answer");
        let Value::ServerError(error) = value else { panic!("{value:?} is no error") };
        Failure::of(&error.into(), &cmd)
    }

    #[test]
    fn what_redis_and_valkey_answer_means_the_same() {
        let command = |name: &str| Failure::MissingRight(Right::Command(name.into()));
        let in_script_of_6 = "ERR Error running script (call to f_43a7baf983ed70da08c5c515b8b91c2e83c867b8): ";
        for (line, failure) in [
            ("NOAUTH Authentication required.", Failure::NoAuth),
            ("ERR Protocol error: unauthenticated bulk length", Failure::NoAuth),
            ("WRONGPASS invalid username-password pair or user is disabled.", Failure::WrongPassword),
            ("NOPERM this user has no permissions to run the 'eval' command or its subcommand", command("EVAL")),
            ("NOPERM User u has no permissions to run the 'pubsub|numsub' command", command("PUBSUB|NUMSUB")),
            (
                "ERR The user executing the script can't run this command or subcommand script: 43a7, on @user_script:2.",
                command("GET"),
            ),
            (
                &format!(
                    "{in_script_of_6}@user_script:2: @user_script: 2: The user executing the script can't run this command or subcommand"
                ),
                command("GET"),
            ),
            (
                "ERR ACL failure in script: User u has no permissions to run the 'set' command script: 43a7, on @user_script:2.",
                command("SET"),
            ),
            (
                "ERR ACL failure in script: No permissions to access a key script: 43a7, on @user_script:2.",
                Failure::MissingRight(Right::Keys),
            ),
            (
                "NOPERM this user has no permissions to access one of the keys used as arguments",
                Failure::MissingRight(Right::Keys),
            ),
            ("NOPERM something new", Failure::MissingRight(Right::Unnamed)),
            (&format!("{in_script_of_6}@user_script:3: WRONGTYPE Operation against a key"), Failure::WrongType),
            (
                &format!(
                    "{in_script_of_6}@user_script:3: @user_script: 3: -READONLY You can't write against a replica."
                ),
                Failure::Replica,
            ),
            ("OOM command not allowed script: 43a7, on @user_script:3.", Failure::OutOfMemory),
            ("CLUSTERDOWN Hash slot not served", Failure::Cluster),
            ("TOOOLD 3.2", Failure::TooOld),
            ("ERR unknown command `EVAL`, with args beginning with: `x`, ", Failure::NoScripts),
            ("ERR unknown command 'SENTINEL', with args beginning with: 'MASTER' 'x' ", Failure::NoSentinel),
            ("ERR unknown command 'FOO'", Failure::Answered("ERR unknown command 'FOO'".into())),
            ("ERR No such master with that name", Failure::UnknownMaster),
            ("OOPS", Failure::Answered("OOPS".into())),
        ] {
            assert_eq!(answered(line), failure, "{line}");
        }
    }

    /// A server's text may say anything; only its form decides.
    #[test]
    fn words_that_a_server_quotes_decide_nothing() {
        for text in ["ERR the certificate of NOAUTH is READONLY, refused the connection", "ERR -OOM", "ERR key NOPERM"]
        {
            assert_eq!(answered(text), Failure::Answered(text.into()));
        }
    }

    #[test]
    fn a_connection_that_is_closed_unanswered_hints_at_the_other_kind() {
        assert_eq!(Failure::closed_unanswered(true), Failure::Closed { may_want: Some(ServerDemand::Tls) });
        assert!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_unconnected());
        let unresolved = Failure::from(io::Error::other(ResolveError::NotFound));
        assert_eq!(unresolved, Failure::Unresolved(ResolveError::NotFound));
    }
}
