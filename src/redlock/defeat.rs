//! Lost rounds: what they say of the others, when another could be won, and how to tell the operator.

use std::{collections::HashMap, time::Duration};

use super::{
    Heard, Redlock,
    claim::told_of,
    failure::Failure,
    scripts::{Acquired, Answer},
};
use crate::{
    lease::{quorum, quorum_free_in},
    period::told_of_success,
    store::{Cause, Defeat},
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
                return Some(Defeat { cause: Cause::Misconfigured, free_in: None, story });
            }
        }
        None
    }

    /// What a lost round says of the others.
    pub(super) fn defeat(&self, heard: &[Heard<Acquired>], too_slow: bool) -> Defeat {
        let nodes = self.nodes.len();
        let free_in = quorum_free_in(nodes, self.free_in(heard));
        // One witness is enough: these are only written after the command's end.
        let witness = heard.iter().filter_map(|(_, answer)| answer.as_ref().ok()).find_map(|acquired| {
            let count = acquired.failures.count;
            match &acquired.answer {
                Answer::Done { note, left } => Some((Cause::Done, told_of_success(note, *left))),
                Answer::Spent => Some((Cause::Spent, format!("the command has failed {count} times in this period"))),
                _ => None,
            }
        });
        if let Some((cause, story)) = witness {
            return Defeat { cause, free_in: None, story };
        }
        if too_slow {
            let story = "a quorum of nodes answered, but too late to lead".to_owned();
            return Defeat { cause: Cause::NoQuorum, free_in, story };
        }
        let answers = || heard.iter().filter_map(|(_, answer)| answer.as_ref().ok()).map(|acquired| &acquired.answer);
        let count = |is: fn(&Answer) -> bool| answers().filter(|answer| is(answer)).count();
        let granted = count(|a| matches!(a, Answer::Granted));
        let stale = count(|a| matches!(a, Answer::Stale));
        let held = count(|a| matches!(a, Answer::Held { .. }));
        let young = count(|a| matches!(a, Answer::Young { .. }));
        let quorum = quorum(nodes);
        let (cause, story) = if let Some(leader) = leader(heard, nodes - quorum) {
            (Cause::Taken, leader)
        } else if granted + stale >= quorum && (granted == 0 || held == 0) {
            (Cause::Stale, "a larger token was granted before".to_owned())
        } else if granted + stale + held >= quorum {
            (Cause::Split, "several campaign at once".to_owned())
        } else {
            let cause = if granted + stale + held + young >= quorum { Cause::Young } else { Cause::NoQuorum };
            let fault = |acquired: &Acquired| match acquired.answer {
                Answer::Young { left } => Some(format!("has just started and votes in {} s", left.as_secs() + 1)),
                _ => None,
            };
            (cause, self.story("can vote", heard, fault))
        };
        Defeat { cause, free_in, story }
    }

    /// For each node the time until its vote could be had, as far as is known.
    fn free_in(&self, heard: &[Heard<Acquired>]) -> Vec<Option<Duration>> {
        let mut free_in = vec![None; self.nodes.len()];
        for (index, answer) in heard {
            free_in[*index] = match answer.as_ref().map(|acquired| &acquired.answer) {
                Ok(Answer::Granted | Answer::Stale) => Some(Duration::ZERO),
                Ok(Answer::Held { left, .. }) => Some(left.unwrap_or(self.times.ttl())),
                Ok(Answer::Young { left }) => Some(*left),
                Ok(Answer::Done { .. } | Answer::Spent) => None,
                Err(failure) if failure.is_unconnected() => None,
                // What ails a node that answers, or may be about to, is looked at again from time to time.
                Err(_) => Some(self.times.extend_every().mul_f64(0.5 + fastrand::f64())),
            };
        }
        free_in
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

/// Who holds so many votes that no quorum is left.
fn leader(heard: &[Heard<Acquired>], out_of_reach: usize) -> Option<String> {
    let mut votes: HashMap<&str, Vec<u64>> = HashMap::new();
    for acquired in heard.iter().filter_map(|(_, answer)| answer.as_ref().ok()) {
        if let Answer::Held { value, .. } = &acquired.answer {
            votes.entry(value).or_default().push(acquired.fence);
        }
    }
    let (value, fences) = votes.into_iter().find(|(_, fences)| fences.len() > out_of_reach)?;
    Some(told_of(value, fences.into_iter().min()?))
}
