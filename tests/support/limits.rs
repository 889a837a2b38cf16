//! Lowers the limits of running processes from outside.

use nix::{errno::Errno, libc};

/// A limit of setrlimit(2).
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// Descriptor numbers stay below this.
    Files,
    /// Bytes of address space.
    Memory,
}

/// Lowers a limit of one of our user's processes, soft and hard (prlimit(2)).
pub fn lower(pid: i32, limit: Limit, to: u64) {
    let resource = match limit {
        Limit::Files => libc::RLIMIT_NOFILE,
        Limit::Memory => libc::RLIMIT_AS,
    };
    let new = libc::rlimit { rlim_cur: to, rlim_max: to };
    let mut old = new;
    // SAFETY: both outlive the call, which reads one and writes the other.
    Errno::result(unsafe { libc::prlimit(pid, resource, &raw const new, &raw mut old) }).expect("a process of ours");
    assert!(old.rlim_cur > to, "{limit:?}: {to} is not below {}", old.rlim_cur);
}

/// Returns the bytes of address space that a process has mapped now.
pub fn mapped(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("a size");
    size.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
