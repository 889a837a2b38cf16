//! A lease whose elector is gone: what the guard then has to release, and how its work ends with it or without.

use super::elector_link::ElectorEnd;
use crate::{
    clock::Moment,
    lease::FencingToken,
    lock::{ReleaseKey, Slot},
    sys::wait::Ending,
};

/// How the guard's work ended.
#[derive(Debug)]
pub(super) enum GuardEnd {
    /// The elector has released, or there is nothing to release.
    Done,
    /// The elector is gone and the tree is dead: the lease is left to the guard.
    LeaseLeft(OrphanedLease, ElectorEnd),
}

/// A lease whose elector may be gone, and what is known of its command.
#[derive(Debug)]
pub(crate) struct OrphanedLease {
    pub slot: Slot,
    pub release_key: ReleaseKey,
    pub token: FencingToken,
    /// When the command was started.
    pub began: Moment,
    /// How the command has ended by itself; `None` if it was killed.
    pub ending: Option<Ending>,
}
