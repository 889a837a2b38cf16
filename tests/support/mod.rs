//! What the tests share: real servers, real instances, and the checker for overlap.

#![allow(unreachable_pub)]

mod apart;
mod connection;
mod counters;
mod dns;
mod environment;
mod kitchen;
mod leaderrun;
mod limits;
mod lookup;
mod ports;
mod processes;
mod proxy;
mod scenery;
mod sentinels;
mod servers;
mod terminal;
mod user;
mod waiting;
mod witnesses;

pub use self::{
    apart::Apart,
    counters::Counters,
    dns::{NameServer, Query, Says, addresses},
    environment::given_variables,
    kitchen::Kitchen,
    leaderrun::{Leaderrun, Output, Running},
    limits::{Limit, lower, mapped},
    lookup::{is_found, is_found_by, is_not_resolved, look},
    ports::free_port,
    processes::{Tree, bystander_of, children, heed_signals, is_pending, name, signal, signal_set, state, threads},
    proxy::{Mode, Proxy},
    scenery::{End, LONG_TTL, Leading, Shape, Stage, TTL, each_end, failing_ends, program},
    sentinels::{Group, NAME, Sentinel},
    servers::{Server, Servers},
    terminal::{Terminal, UP, leaderrun_of, local, namespaces, run},
    user::{
        as_ordinary_user, is_root, may_become_others, may_make_namespaces, may_raise_priorities, path, unshare,
        unshare_and,
    },
    waiting::{LONG, eventually, eventually_within},
    witnesses::{Witness, Witnesses, monotonic},
};

/// Checks that a text has only lines of printable characters, in one direction.
#[track_caller]
pub fn is_plain(text: &str) {
    let turns =
        |c| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
    assert!(!text.chars().any(|c| turns(c) || (c.is_control() && c != '\n')), "{text:?}");
}

/// Returns a name that no other test uses.
pub fn unique(name: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Returns a path as one word of a shell line.
pub fn quoted(path: impl AsRef<std::path::Path>) -> String {
    format!("'{}'", path.as_ref().to_str().expect("a path in UTF-8").replace('\'', r"'\''"))
}

/// Returns the path of an example's program, which is built beside the tests.
pub fn example(name: &str) -> std::path::PathBuf {
    let mut path = std::env::current_exe().expect("our own path");
    path.pop();
    path.pop();
    path.join("examples").join(name)
}
