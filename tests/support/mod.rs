//! What the tests share: real servers, real leaderruns, and the checker for overlap.

// Each test file is a program of its own and uses a part of this.
#![allow(dead_code, unused_imports)]

mod apart;
mod dns;
mod leaderrun;
mod lookup;
mod processes;
mod proxy;
mod sentinels;
mod servers;
mod terminal;
mod waiting;
mod witnesses;

pub use self::{
    apart::Apart,
    dns::{NameServer, Query, Says, addresses},
    leaderrun::{Leaderrun, Output, Running},
    lookup::{is_found, is_found_by, is_not_resolved, look},
    processes::{Tree, children, signal, state},
    proxy::{Mode, Proxy},
    sentinels::{Group, NAME, Sentinel},
    servers::{Server, Servers, free_port},
    terminal::Terminal,
    waiting::{LONG, eventually, eventually_within},
    witnesses::{Witness, Witnesses, monotonic},
};

/// A name that no other test uses.
pub fn unique(name: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An example's program, built beside the tests.
pub fn example(name: &str) -> std::path::PathBuf {
    let mut path = std::env::current_exe().expect("our own path");
    path.pop();
    path.pop();
    path.join("examples").join(name)
}
