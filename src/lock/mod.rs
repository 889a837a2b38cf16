//! The vocabulary of a lock: types for getting it, not getting it, and releasing it. No I/O.

mod failure;
#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/lock.rs"]
pub(crate) mod fuzz;
mod other_servers;
mod outcome;
mod proof;
mod reason;
mod slot;
mod value;

pub(crate) use self::{
    failure::{BackendFailure, NodeFault, Shortfall, Wanted},
    other_servers::OtherServers,
    outcome::{AcquireOutcome, ExtendOutcome, Lease, NodesKey, NotAcquired, ReleaseKey, ReleaseOptions, Released},
    proof::ReleaseProof,
    reason::{Leader, Reason},
    slot::{MOST_SLOTS, Slot, slot_suffix},
    value::{LONGEST_NAME, LeadershipId, LockValue, Terms},
};
