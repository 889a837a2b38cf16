//! Lost rounds: what to tell the operator, and when another could be won.

use std::collections::HashMap;

use super::{
    net::failure::Failure,
    outcome::{self, NodeReply, answers},
    round::Redlock,
    scripts::{AcquireReply, Answer},
    session::{lock_value, told_of},
};
use crate::{
    lease::{quorum, quorum_free_in},
    lock::{Cause, Leader, NotAcquired},
    once_per::told_of_success,
};

impl Redlock {
    /// A server that stands twice among the nodes, under whatever names.
    pub(super) fn same_server_twice(&self, replies: &[NodeReply<AcquireReply>]) -> Option<NotAcquired> {
        let mut known: HashMap<&str, usize> = HashMap::new();
        for (index, answer) in replies {
            let Ok(acquired) = answer else { continue };
            if let Some(other) = known.insert(&acquired.run_id, *index) {
                let (first, second) = (other.min(*index), other.max(*index));
                let story = format!(
                    "{} and {} are the same server; each node must be a server of its own",
                    self.nodes[first].address, self.nodes[second].address
                );
                return Some(NotAcquired { cause: Cause::Misconfigured, free_in: None, story, leader: None });
            }
        }
        None
    }

    /// What a lost round says of the others.
    pub(super) fn not_acquired(&self, replies: &[NodeReply<AcquireReply>], cause: Cause) -> NotAcquired {
        let nodes = self.nodes.len();
        let free_in = quorum_free_in(nodes, outcome::free_in(nodes, replies, &self.times, fastrand::f64()));
        let leader = outcome::leader(nodes, replies).map(|(value, fence)| (lock_value(value), fence));
        let leader = leader.filter(|(mark, _)| !mark.kept);
        let leader = leader.map(|(mark, since)| Leader { holder: mark.holder, since });
        NotAcquired { cause, free_in, story: self.story_of(replies, cause), leader }
    }

    fn story_of(&self, replies: &[NodeReply<AcquireReply>], cause: Cause) -> String {
        match cause {
            Cause::Done => {
                let note = answers(replies).find_map(|acquired| match &acquired.answer {
                    Answer::Done { note, left } => Some(told_of_success(note, *left)),
                    _ => None,
                });
                note.unwrap_or_default()
            }
            Cause::Spent => {
                let count = answers(replies).map(|acquired| acquired.failures.count).max().unwrap_or_default();
                format!("the command has failed {count} times in this period")
            }
            Cause::Taken => outcome::leader(self.nodes.len(), replies)
                .map(|(value, fence)| told_of(value, fence))
                .unwrap_or_default(),
            Cause::Stale => "a larger token was granted before".into(),
            Cause::Split => "several campaign at once".into(),
            Cause::TooLate => "a quorum of nodes answered, but too late to lead".into(),
            Cause::NoQuorum | Cause::StartupGrace | Cause::Misconfigured => {
                self.story("can vote", replies, |acquired| match acquired.answer {
                    Answer::StartupGrace { left } => {
                        Some(format!("has just started and votes in {} s", left.as_secs() + 1))
                    }
                    _ => None,
                })
            }
        }
    }

    /// "1 of 3 nodes can vote, 2 needed (redis://b:6379 timed out, redis://c:6379 refused the connection)": each node that
    /// isn't counted at most once, with its reason.
    pub(super) fn story<A>(
        &self,
        verb: &str,
        replies: &[NodeReply<A>],
        fault: impl Fn(&A) -> Option<String>,
    ) -> String {
        let mut faults: Vec<Option<String>> = vec![Some(Failure::NotHeard.to_string()); self.nodes.len()];
        for (index, answer) in replies {
            faults[*index] = match answer {
                Ok(answer) => fault(answer),
                Err(failure) => Some(failure.to_string()),
            };
        }
        let able = faults.iter().filter(|fault| fault.is_none()).count();
        let named = self.nodes.iter().zip(faults).filter_map(|(node, f)| f.map(|f| format!("{} {f}", node.address)));
        let named = named.collect::<Vec<_>>().join(", ");
        let nodes = self.nodes.len();
        format!("{able} of {nodes} nodes {verb}, {} needed ({named})", quorum(nodes))
    }
}
