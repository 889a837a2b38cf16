//! Messages on stderr, one line each: what happened, why, and what follows.

use std::{
    io::{IsTerminal, Write},
    os::fd::AsFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::SystemTime,
};

use crate::{
    cli::LogFormat,
    event::{Details, Event},
    lease::FencingToken,
    lock::Slot,
    one_line::{escape_json, one_line},
    systemd::Service,
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{getpgrp, tcgetpgrp},
};
use rustix::termios::tcgetwinsize;

/// PIPE_BUF: a pipe that polls writable takes this many bytes at once, without another writer's in between.
const ATOMIC: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Error,
    /// Printed as errors are, but nothing has failed.
    Warning,
    Info,
    Debug,
}

/// Prints messages up to a level, in a format, in the name of one resource and holder.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    resource: String,
    holder: String,
    /// The slot and fencing token of this instance, once it leads.
    led: Arc<OnceLock<(Slot, FencingToken)>>,
    /// The most detailed level that is printed; `None` for silence.
    max_level: Option<Level>,
    format: LogFormat,
    is_terminal: bool,
    /// Stderr is a terminal that can erase lines and show colours.
    is_rich: bool,
    has_colour: bool,
    /// The status line is on the terminal.
    shows_status: Arc<AtomicBool>,
    /// Gets every event, whatever the level.
    service: Arc<OnceLock<Service>>,
}

impl Report {
    /// Creates a report for a resource and a holder. `verbose` is the number of `--verbose` options; `quiet` silences
    /// errors and warnings as well.
    pub(crate) fn new(resource: &str, holder: &str, verbose: u8, quiet: bool, format: LogFormat) -> Self {
        let max_level = match (quiet, verbose) {
            (true, _) => None,
            (_, 0) => Some(Level::Warning),
            (_, 1) => Some(Level::Info),
            _ => Some(Level::Debug),
        };
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let is_terminal = std::io::stderr().is_terminal();
        let is_rich = is_terminal && !dumb;
        Report {
            resource: resource.to_owned(),
            holder: holder.to_owned(),
            led: Arc::default(),
            max_level,
            format,
            is_terminal,
            is_rich,
            has_colour: is_rich && !set("NO_COLOR"),
            shows_status: Arc::default(),
            service: Arc::default(),
        }
    }

    /// Creates a report that prints nothing, for work whose outcome the caller reports.
    pub(crate) fn silent() -> Self {
        Self::new("", "", 0, true, LogFormat::Text)
    }

    /// Adds the slot, if there are several, and the fencing token to the messages from now on.
    pub(crate) fn leads_with(&self, slot: Slot, token: FencingToken) {
        let _ = self.led.set((slot, token));
    }

    pub(crate) fn error(&self, event: Event, message: impl std::fmt::Display) {
        self.error_with(event, &Details::default(), message);
    }

    pub(crate) fn error_with(&self, event: Event, details: &Details, message: impl std::fmt::Display) {
        self.write(Level::Error, event, details, message);
    }

    pub(crate) fn warning(&self, event: Event, message: impl std::fmt::Display) {
        self.write(Level::Warning, event, &Details::default(), message);
    }

    pub(crate) fn info(&self, event: Event, message: impl std::fmt::Display) {
        self.info_with(event, &Details::default(), message);
    }

    pub(crate) fn info_with(&self, event: Event, details: &Details, message: impl std::fmt::Display) {
        self.write(Level::Info, event, details, message);
    }

    /// Reports what somebody at a terminal wants to know, and others only with `--verbose`.
    pub(crate) fn answer(&self, event: Event, details: &Details, message: impl std::fmt::Display) {
        if self.is_terminal && self.format == LogFormat::Text && self.max_level.is_some() {
            self.print(Level::Info, event, details, one_line(&message.to_string()));
        } else {
            self.write(Level::Info, event, details, message);
        }
    }

    pub(crate) fn debug(&self, event: Event, message: impl std::fmt::Display) {
        self.write(Level::Debug, event, &Details::default(), message);
    }

    /// Passes events on to the service manager from now on.
    pub(crate) fn notify(&self, service: Service) {
        let _ = self.service.set(service);
    }

    /// Notifies the service manager that leaderrun is stopping.
    pub(crate) fn notify_stopping(&self) {
        if let Some(service) = self.service.get() {
            service.stop();
        }
    }

    fn write(&self, level: Level, event: Event, details: &Details, message: impl std::fmt::Display) {
        let message = one_line(&message.to_string());
        if let Some(service) = self.service.get() {
            service.pass_on(event, &message);
        }
        if self.max_level.is_some_and(|max| level <= max) {
            self.print(level, event, details, message);
        }
    }

    fn print(&self, level: Level, event: Event, details: &Details, message: String) {
        self.stop_waiting();
        write_line(&match self.format {
            LogFormat::Json => self.json_that_fits(level, event, details.clone(), message),
            LogFormat::Text if self.has_colour => {
                let colour = if level <= Level::Warning { "1;31" } else { "2" };
                format!("\x1b[{colour}mleaderrun: {}:\x1b[0m {message}", one_line(&self.resource))
            }
            LogFormat::Text => format!("leaderrun: {}: {message}", one_line(&self.resource)),
        });
    }

    /// Returns a line of JSON that is written whole. Others choose how long their names and errors are.
    fn json_that_fits(&self, level: Level, event: Event, mut details: Details, mut message: String) -> String {
        loop {
            let line = self.json(level, event, &details, &message);
            let texts = details.leader.iter_mut().chain([&mut message]);
            let Some(longest) = texts.max_by_key(|text| text.len()).filter(|text| !text.is_empty()) else {
                return line;
            };
            let Some(excess) = line.len().checked_sub(ATOMIC).map(|more| more + 1) else { return line };
            // An escaped character takes up to six bytes for one.
            let fewer = excess.div_ceil(6).max(longest.len().saturating_sub(ATOMIC));
            longest.truncate(longest.floor_char_boundary(longest.len().saturating_sub(fewer)));
        }
    }

    fn json(&self, level: Level, event: Event, details: &Details, message: &str) -> String {
        let mut line = serde_json::json!({
            "time": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            "level": match level {
                Level::Error => "error",
                Level::Warning => "warning",
                Level::Info => "info",
                Level::Debug => "debug",
            },
            "event": event,
            "resource": self.resource,
            "holder": self.holder,
            "token": self.led.get().map(|(_, token)| token),
            "pid": std::process::id(),
            "message": message,
        });
        if let Some((slot, _)) = self.led.get().filter(|(slot, _)| !slot.is_only()) {
            line["slot"] = slot.number.into();
        }
        if let (Some(line), Ok(serde_json::Value::Object(details))) =
            (line.as_object_mut(), serde_json::to_value(details))
        {
            line.extend(details);
        }
        escape_json(&line.to_string())
    }

    /// Returns whether a status line would be seen: stderr is a terminal, and leaderrun is in its foreground.
    pub(crate) fn is_watched(&self) -> bool {
        self.max_level.is_some()
            && self.format == LogFormat::Text
            && self.is_rich
            && tcgetpgrp(std::io::stderr()).is_ok_and(|foreground| foreground == getpgrp())
    }

    /// Shows what this instance waits for, in a status line that the next message replaces.
    pub(crate) fn show_waiting(&self, line: &str) {
        self.shows_status.store(true, Relaxed);
        write_raw(&format!("\r\x1b[K{}", in_one_row(&one_line(line), columns())));
    }

    /// Erases the status line.
    pub(crate) fn stop_waiting(&self) {
        if self.shows_status.swap(false, Relaxed) {
            write_raw("\r\x1b[K");
        }
    }
}

/// Prints an error as text, where there are no settings.
pub(crate) fn print_error(message: impl std::fmt::Display) {
    write_line(&format!("leaderrun: {}", one_line(&message.to_string())));
}

/// Returns how many columns stderr has.
fn columns() -> usize {
    const USUAL: u16 = 80;
    let columns = tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
    usize::from(if columns == 0 { USUAL } else { columns })
}

/// Returns as much of a text as fits in a row, without its last column: beyond that, a terminal goes on in the next row, which nothing
/// erases. A character outside ASCII may take two columns.
fn in_one_row(text: &str, columns: usize) -> &str {
    let mut left = columns.saturating_sub(1);
    let end = text.char_indices().find(|(_, c)| {
        let width = if c.is_ascii() { 1 } else { 2 };
        let fits = width <= left;
        left = left.saturating_sub(width);
        !fits
    });
    &text[..end.map_or(text.len(), |(at, _)| at)]
}

fn write_line(line: &str) {
    let end = line.floor_char_boundary(ATOMIC - 1);
    write_raw(&format!("{}\n", &line[..end]));
}

/// Writes in one piece. Drops the line rather than block lease renewal.
fn write_raw(text: &str) {
    #[cfg(any(test, fuzzing))]
    if let Some(host) = crate::host::simulated::current() {
        return host.print(text);
    }
    let mut stderr = std::io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    // poll(2) fails where no descriptor is allowed any more (RLIMIT_NOFILE); the line is worth more than the risk then.
    if poll(&mut ready, PollTimeout::ZERO).is_ok()
        && !ready[0].revents().is_some_and(|r| r.contains(PollFlags::POLLOUT))
    {
        return;
    }
    let _ = stderr.write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_escapes_what_it_carries() {
        let report = Report::new("a\"b", "me", 0, false, LogFormat::Json);
        let line = report.json(Level::Error, Event::LostRound, &Details::of_reason("tie"), "said \"no\"");
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&line["event"], &line["holder"], &line["token"]), (&"lost_round".into(), &"me".into(), &().into()));
        assert_eq!(line["resource"], "a\"b");
        assert_eq!(line["message"], "said \"no\"");
        assert_eq!((&line["level"], &line["reason"]), (&"error".into(), &"tie".into()));
        assert!(line.get("leader").is_none());
    }

    #[test]
    fn a_text_is_cut_to_a_row() {
        for (text, columns, row) in [
            ("abcd", 5, "abcd"),
            ("abcd", 4, "abc"),
            ("aéb", 5, "aéb"),
            ("aéb", 4, "aé"),
            ("aéb", 3, "a"),
            ("a", 0, ""),
        ] {
            assert_eq!(in_one_row(text, columns), row, "{text} {columns}");
        }
    }
}
