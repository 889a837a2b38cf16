//! Messages: one line each on stderr, what happened, why, and what follows.

use std::{io::Write, time::SystemTime};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;

use crate::cli::LogFormat;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Info,
    Debug,
}

/// Which messages are written, and how.
#[derive(Clone, Debug)]
pub struct Report {
    resource: String,
    most: Option<Level>,
    format: LogFormat,
}

impl Report {
    /// `verbose`: how often `--verbose` was given; `quiet`: not even errors.
    pub fn new(resource: &str, verbose: u8, quiet: bool, format: LogFormat) -> Self {
        let most = match (quiet, verbose) {
            (true, _) => None,
            (_, 0) => Some(Level::Error),
            (_, 1) => Some(Level::Info),
            _ => Some(Level::Debug),
        };
        Report { resource: resource.to_owned(), most, format }
    }

    /// For work whose outcome somebody else tells.
    pub fn silent() -> Self {
        Report { resource: String::new(), most: None, format: LogFormat::Text }
    }

    pub fn error(&self, message: impl std::fmt::Display) {
        self.write(Level::Error, message);
    }

    pub fn info(&self, message: impl std::fmt::Display) {
        self.write(Level::Info, message);
    }

    pub fn debug(&self, message: impl std::fmt::Display) {
        self.write(Level::Debug, message);
    }

    fn write(&self, level: Level, message: impl std::fmt::Display) {
        if self.most.is_none_or(|most| level > most) {
            return;
        }
        let message = one_line(&message.to_string());
        write_line(&match self.format {
            LogFormat::Text => format!("leaderrun: {}: {message}", self.resource),
            LogFormat::Json => self.json(level, &message),
        });
    }

    fn json(&self, level: Level, message: &str) -> String {
        serde_json::json!({
            "time": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            "level": match level {
                Level::Error => "error",
                Level::Info => "info",
                Level::Debug => "debug",
            },
            "resource": self.resource,
            "pid": std::process::id(),
            "message": message,
        })
        .to_string()
    }
}

/// A message from before there are settings: always text.
pub fn usage_error(message: impl std::fmt::Display) {
    write_line(&format!("leaderrun: {}", one_line(&message.to_string())));
}

/// Others choose some of what we print (holders, paths): a line stays one line and moves no cursor.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Writes a line in one piece. A line is lost rather than that a reader who doesn't read holds up the lease.
fn write_line(line: &str) {
    let mut stderr = std::io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let writable = poll(&mut ready, PollTimeout::ZERO).is_ok_and(|n| n == 1)
        && ready[0].revents().is_some_and(|r| r.contains(PollFlags::POLLOUT));
    if !writable {
        return;
    }
    // A pipe that polls writable takes this many bytes (PIPE_BUF) at once, and whole.
    const ATOMIC: usize = 4096;
    let end = line.floor_char_boundary(ATOMIC - 1);
    let _ = stderr.write_all(format!("{}\n", &line[..end]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stays_one_line_whatever_is_in_it() {
        assert_eq!(one_line("a\nb\x1b[2J"), "a?b?[2J");
    }

    #[test]
    fn json_escapes_what_it_carries() {
        let report = Report::new("a\"b", 0, false, LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(&report.json(Level::Error, "said \"no\"")).expect("JSON");
        assert_eq!(line["resource"], "a\"b");
        assert_eq!(line["message"], "said \"no\"");
        assert_eq!(line["level"], "error");
    }
}
