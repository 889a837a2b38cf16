//! The vocabulary of a lock: what it is to hold one, to be refused one, and to give one back. No I/O.

use std::{os::fd::RawFd, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{clock::Moment, lease::Deadlines, once_per::Failures};

/// What the guard needs to release the lease when the elector is dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseKey {
    /// The lock's value, and the largest token that it was extended with.
    Nodes { value: String, token: u64 },
    /// Nothing: the lock goes with the last descriptor of its file.
    File,
}

/// Leadership, won.
#[derive(Clone, Debug)]
pub struct Lease {
    pub token: u64,
    /// When the round that won was sent; `None` for a lease that doesn't run out.
    pub sent: Option<Moment>,
    pub release_key: ReleaseKey,
    /// The lock's descriptor, for the guard to hold as well.
    pub descriptor: Option<RawFd>,
    /// How often the command has failed in this period.
    pub failures: Failures,
}

/// How a lease is given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReleaseOptions {
    /// The command has succeeded, and that is on record for this period.
    pub done: bool,
    /// The lock stays taken for so long.
    pub hold: Option<Duration>,
}

/// What a standby has waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// Another round could go otherwise than the last one.
    LookAgain,
    /// A leader's command has succeeded for this period.
    Done,
}

/// A campaign that was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAcquired {
    pub cause: Cause,
    /// The time until a quorum of votes could be had, as far as is known.
    pub free_in: Option<Duration>,
    /// What happened, for a message.
    pub story: String,
    /// Who leads.
    pub leader: Option<Leader>,
}

/// Who leads, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    pub holder: String,
    /// In microseconds since 1970, as its fencing token has it.
    pub since: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Another leads.
    Taken,
    /// Several campaigned at once and none has won.
    Split,
    /// Our token was too small; a larger one may win at once.
    Stale,
    /// Too few nodes could be asked, or answered.
    NoQuorum,
    /// Nodes have started too recently to grant.
    StartupGrace,
    /// A quorum granted, but so late that the lease would soon be over.
    TooLate,
    /// The nodes can't be used as they were given.
    Misconfigured,
    /// The command has succeeded in this period.
    Done,
    /// The command has failed as often as it may in this period.
    Spent,
}

/// What became of an extension.
#[derive(Clone, Debug)]
pub enum Extension {
    Extended {
        deadlines: Option<Deadlines>,
        release_key: ReleaseKey,
        /// Somebody has asked us to step down.
        step_down: bool,
    },
    /// It may still succeed.
    Failed { story: String },
    /// It can't succeed any more.
    Lost { story: String },
}
