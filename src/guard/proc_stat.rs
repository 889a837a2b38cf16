//! What /proc/PID/stat and /proc/PID/status say about a process (proc(5)).

use std::{
    fs::{self, DirEntry, File},
    io::{self, Read},
};

use nix::{libc::c_int, unistd::Pid};

/// Some of its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcStat {
    state: char,
    pub parent: Pid,
    /// Whether it has a controlling terminal.
    pub has_terminal: bool,
    /// The group in the foreground of its controlling terminal.
    pub foreground: Pid,
    pub threads: u32,
    /// When the process was forked, in clock ticks since boot.
    pub began: u64,
    /// The kernel's PF_ flags.
    flags: u32,
}

impl ProcStat {
    /// Reads them; `None` if there is no such process, or none can be seen.
    pub(super) fn of(pid: Pid) -> Option<Self> {
        Self::read(File::open(format!("/proc/{pid}/stat")).ok()?)
    }

    fn read(mut file: File) -> Option<Self> {
        let mut line = [0; 1024];
        // The kernel gives it in one piece. A tree may be large, so that each call counts.
        let length = file.read(&mut line).ok()?;
        Self::parse(&String::from_utf8_lossy(&line[..length]))
    }

    /// The name, which is in parentheses, may hold anything, so fields are counted from its end.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let mut field = |skip| fields.nth(skip);
        let mut pid = |skip| field(skip)?.parse().ok().map(Pid::from_raw);
        let parent = pid(0)?;
        let (terminal, foreground) = (pid(2)?, pid(0)?);
        let mut number = |skip| field(skip)?.parse().ok();
        let (flags, threads) = (number(0)?, number(10)?);
        let began = fields.nth(1)?.parse().ok()?;
        let has_terminal = terminal.as_raw() != 0;
        Some(ProcStat { state, parent, has_terminal, foreground, threads, began, flags })
    }

    /// Returns whether all threads of the process have ended: its children are another's by now.
    fn is_dead(&self) -> bool {
        self.is_over() && self.threads <= 1
    }

    /// Returns whether the main thread has ended.
    fn is_over(&self) -> bool {
        ['Z', 'X'].contains(&self.state)
    }
}

/// Returns whether a process is ending, and waits in that for its children.
pub(super) fn is_ending(pid: Pid) -> bool {
    const PF_EXITING: u32 = 4;
    ProcStat::of(pid).is_some_and(|stat| stat.flags & PF_EXITING != 0)
}

/// Returns whether a signal or a debugger has stopped a process, as far as can be seen.
pub(super) fn is_stopped(pid: Pid) -> bool {
    ProcStat::of(pid).is_some_and(|stat| ['T', 't'].contains(&stat.state))
}

/// Returns whether all threads of a process have ended, as far as can be seen. A debugger may keep the zombie of each.
pub(super) fn is_dead(pid: Pid) -> bool {
    let Some(stat) = ProcStat::of(pid).filter(ProcStat::is_over) else { return false };
    if stat.is_dead() {
        return true;
    }
    let Ok(mut threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let is_over = |thread: io::Result<DirEntry>| {
        let file = File::open(thread.ok()?.path().join("stat"));
        // One that has gone meanwhile has ended.
        Some(file.map_or(true, |file| ProcStat::read(file).is_some_and(|stat| stat.is_over())))
    };
    threads.all(|thread| is_over(thread) == Some(true))
}

/// Returns whether a process takes a signal's default action, as /proc/PID/status shows; also if that can't be read.
pub(super) fn takes_default_action(pid: Pid, signal: c_int) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let changed = mask("SigIgn:").unwrap_or(0) | mask("SigCgt:").unwrap_or(0);
    changed & (1 << (signal - 1)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_parentheses_and_spaces_hides_nothing() {
        let line = "7 (a) R 1 (b)) Z 5 7 6 34816 9 4194308 0 0 0 0 0 0 0 0 20 0 3 0 1";
        let stat = ProcStat::parse(line).expect("fields");
        let (parent, foreground) = (Pid::from_raw(5), Pid::from_raw(9));
        assert_eq!(
            stat,
            ProcStat { state: 'Z', parent, has_terminal: true, foreground, threads: 3, began: 1, flags: 0x40_0004 }
        );
        assert!(!stat.is_dead());
        assert!(ProcStat { threads: 1, ..stat }.is_dead());
        assert_eq!(ProcStat::parse("7 (a) R"), None);
    }
}
