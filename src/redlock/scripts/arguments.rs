//! The arguments of the scripts, beside those that all calls have.

use std::time::Duration;

use crate::{
    lease::{FencingToken, Times},
    lock::{NodesKey, ReleaseProof},
    once_per::{Note, OncePer},
    redlock::known_clocks::NodeTime,
};

/// The run that a lease is extended for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PresentRun {
    /// The one that the command has.
    pub token: FencingToken,
    /// When it began by the clock of the node, if that is known.
    pub start: Option<NodeTime>,
}

/// The times of a run by the clock of one node, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunTimes {
    /// By then it had begun.
    pub start: Option<NodeTime>,
    /// Until then it ran at least.
    pub until: Option<NodeTime>,
}

/// The arguments of a request for a vote.
#[derive(Clone, Debug)]
pub(crate) struct Acquisition {
    /// The value for the lock, and the token.
    pub key: NodesKey,
    pub ttl: Duration,
    /// How long the server must have been up.
    pub settle: Duration,
    /// Whom the node notifies of the vote.
    pub tell: Tell,
    /// Proves the release of a lock. This node may not know of the release yet.
    pub freed: Option<ReleaseProof>,
    /// What the node checks in this period; `None`: nothing.
    pub once_per: Option<OncePer>,
    /// The id of a server process that we have known for the startup grace, whatever its uptime is.
    pub settled: Option<String>,
}

/// Which servers set a lock again that is gone there. One that has just started may have voted for another before, who counts on
/// that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settled {
    /// How long the server must have been up.
    pub up_for: Duration,
    /// The id of a server process that we have known for the startup grace, whatever its uptime is.
    pub or_process: Option<String>,
    /// Until when the node's last vote was to last, by its clock. It was for us, so that it has voted for nobody else.
    pub or_until: Option<NodeTime>,
}

impl Settled {
    /// Returns which servers do so for a leader.
    pub(crate) fn new(times: &Times, or_process: Option<String>, or_until: Option<NodeTime>) -> Self {
        let up_for = if broken!("restored_young") { Duration::ZERO } else { times.startup_grace() };
        Settled { up_for, or_process, or_until }
    }
}

/// Whom a node notifies of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    Nobody,
    All,
    /// Those who listen on the wake-up channel with this number: nobody else campaigns now.
    WokenWithUs {
        number: u16,
    },
}

/// A note, and when it ends by the clock of the node that gets it.
#[derive(Clone, Debug)]
pub(crate) struct DatedNote {
    pub note: Note,
    pub ends: NodeTime,
}

/// Who is notified of a release, and whether we are among the listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Nobody,
    /// Nobody either, but those who stand by are counted. We aren't among the listeners.
    Counted,
    All,
    AllButUs,
}

impl Audience {
    /// Returns how many of the listeners don't wait to lead.
    pub(super) fn not_counted(self) -> u8 {
        match self {
            Audience::Nobody | Audience::Counted | Audience::All => 0,
            Audience::AllButUs => 1,
        }
    }
}
