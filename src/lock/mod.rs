//! The vocabulary of a lock: what it is to hold one, to be refused one, and to give one back. No I/O.

mod failure;
mod outcome;
mod reason;
mod value;

pub(crate) use self::{
    failure::{BackendFailure, NodeFault, Shortfall, Wanted},
    outcome::{AcquireOutcome, ExtendOutcome, Lease, NodesKey, NotAcquired, ReleaseKey, ReleaseOptions, WaitOutcome},
    reason::{Leader, Reason},
    value::{LeadershipId, LockValue},
};
