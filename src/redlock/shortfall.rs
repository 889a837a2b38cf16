//! Which nodes didn't do what a round wanted of them, and why.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use super::{
    net::{failure::Failure, node::Node},
    outcome::NodeReply,
    scripts::{AcquireReply, Answer, ExtendReply, ReleaseReply},
};
use crate::{
    lease::{Nodes, Quorums},
    lock::{NodeFault, Shortfall, Wanted},
};

/// Why a node didn't do what was wanted.
#[derive(Clone, Debug, PartialEq)]
enum Fault {
    /// It gave no answer that counts.
    NoAnswer(Failure),
    /// It has just started and votes after this time.
    StartupGrace(Duration),
    /// The lock is another's, or was.
    GaveToAnother,
}

/// Returns which nodes can't vote, after a campaign round.
pub(crate) fn of_votes(nodes: &[Arc<Node>], quorums: &Quorums, replies: &[NodeReply<AcquireReply>]) -> Shortfall {
    of(Wanted::Vote, nodes, quorums, replies, |acquired| match acquired.answer {
        Answer::StartupGrace { left } => Some(Fault::StartupGrace(left)),
        _ => None,
    })
}

/// Returns which nodes didn't extend the lease.
pub(crate) fn of_extensions(nodes: &[Arc<Node>], quorums: &Quorums, replies: &[NodeReply<ExtendReply>]) -> Shortfall {
    of(Wanted::Extension, nodes, quorums, replies, |extended| match extended {
        ExtendReply::Renewed { .. } | ExtendReply::Restored { .. } => None,
        ExtendReply::Taken { .. } | ExtendReply::Overtaken { .. } => Some(Fault::GaveToAnother),
        ExtendReply::StartupGrace { left, .. } => Some(Fault::StartupGrace(*left)),
    })
}

/// Returns which nodes didn't confirm a release; `kept`: which don't keep the lock.
pub(crate) fn of_releases(
    nodes: &[Arc<Node>],
    quorums: &Quorums,
    replies: &[NodeReply<ReleaseReply>],
    kept: bool,
) -> Shortfall {
    of(Wanted::Release, nodes, quorums, replies, |released| match released {
        ReleaseReply::NotOurs { .. } if kept => Some(Fault::GaveToAnother),
        ReleaseReply::StartupGrace { left } => Some(Fault::StartupGrace(*left)),
        ReleaseReply::Freed { .. } | ReleaseReply::NotOurs { .. } => None,
    })
}

/// Returns that a node gave no answer that counts.
pub(crate) fn unanswered(node: &Node, failure: Failure) -> NodeFault {
    NodeFault { node: node.address.to_string(), why: Arc::new(Fault::NoAnswer(failure)) }
}

/// Returns which nodes fell short: those of the list that lacks the most for a quorum. `fault`: what is wrong with an answer,
/// if anything.
fn of<A>(
    wanted: Wanted,
    nodes: &[Arc<Node>],
    quorums: &Quorums,
    replies: &[NodeReply<A>],
    fault: impl Fn(&A) -> Option<Fault>,
) -> Shortfall {
    let mut faults: Vec<Option<Fault>> = vec![Some(Fault::NoAnswer(Failure::NotHeard)); nodes.len()];
    for NodeReply { node, answer } in replies {
        faults[*node] = match answer {
            Ok(answer) => fault(answer),
            Err(failure) => Some(Fault::NoAnswer(failure.clone())),
        };
    }
    let able: Nodes = (0..nodes.len()).filter(|&node| faults[node].is_none()).collect();
    let (list, able) = quorums.shortest_of(&able);
    let named = |(node, fault): (&Arc<Node>, Option<Fault>)| {
        Some(NodeFault { node: node.address.to_string(), why: Arc::new(fault?) })
    };
    let of_list = nodes.iter().zip(faults).filter(|(node, _)| list.contains(&node.index));
    Shortfall { wanted, able, nodes: list.len(), faults: of_list.filter_map(named).collect() }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoAnswer(failure) => failure.fmt(f),
            Fault::StartupGrace(left) => write!(f, "has just started and votes in {} s", left.as_secs() + 1),
            Fault::GaveToAnother => f.write_str("gave it to another"),
        }
    }
}

impl Error for Fault {}
