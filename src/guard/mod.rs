//! The second process. It owns the command and everything that the command starts, and keeps the deadline: whatever
//! happens to the elector (killed, stopped, hung), the tree is dead before the lease can be another's.
//!
//! ```text
//! leaderrun (elector)   tokio, the backend; the process that the caller waits for
//! └── guard             one thread, no runtime, no network while the elector lives
//!     └── command       with all its descendants, which come back to the guard when they are orphaned
//! ```

mod bystander;
mod command;
mod contract;
mod copies;
mod delivery;
mod elector_link;
mod fork;
#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/guard.rs"]
pub(crate) mod fuzz;
mod handle;
mod killing;
mod leftovers;
mod namespace;
mod orphaned;
mod proc_stat;
mod protocol;
mod secrets;
mod session;
mod signals;
#[cfg(test)]
#[path = "../../tests/simulation/guard.rs"]
pub(crate) mod simulated;
mod spawn;
mod supervisor;
mod suspensions;
mod terminal;
mod timetable;
mod tree;
mod wakeups;

pub(crate) use self::{
    contract::{Guard, GuardEvent},
    fork::{GuardOptions, fork_guard},
    handle::{ForkedGuard, GuardHandle},
    orphaned::OrphanedLease,
    protocol::{GuardMessage, Order, Recipient, Sender},
    secrets::{hide_passwords, seal_memory},
    signals::{Signaled, asks_to_end, stop_self},
};
pub(crate) use crate::sys::{
    process::{restore_name, start_over},
    signal::die_of,
    wait::Ending,
};
