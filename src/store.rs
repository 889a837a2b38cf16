//! Where the lease is held: on a quorum of nodes, or in a file of this machine. Four verbs: acquire, extend, release, wait
//! for a change.

use std::{os::fd::RawFd, time::Duration};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Moment,
    lease::Leash,
    local::Local,
    period::{Failures, Note},
    redlock::{self, Redlock},
    settings::{Place, Settings},
};

/// What the guard needs to release the lease when the elector is dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proof {
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
    pub proof: Proof,
    /// The lock's descriptor, for the guard to hold as well.
    pub descriptor: Option<RawFd>,
    /// How often the command has failed in this period.
    pub failures: Failures,
}

/// How a lease is given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parting {
    /// The command has succeeded, and that is on record for this period.
    pub done: bool,
    /// The lock stays taken for so long.
    pub hold: Option<Duration>,
}

/// What a standby has waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Another round could go otherwise than the last one.
    LookAgain,
    /// A leader's command has succeeded for this period.
    Done,
}

/// A campaign that was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defeat {
    pub cause: Cause,
    /// The time until a quorum of votes could be had, as far as is known.
    pub free_in: Option<Duration>,
    /// What happened, for a message.
    pub story: String,
    /// Who leads.
    pub leader: Option<Incumbent>,
}

/// Who leads, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incumbent {
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
    Young,
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
        leash: Option<Leash>,
        proof: Proof,
        /// Somebody has asked us to step down.
        step_down: bool,
    },
    /// It may still succeed.
    Failed { story: String },
    /// It can't succeed any more.
    Lost { story: String },
}

pub enum Store {
    Nodes(Redlock),
    Local(Local),
}

impl Store {
    /// Begins to connect; from within the runtime.
    ///
    /// # Errors
    /// A lock file that can't be used.
    pub fn open(settings: &Settings) -> Result<Self> {
        Ok(match &settings.place {
            Place::Nodes(site) => Store::Nodes(Redlock::open(site, settings)?),
            Place::ThisMachine => Store::Local(Local::open(&settings.resource, &settings.holder, settings.once_per)?),
        })
    }

    /// One round.
    ///
    /// # Errors
    /// A lock file that can't be used. Nodes that fail are a [`Defeat`].
    pub async fn acquire(&mut self) -> Result<Result<Lease, Defeat>> {
        match self {
            Store::Nodes(nodes) => Ok(nodes.acquire().await),
            Store::Local(local) => local.acquire(),
        }
    }

    /// Waits until another round could go otherwise than the last one.
    pub async fn wait_for_change(&mut self, defeat: &Defeat) -> Result<Change> {
        match self {
            Store::Nodes(nodes) => Ok(nodes.wait_for_change(defeat).await),
            Store::Local(local) => local.wait_for_change(defeat).await,
        }
    }

    /// Extends the lease, and leaves a note with it if there is one.
    pub async fn extend(&self, note: Option<&Note>) -> Extension {
        match self {
            Store::Nodes(nodes) => nodes.extend(note).await,
            Store::Local(local) => local.extend(note),
        }
    }

    /// Gives back the lease, or the votes of a campaign that is broken off; says in how far that is confirmed.
    pub async fn release(&mut self, parting: Parting) -> Result<(), String> {
        match self {
            Store::Nodes(nodes) => nodes.release(parting).await,
            Store::Local(local) => local.release(parting),
        }
    }
}

/// In the guard, when the elector is dead and the tree is too: leaves the note of a success that the elector may not have
/// left any more. True if the lease is free now.
pub fn release_for_dead_elector(settings: &Settings, proof: Proof, note: Option<&Note>) -> bool {
    match (&settings.place, proof) {
        (Place::Nodes(site), Proof::Nodes { value, token }) => {
            redlock::release_alone(site, settings.times, (value, token), note)
        }
        _ => {
            if let Some(note) = note
                && let Ok(local) = Local::open(&settings.resource, &settings.holder, settings.once_per)
            {
                local.extend(Some(note));
            }
            true
        }
    }
}
