//! What /proc/PID/stat says about a process (proc(5)).

use std::fs;

use nix::unistd::Pid;

/// Some of its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcStat {
    state: char,
    pub parent: Pid,
    /// The group in the foreground of its controlling terminal.
    pub foreground: Pid,
}

impl ProcStat {
    /// Reads them; `None` if there is no such process, or none can be seen.
    pub(super) fn of(pid: Pid) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name, which is in parentheses, may hold anything, so fields are counted from its end.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let mut pid = |skip| fields.nth(skip)?.parse().ok().map(Pid::from_raw);
        Some(ProcStat { state, parent: pid(0)?, foreground: pid(3)? })
    }

    /// Returns whether the process has ended: its children are another's by now.
    pub(super) fn has_ended(&self) -> bool {
        ['Z', 'X'].contains(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_parentheses_and_spaces_hides_nothing() {
        let stat = ProcStat::parse("7 (a) R 1 (b)) Z 5 7 6 34816 9 0 0").expect("fields");
        assert_eq!(stat, ProcStat { state: 'Z', parent: Pid::from_raw(5), foreground: Pid::from_raw(9) });
        assert!(stat.has_ended());
        assert_eq!(ProcStat::parse("7 (a) R"), None);
    }
}
