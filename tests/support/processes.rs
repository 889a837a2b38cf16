//! Processes, found in /proc and signalled by pid.

use std::{fs, sync::Once};

use nix::{
    libc,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::eventually;

pub fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("a process of this test");
}

/// Restores the default action of ignored signals. A shell that runs the tests in the background, or nohup(1), passes
/// on ignored signals, and leaderrun would inherit and keep them.
pub fn heed_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Rust ignores SIGPIPE, and restores it for the programs that it starts.
        for number in (1..=64).filter(|&number| number != libc::SIGPIPE) {
            // SAFETY: all zeros is a valid sigaction; it is read, and reset to the default if it was ignored.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                let known = libc::sigaction(number, std::ptr::null(), &raw mut action) == 0;
                if known && action.sa_sigaction == libc::SIG_IGN {
                    libc::signal(number, libc::SIG_DFL);
                }
            }
        }
    });
}

/// Returns the children of a process that are not zombies; of a guard, its command and what that has left to it, once that has
/// been started.
pub fn children(pid: i32) -> Vec<i32> {
    let is_own = |child: i32| name(pid) == "leaderrun-guard" && name(child).starts_with("leaderrun-g");
    all_children(pid).into_iter().filter(|&child| !is_own(child)).collect()
}

/// Returns the process by which a guard learns which signals are sent to its command's group.
pub fn bystander_of(guard: i32) -> i32 {
    all_children(guard).into_iter().find(|&child| name(child) == "leaderrun-group").expect("a bystander")
}

fn all_children(pid: i32) -> Vec<i32> {
    let Ok(list) = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) else { return Vec::new() };
    list.split_ascii_whitespace().map(|n| n.parse().expect("a pid")).filter(|&p| state(p) != 'Z').collect()
}

/// Returns the letter of a process's state; X if it is gone.
pub fn state(pid: i32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('X')
}

/// Returns whether a process has yet to take a signal that was sent to it.
pub fn is_pending(pid: i32, signal: Signal) -> bool {
    signal_set(pid, "ShdPnd").expect("a process of this test") & 1 << (signal as u64 - 1) != 0
}

/// Returns a set of signals by its name in /proc/PID/status, where signal 1 is the lowest bit; `None` if the process is gone.
pub fn signal_set(pid: i32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let set = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))?;
    Some(u64::from_str_radix(set, 16).expect("a mask"))
}

/// Returns the name of a process, as ps(1) shows it by default.
pub fn name(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// Returns the number of threads of a process.
pub fn threads(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Everything that the commands of one resource started, recognized by the resource's name in the environment.
pub struct Tree(pub String);

impl Tree {
    pub fn of(resource: &str) -> Self {
        Tree(format!("LEADERRUN_RESOURCE={resource}"))
    }

    /// Returns the processes that are alive now.
    pub fn alive(&self) -> Vec<i32> {
        let marked = |pid: &i32| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|&b| b == 0).any(|variable| variable == self.0.as_bytes())
        };
        let pids = fs::read_dir("/proc").expect("/proc").flatten();
        let pids = pids.filter_map(|e| e.file_name().to_str().and_then(|n| n.parse().ok()));
        pids.filter(marked).filter(|&pid| !['Z', 'X'].contains(&state(pid))).collect()
    }

    /// Waits until there are this many processes.
    pub fn grows_to(&self, number: usize) -> Vec<i32> {
        eventually(&format!("{number} processes with {}", self.0), || Some(self.alive()).filter(|p| p.len() >= number))
    }

    pub fn is_gone(&self) {
        eventually(&format!("the end of all processes with {}", self.0), || self.alive().is_empty().then_some(()));
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Anything is left only after a failed test.
        for pid in self.alive() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
