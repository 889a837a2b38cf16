//! The grammar of servers' errors: a code word, a text, and what says that it comes from a script.
//!
//! ```text
//! error     = CODE " " message
//! message   = "Error running script (call to NAME): " *trace ["-"] [CODE " "] text      Redis 5 and 6
//!           | text " script: SHA, on @user_script:" LINE "."                            Redis 7, Valkey
//!           | text
//! trace     = "@user_script:" [" "] LINE ": "
//! text      = ["ACL failure in script: "] subject "permissions to " action              Redis, Valkey
//!           | "The user executing the script can't " action                             Redis 5 to 7.0
//!           | "unknown command " quoted [", with args beginning with: " ...]
//!           | "No such master" ...
//!           | "Protocol error: unauthenticated " ...
//!           | anything else
//! action    = "run the " quoted " command" ... | "run this command" ... | "access " ... ("key" | "keys") ... | anything else
//! quoted    = "'" NAME "'" | "`" NAME "`"
//! ```
//!
//! Before Redis 7 an error in a script has its own code after the traces, or none at all where the user lacks a right.

/// A server's error, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerError<'a> {
    /// The code of the error itself, not of the script that it stopped.
    pub code: &'a str,
    pub statement: Statement<'a>,
}

/// What the text says, where its form is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statement<'a> {
    /// The user lacks a right.
    Denied(Denied<'a>),
    UnknownCommand(&'a str),
    UnknownMaster,
    /// A request was too long for a connection that is not signed in. It has no code of its own.
    Unauthenticated,
    Other,
}

/// What a user may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied<'a> {
    /// Run the command of this name.
    Command(&'a str),
    /// Run the command on this line of the script.
    CommandOnLine(Option<usize>),
    /// Use the keys.
    Keys,
    /// Use the channel.
    Channel,
    Other,
}

impl<'a> ServerError<'a> {
    /// Takes an error apart, from its first word and the rest.
    pub(super) fn parse(code: &'a str, message: &'a str) -> Self {
        if let Some((code, text, line)) = from_script_of_6(code, message) {
            return ServerError { code, statement: statement(text, line) };
        }
        let (text, line) = from_script_of_7(message).map_or((message, None), |(text, line)| (text, Some(line)));
        ServerError { code, statement: statement(text, line) }
    }
}

/// Takes off what Redis 5 and 6 put before an error in a script. Returns code, text and line.
fn from_script_of_6<'a>(code: &'a str, message: &'a str) -> Option<(&'a str, &'a str, Option<usize>)> {
    let (_, mut text) = message.strip_prefix("Error running script (call to ")?.split_once("): ")?;
    let mut line = None;
    while let Some((number, rest)) = trace(text) {
        (line, text) = (Some(number), rest);
    }
    let coded = text.strip_prefix('-').unwrap_or(text);
    match coded.split_once(' ') {
        Some((word, rest)) if is_code(word) => Some((word, rest, line)),
        _ => Some((code, text, line)),
    }
}

fn trace(text: &str) -> Option<(usize, &str)> {
    let (number, rest) = text.strip_prefix("@user_script:")?.split_once(": ")?;
    Some((number.trim_start().parse().ok()?, rest))
}

fn is_code(word: &str) -> bool {
    word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Takes off what Redis 7 and Valkey put after an error in a script. Returns text and line.
fn from_script_of_7(message: &str) -> Option<(&str, usize)> {
    let (text, place) = message.rsplit_once(" script: ")?;
    let (_, line) = place.strip_suffix('.')?.split_once(", on @user_script:")?;
    Some((text, line.parse().ok()?))
}

fn statement(text: &str, line: Option<usize>) -> Statement<'_> {
    if let Some(denied) = denied(text, line) {
        Statement::Denied(denied)
    } else if let Some(command) = strip_any_case(text, "unknown command ").and_then(quoted) {
        Statement::UnknownCommand(command)
    } else if strip_any_case(text, "no such master").is_some() {
        Statement::UnknownMaster
    } else if text.starts_with("Protocol error: unauthenticated ") {
        Statement::Unauthenticated
    } else {
        Statement::Other
    }
}

fn denied(text: &str, line: Option<usize>) -> Option<Denied<'_>> {
    let permitted = || text.split_once("permissions to ").map(|(_, action)| action);
    let action = text.strip_prefix("The user executing the script can't ").or_else(permitted)?;
    let (verb, object) = action.split_once(' ')?;
    Some(match verb {
        "run" => object.strip_prefix("the ").and_then(quoted).map_or(Denied::CommandOnLine(line), Denied::Command),
        "access" if object.split(' ').any(|word| matches!(word, "key" | "keys")) => Denied::Keys,
        "access" if object.split(' ').any(|word| matches!(word, "channel" | "channels")) => Denied::Channel,
        _ => Denied::Other,
    })
}

/// Returns what stands in quotes at the text's beginning.
fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '`'))?;
    text[1..].split_once(quote).map(|(name, _)| name)
}

fn strip_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_error_in_a_script_has_its_own_code_text_and_line() {
        let in_6 = "Error running script (call to f_43a7): @user_script:3: @user_script: 4: -OOM not allowed";
        assert_eq!(from_script_of_6("ERR", in_6), Some(("OOM", "not allowed", Some(4))));
        let without = "Error running script (call to f_43a7): @user_script:3: user_script:3: attempt to index";
        assert_eq!(from_script_of_6("ERR", without), Some(("ERR", "user_script:3: attempt to index", Some(3))));
        let in_7 = "has a script: in it script: 12b6, on @user_script:2.";
        assert_eq!(from_script_of_7(in_7), Some(("has a script: in it", 2)));
        assert_eq!(from_script_of_6("OOM", "not allowed"), None);
    }

    #[test]
    fn a_missing_right_is_read_whatever_the_user_is_called() {
        for name in ["run", "access", "key", "'get'", "permissions"] {
            let text = format!("User {name} has no permissions to run the 'set' command");
            let read = ServerError::parse("NOPERM", &text).statement;
            assert_eq!(read, Statement::Denied(Denied::Command("set")), "{text}");
        }
        let named = "User u has no permissions to access the 'a key' key";
        assert_eq!(ServerError::parse("NOPERM", named).statement, Statement::Denied(Denied::Keys));
        let channel = "No permissions to access a channel";
        assert_eq!(ServerError::parse("NOPERM", channel).statement, Statement::Denied(Denied::Channel));
        let channel = "this user has no permissions to access one of the channels used as arguments";
        assert_eq!(ServerError::parse("NOPERM", channel).statement, Statement::Denied(Denied::Channel));
    }

    /// The parts of which messages are made, in any order, so that many are nearly right.
    fn nearly_a_message() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("Error running script (call to ".to_owned()),
            Just("): ".to_owned()),
            Just("@user_script:".to_owned()),
            Just(" script: ".to_owned()),
            Just(", on @user_script:".to_owned()),
            Just("ACL failure in script: ".to_owned()),
            Just("permissions to ".to_owned()),
            Just("The user executing the script can't ".to_owned()),
            Just("unknown command ".to_owned()),
            Just("run the '".to_owned()),
            Just("access a key".to_owned()),
            "[-'`.: ]",
            "[0-9]{1,24}",
            "[A-Z]{1,9} ",
            any::<String>(),
        ];
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_left(code in any::<String>(), message in prop_oneof![any::<String>(), nearly_a_message()]) {
            let read = ServerError::parse(&code, &message);
            prop_assert!(read.code == code || is_code(read.code));
            if let Statement::Denied(Denied::Command(name)) | Statement::UnknownCommand(name) = read.statement {
                prop_assert!(message.contains(name));
            }
        }
    }
}
