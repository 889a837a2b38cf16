//! Who leads, according to the nodes or the lock's file, for an operator.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::{
    lease::{FencingToken, Turnout},
    lock::{LeadershipId, OtherServers},
    once_per::{PastFailures, PastSuccess},
};

/// The result of one look.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ElectionStatus {
    pub resource: String,
    /// The number of the slot, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u16>,
    pub leader: Option<LeaderStatus>,
    /// What the nodes of the present list say.
    #[serde(flatten)]
    pub now: ListVotes,
    /// While the servers are changed: what those of the list before say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<ListVotes>,
    /// Whether the leader would lose its lease with one node less, though there are more.
    pub bare_quorum: bool,
    /// Whether a quorum of nodes has answered, and none of another list has the lock, so that the rest is reliable.
    pub known: bool,
    #[serde(skip)]
    pub turnout: Turnout,
    /// An instance with another list of nodes, which may lead.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub other_servers: Option<OtherServers>,
    /// The last success of this period (`--once-per`).
    #[serde(serialize_with = "as_shown")]
    pub done: Option<PastSuccess>,
    /// How often the command has failed in a period with a name (`--once-for`, `--attempts`); `None` if that isn't asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<PastFailures>,
    pub nodes: Vec<NodeStatus>,
}

/// How many nodes of a list elect a leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ListVotes {
    #[serde(skip)]
    pub nodes: usize,
    /// How many have the leader's lock.
    pub votes: usize,
    pub quorum: usize,
}

/// Who holds the lock of a quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LeaderStatus {
    pub holder: String,
    /// The time of its election, according to its token.
    pub since: String,
    pub token: FencingToken,
    /// It has ended, and its lock stays taken for a while (`--hold`).
    pub kept: bool,
    /// How long nobody else can lead; `None` if that doesn't end by itself.
    #[serde(rename = "safe_for_ms", serialize_with = "millis")]
    pub safe_for: Option<Duration>,
    /// What distinguishes its leadership from all others.
    #[serde(skip)]
    pub id: LeadershipId,
}

/// What one node reports.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NodeStatus {
    pub node: String,
    /// Who holds the lock there.
    pub holder: Option<String>,
    #[serde(rename = "left_ms", serialize_with = "millis")]
    pub left: Option<Duration>,
    /// The largest token granted there.
    pub token: Option<FencingToken>,
    /// Why it reports nothing.
    pub failure: Option<String>,
}

impl ElectionStatus {
    /// Returns the name of what is led: the resource, and the slot if there are several.
    pub(crate) fn name(&self) -> String {
        self.slot.map_or_else(|| self.resource.clone(), |slot| format!("{} slot {slot}", self.resource))
    }

    /// Returns who leads now. A leader that has ended doesn't, though its lock may stay taken.
    pub(crate) fn active_leader(&self) -> Option<&LeaderStatus> {
        self.leader.as_ref().filter(|leader| !leader.kept)
    }
}

fn millis<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
}

fn as_text<S: Serializer>(other: &Option<OtherServers>, serializer: S) -> Result<S::Ok, S::Error> {
    other.as_ref().map(ToString::to_string).serialize(serializer)
}

fn as_shown<S: Serializer>(success: &Option<PastSuccess>, serializer: S) -> Result<S::Ok, S::Error> {
    success.as_ref().map(ToString::to_string).serialize(serializer)
}
