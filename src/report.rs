//! Messages: one line each on stderr, what happened, why, and what follows.

use std::{
    io::{IsTerminal, Write},
    os::fd::AsFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use crate::{cli::LogFormat, event::Event, lease::FencingToken, systemd::Service};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{getpgrp, tcgetpgrp},
};

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
    holder: String,
    /// Our fencing token; 0 before we lead.
    token: Arc<AtomicU64>,
    most: Option<Level>,
    format: LogFormat,
    /// Stderr is a terminal that takes more than plain lines.
    rich: bool,
    colour: bool,
    /// A line that is to go again stands on the terminal.
    waits: Arc<AtomicBool>,
    /// Who else is told, whatever is written.
    service: Arc<OnceLock<Service>>,
}

impl Report {
    /// `verbose`: how often `--verbose` was given; `quiet`: not even errors.
    pub fn new(resource: &str, holder: &str, verbose: u8, quiet: bool, format: LogFormat) -> Self {
        let most = match (quiet, verbose) {
            (true, _) => None,
            (_, 0) => Some(Level::Error),
            (_, 1) => Some(Level::Info),
            _ => Some(Level::Debug),
        };
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let rich = std::io::stderr().is_terminal() && !dumb;
        Report {
            resource: resource.to_owned(),
            holder: holder.to_owned(),
            token: Arc::default(),
            most,
            format,
            rich,
            colour: rich && !set("NO_COLOR"),
            waits: Arc::default(),
            service: Arc::default(),
        }
    }

    /// For work whose outcome somebody else tells.
    pub fn silent() -> Self {
        Self::new("", "", 0, true, LogFormat::Text)
    }

    /// We lead from now on.
    pub fn leads_with(&self, token: FencingToken) {
        self.token.store(token.get(), Relaxed);
    }

    pub fn error(&self, event: Event, message: impl std::fmt::Display) {
        self.write(Level::Error, event, message);
    }

    pub fn info(&self, event: Event, message: impl std::fmt::Display) {
        self.write(Level::Info, event, message);
    }

    pub fn debug(&self, event: Event, message: impl std::fmt::Display) {
        self.write(Level::Debug, event, message);
    }

    /// The service manager is told as well.
    pub fn tell_also(&self, service: Service) {
        let _ = self.service.set(service);
    }

    /// The service manager is told that we stop.
    pub fn end_service(&self) {
        if let Some(service) = self.service.get() {
            service.stop();
        }
    }

    fn write(&self, level: Level, event: Event, message: impl std::fmt::Display) {
        if let Some(service) = self.service.get() {
            service.hear(event, &one_line(&message.to_string()));
        }
        if self.most.is_none_or(|most| level > most) {
            return;
        }
        self.stop_waiting();
        let message = one_line(&message.to_string());
        write_line(&match self.format {
            LogFormat::Json => self.json(level, event, &message),
            LogFormat::Text if self.colour => {
                let colour = if level == Level::Error { "1;31" } else { "2" };
                format!("\x1b[{colour}mleaderrun: {}:\x1b[0m {message}", one_line(&self.resource))
            }
            LogFormat::Text => format!("leaderrun: {}: {message}", self.resource),
        });
    }

    fn json(&self, level: Level, event: Event, message: &str) -> String {
        let token = self.token.load(Relaxed);
        serde_json::json!({
            "time": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            "level": match level {
                Level::Error => "error",
                Level::Info => "info",
                Level::Debug => "debug",
            },
            "event": event,
            "resource": self.resource,
            "holder": self.holder,
            "token": (token > 0).then_some(token),
            "pid": std::process::id(),
            "message": message,
        })
        .to_string()
    }

    /// Whether somebody looks on who should see what we wait for: on a terminal, in the foreground.
    pub fn is_watched(&self) -> bool {
        self.most.is_some()
            && self.format == LogFormat::Text
            && self.rich
            && tcgetpgrp(std::io::stderr()).is_ok_and(|foreground| foreground == getpgrp())
    }

    /// Shows what we wait for, in a line that stands until there is something else to be said.
    pub fn show_waiting(&self, line: &str) {
        self.waits.store(true, Relaxed);
        write_raw(&format!("\r\x1b[K{}", one_line(line)));
    }

    /// The line goes without a trace.
    pub fn stop_waiting(&self) {
        if self.waits.swap(false, Relaxed) {
            write_raw("\r\x1b[K");
        }
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

fn write_line(line: &str) {
    // A pipe that polls writable takes this many bytes (PIPE_BUF) at once, and whole.
    const ATOMIC: usize = 4096;
    let end = line.floor_char_boundary(ATOMIC - 1);
    write_raw(&format!("{}\n", &line[..end]));
}

/// Writes in one piece. A line is lost rather than that a reader who doesn't read holds up the lease.
fn write_raw(text: &str) {
    let mut stderr = std::io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let writable = poll(&mut ready, PollTimeout::ZERO).is_ok_and(|n| n == 1)
        && ready[0].revents().is_some_and(|r| r.contains(PollFlags::POLLOUT));
    if !writable {
        return;
    }
    let _ = stderr.write_all(text.as_bytes());
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
        let report = Report::new("a\"b", "me", 0, false, LogFormat::Json);
        let line = report.json(Level::Error, Event::LostRound, "said \"no\"");
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&line["event"], &line["holder"], &line["token"]), (&"lost_round".into(), &"me".into(), &().into()));
        assert_eq!(line["resource"], "a\"b");
        assert_eq!(line["message"], "said \"no\"");
        assert_eq!(line["level"], "error");
    }
}
