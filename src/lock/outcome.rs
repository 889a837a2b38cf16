//! The outcomes of acquiring, extending and waiting for a lock, and how it is released.

use std::{os::fd::RawFd, time::Duration};

use serde::{Deserialize, Serialize};

use super::{failure::BackendFailure, proof::ReleaseProof, reason::Reason, slot::Slot, value::LockValue};
use crate::{
    clock::Moment,
    history::EndedRun,
    lease::{Deadlines, FencingToken},
    once_per::Failures,
};

/// The outcome of a campaign round.
#[derive(Clone, Debug)]
pub(crate) enum AcquireOutcome {
    Acquired(Lease),
    NotAcquired(NotAcquired),
}

/// A lease that was won.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub slot: Slot,
    pub token: FencingToken,
    /// When the round that won was sent; `None` for a lease that doesn't expire.
    pub sent: Option<Moment>,
    pub release_key: ReleaseKey,
    /// The lock's descriptors, for the guard to hold as well.
    pub descriptors: Vec<RawFd>,
    /// How often the command has failed in this period.
    pub failures: Failures,
}

/// A campaign round that was lost.
#[derive(Clone, Debug)]
pub(crate) struct NotAcquired {
    pub reason: Reason,
    /// The time until a quorum of votes could be free, as far as is known.
    pub free_in: Option<Duration>,
}

/// The outcome of an extension.
#[derive(Debug)]
pub(crate) enum ExtendOutcome {
    Extended {
        deadlines: Option<Deadlines>,
        release_key: ReleaseKey,
        /// Somebody has asked us to step down.
        step_down: bool,
    },
    /// Another try may still succeed.
    Failed(BackendFailure),
    /// No other try can succeed.
    Lost(BackendFailure),
}

/// What the guard needs to release the lease of a dead elector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ReleaseKey {
    Nodes(NodesKey),
    /// Nothing: the lock ends with the last descriptor of its file.
    File,
}

/// What the nodes know a leader by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodesKey {
    pub slot: Slot,
    pub value: LockValue,
    /// What proves its release to others.
    pub proof: ReleaseProof,
    /// The largest token that the lock was extended with.
    pub token: FencingToken,
}

/// A lease that is released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Released {
    /// How many stood by at that moment; `None` if that isn't known.
    pub standbys: Option<u32>,
}

/// How a lease is released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReleaseOptions {
    /// The command has succeeded, and that is recorded for this period.
    pub succeeded: bool,
    /// The lock stays taken for this long.
    pub hold: Option<Duration>,
    /// The run that is over, to be recorded; `None` if there was none.
    pub run: Option<EndedRun>,
}
