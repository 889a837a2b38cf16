//! Which nodes didn't do what a round wanted of them, and why.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use super::{
    net::{failure::Failure, node::Node},
    outcome::NodeReply,
    scripts::{AcquireReply, Answer, ExtendReply, ReleaseReply},
};
use crate::lock::{NodeFault, Shortfall, Wanted};

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
pub(crate) fn of_votes(nodes: &[Arc<Node>], replies: &[NodeReply<AcquireReply>]) -> Shortfall {
    of(Wanted::Vote, nodes, replies, |acquired| match acquired.answer {
        Answer::StartupGrace { left } => Some(Fault::StartupGrace(left)),
        _ => None,
    })
}

/// Returns which nodes didn't extend the lease.
pub(crate) fn of_extensions(nodes: &[Arc<Node>], replies: &[NodeReply<ExtendReply>]) -> Shortfall {
    of(Wanted::Extension, nodes, replies, |extended| (!extended.is_vote()).then_some(Fault::GaveToAnother))
}

/// Returns which nodes didn't confirm a release; `kept`: which don't keep the lock.
pub(crate) fn of_releases(nodes: &[Arc<Node>], replies: &[NodeReply<ReleaseReply>], kept: bool) -> Shortfall {
    let lacks = |reply: &ReleaseReply| kept && *reply == ReleaseReply::NotOurs;
    of(Wanted::Release, nodes, replies, |released| lacks(released).then_some(Fault::GaveToAnother))
}

/// Returns which nodes fell short. `fault`: what is wrong with an answer, if anything.
fn of<A>(
    wanted: Wanted,
    nodes: &[Arc<Node>],
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
    let able = faults.iter().filter(|fault| fault.is_none()).count();
    let named = |(node, fault): (&Arc<Node>, Option<Fault>)| {
        Some(NodeFault { node: node.address.to_string(), why: Arc::new(fault?) })
    };
    let faults = nodes.iter().zip(faults).filter_map(named).collect();
    Shortfall { wanted, able, nodes: nodes.len(), faults }
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
