//! Who leads, as it stands on the nodes or in the lock's file: what an operator is told.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// What was seen in one look.
#[derive(Clone, Debug, Serialize)]
pub struct ElectionStatus {
    pub resource: String,
    pub leader: Option<LeaderStatus>,
    /// How many nodes have the leader's lock.
    pub votes: usize,
    pub quorum: usize,
    /// A quorum of nodes has answered, so that what is said here is true.
    pub known: bool,
    /// The last success of this period (`--once-per`), for a message.
    pub done: Option<String>,
    pub nodes: Vec<NodeStatus>,
}

/// Who holds the lock of a quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeaderStatus {
    pub holder: String,
    /// The time of its election, as its token has it.
    pub since: String,
    pub token: u64,
    /// It has ended, and its lock stays taken for a while (`--hold`).
    pub kept: bool,
    /// Nobody else can lead for so long; `None` where that doesn't end by itself.
    #[serde(rename = "safe_for_ms", serialize_with = "millis")]
    pub safe_for: Option<Duration>,
    /// What marks its lock as its own.
    #[serde(skip)]
    pub value: String,
}

/// What one node says.
#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    pub node: String,
    /// Who holds the lock there.
    pub holder: Option<String>,
    #[serde(rename = "left_ms", serialize_with = "millis")]
    pub left: Option<Duration>,
    /// The largest token granted there.
    pub token: Option<u64>,
    /// Why it says nothing.
    pub failure: Option<String>,
}

impl ElectionStatus {
    /// The one who leads now: one that has ended doesn't, though its lock may stay taken.
    pub fn active_leader(&self) -> Option<&LeaderStatus> {
        self.leader.as_ref().filter(|leader| !leader.kept)
    }
}

fn millis<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
}
