//! Lost rounds: what to tell the operator, and when another could be won.

use std::collections::HashMap;

use super::{
    Redlock,
    ballot::{self, Heard, answers},
    claim::{marked, told_of},
    failure::Failure,
    scripts::{Acquired, Answer},
};
use crate::{
    lease::{quorum, quorum_free_in},
    period::told_of_success,
    store::{Cause, Defeat, Incumbent},
};

impl Redlock {
    /// A server that stands twice among the nodes, under whatever names.
    pub(super) fn same_server_twice(&self, heard: &[Heard<Acquired>]) -> Option<Defeat> {
        let mut known: HashMap<&str, usize> = HashMap::new();
        for (index, answer) in heard {
            let Ok(acquired) = answer else { continue };
            if let Some(other) = known.insert(&acquired.run_id, *index) {
                let (first, second) = (other.min(*index), other.max(*index));
                let story = format!(
                    "{} and {} are the same server; each node must be a server of its own",
                    self.nodes[first].address, self.nodes[second].address
                );
                return Some(Defeat { cause: Cause::Misconfigured, free_in: None, story, leader: None });
            }
        }
        None
    }

    /// What a lost round says of the others.
    pub(super) fn defeat(&self, heard: &[Heard<Acquired>], cause: Cause) -> Defeat {
        let nodes = self.nodes.len();
        let free_in = quorum_free_in(nodes, ballot::free_in(nodes, heard, &self.times, fastrand::f64()));
        let leader = ballot::leader(nodes, heard).map(|(value, fence)| (marked(value), fence));
        let leader = leader.filter(|(mark, _)| !mark.kept);
        let leader = leader.map(|(mark, since)| Incumbent { holder: mark.holder, since });
        Defeat { cause, free_in, story: self.story_of(heard, cause), leader }
    }

    fn story_of(&self, heard: &[Heard<Acquired>], cause: Cause) -> String {
        match cause {
            Cause::Done => {
                let note = answers(heard).find_map(|acquired| match &acquired.answer {
                    Answer::Done { note, left } => Some(told_of_success(note, *left)),
                    _ => None,
                });
                note.unwrap_or_default()
            }
            Cause::Spent => {
                let count = answers(heard).map(|acquired| acquired.failures.count).max().unwrap_or_default();
                format!("the command has failed {count} times in this period")
            }
            Cause::Taken => {
                ballot::leader(self.nodes.len(), heard).map(|(value, fence)| told_of(value, fence)).unwrap_or_default()
            }
            Cause::Stale => "a larger token was granted before".into(),
            Cause::Split => "several campaign at once".into(),
            Cause::TooLate => "a quorum of nodes answered, but too late to lead".into(),
            Cause::NoQuorum | Cause::Young | Cause::Misconfigured => {
                self.story("can vote", heard, |acquired| match acquired.answer {
                    Answer::Young { left } => Some(format!("has just started and votes in {} s", left.as_secs() + 1)),
                    _ => None,
                })
            }
        }
    }

    /// "1 of 3 nodes can vote, 2 needed (redis://b:6379 timed out, redis://c:6379 refused the connection)": each node that
    /// isn't counted at most once, with its reason.
    pub(super) fn story<A>(&self, verb: &str, heard: &[Heard<A>], fault: impl Fn(&A) -> Option<String>) -> String {
        let mut faults: Vec<Option<String>> = vec![Some(Failure::not_heard().to_string()); self.nodes.len()];
        for (index, answer) in heard {
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
