//! Fuzz targets: each takes any bytes as what somebody else may send us, and panics if they break a rule. `fuzz/` builds
//! them for cargo-fuzz. The everyday tests run the seeds, and a few changes to them.

mod command_line;
mod conversation;
#[cfg(test)]
mod everyday;

pub use self::{command_line::command_line, conversation::conversation};

/// A target, and its name.
#[cfg(test)]
pub type Target = (&'static str, fn(&[u8]));

/// Wraps targets, which are in the rooms whose private parts they reach.
macro_rules! targets {
    ($($(#[$doc:meta])* $name:ident = $path:path;)*) => {
        $($(#[$doc])* pub fn $name(data: &[u8]) {
            $path(data);
        })*

        #[cfg(test)]
        pub const TARGETS: &[Target] = &[
            ("command_line", command_line), ("conversation", conversation), $((stringify!($name), $name)),*
        ];
    };
}

targets! {
    /// Answers to the scripts and to SENTINEL MASTER, and what a round decides from them.
    replies = crate::redlock::fuzz::replies;
    /// Errors of servers.
    errors = crate::redlock::fuzz::errors;
    /// Messages on the lock's channel, and how long a standby waits after them.
    messages = crate::redlock::fuzz::messages;
    /// What --check reads: INFO and TIME.
    reports = crate::redlock::fuzz::reports;
    /// URLs, lists of them, and files of them.
    urls = crate::redlock::fuzz::urls;
    /// The values of locks.
    values = crate::lock::fuzz::values;
    /// The file of a lock on one machine.
    records = crate::local::fuzz::records;
    /// The packets between elector and guard.
    packets = crate::guard::fuzz::packets;
}

/// Panics if a text from somebody else, as we would print it, is more than a line.
pub(crate) fn is_one_line(text: &str) {
    let shown = crate::one_line::one_line(text);
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
}
