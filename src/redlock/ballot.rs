//! What the answers of a round come to. Pure: no I/O and no clock.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{
    failure::Failure,
    node::Vote,
    scripts::{self, Acquired, Answer, Extended},
};
use crate::{
    clock::Moment,
    lease::{Times, quorum},
    period::Failures,
    store::Cause,
};

/// How far ahead of the wall clock a token is believed to be: a day in microseconds, as far as wall clocks may be apart.
pub const FARTHEST_AHEAD: u64 = 24 * 60 * 60 * 1_000_000;

/// One node's answer in a round, by the node's place among the configured ones.
pub type Heard<A> = (usize, Result<A, Failure>);

/// A node's answer to a campaign, which is no vote of a server that has been the node's master for less than the `young` time:
/// it may have missed a lock that a leader counts on.
pub fn granted(vote: Vote, young: Duration) -> Result<Acquired, Failure> {
    let acquired = scripts::acquired(vote.answer).ok_or_else(Failure::strange)?;
    match young.checked_sub(vote.master_for) {
        Some(votes_in) if acquired.is_vote() && !votes_in.is_zero() => Err(Failure::promoted(votes_in)),
        _ => Ok(acquired),
    }
}

/// The answers that came.
pub fn answers<A>(heard: &[Heard<A>]) -> impl Iterator<Item = &A> {
    heard.iter().filter_map(|(_, answer)| answer.as_ref().ok())
}

/// A campaign round of `nodes` configured nodes that was sent at `sent`: won, with how often the command has failed in this
/// period, or why not.
pub fn campaign(
    nodes: usize,
    heard: &[Heard<Acquired>],
    times: &Times,
    sent: Moment,
    now: Moment,
) -> Result<Failures, Cause> {
    let count = |is: fn(&Answer) -> bool| answers(heard).filter(|acquired| is(&acquired.answer)).count();
    // One witness is enough: these are only written after the command's end.
    if count(|a| matches!(a, Answer::Done { .. })) > 0 {
        return Err(Cause::Done);
    }
    if count(|a| matches!(a, Answer::Spent)) > 0 {
        return Err(Cause::Spent);
    }
    let granted = count(|a| matches!(a, Answer::Granted));
    let stale = count(|a| matches!(a, Answer::Stale));
    let held = count(|a| matches!(a, Answer::Held { .. }));
    let promoted = heard.iter().filter_map(|(_, answer)| answer.as_ref().err()?.votes_in()).count();
    let young = count(|a| matches!(a, Answer::Young { .. })) + promoted;
    let quorum = quorum(nodes);
    if granted >= quorum {
        return if now < times.leash(sent).signal {
            Ok(answers(heard).map(|acquired| acquired.failures).max().unwrap_or_default())
        } else {
            Err(Cause::TooLate)
        };
    }
    Err(if leader(nodes, heard).is_some() {
        Cause::Taken
    } else if granted + stale >= quorum && (granted == 0 || held == 0) {
        Cause::Stale
    } else if granted + stale + held >= quorum {
        Cause::Split
    } else if granted + stale + held + young >= quorum {
        Cause::Young
    } else {
        Cause::NoQuorum
    })
}

/// The value of the lock that stands on so many nodes that no quorum is left, and the smallest fence beside it.
pub fn leader(nodes: usize, heard: &[Heard<Acquired>]) -> Option<(&str, u64)> {
    let mut votes: HashMap<&str, Vec<u64>> = HashMap::new();
    for acquired in answers(heard) {
        if let Answer::Held { value, .. } = &acquired.answer {
            votes.entry(value).or_default().push(acquired.fence);
        }
    }
    let out_of_reach = nodes - quorum(nodes);
    let (value, fences) = votes.into_iter().find(|(_, fences)| fences.len() > out_of_reach)?;
    Some((value, fences.into_iter().min()?))
}

/// The fence that the next token must pass so that a quorum could grant it; `None` where fewer have answered, or where it is
/// nonsense: fewer nodes than could fail tell one that is farther ahead of the wall clock than clocks are apart. Passing that would
/// use up the tokens, on the nodes that are well, too.
pub fn fence_to_pass(nodes: usize, heard: &[Heard<Acquired>], wall_micros: u64) -> Option<u64> {
    let mut fences: Vec<u64> = answers(heard).map(|acquired| acquired.fence).collect();
    fences.sort_unstable();
    let fence = *fences.get(quorum(nodes) - 1)?;
    let backed = fences.iter().filter(|other| other.saturating_add(FARTHEST_AHEAD) >= fence).count();
    let may_fail = nodes - quorum(nodes);
    (fence <= wall_micros.saturating_add(FARTHEST_AHEAD) || backed > may_fail).then_some(fence)
}

/// The nodes that hold no vote of ours after a campaign round: all others may.
pub fn refused(heard: &[Heard<Acquired>]) -> HashSet<usize> {
    let refuses = |answer: &Result<Acquired, Failure>| answer.as_ref().is_ok_and(|acquired| !acquired.is_vote());
    heard.iter().filter(|(_, answer)| refuses(answer)).map(|(index, _)| *index).collect()
}

/// For each node the time until its vote could be had; `None` for one that has no connection, which will be told when it has.
/// A vote that a node gave to another lasts a ttl at most, if the round was over before that node was heard.
/// `chance`: a random number, at least 0 and below 1.
pub fn free_in(nodes: usize, heard: &[Heard<Acquired>], times: &Times, chance: f64) -> Vec<Option<Duration>> {
    let mut free_in = vec![Some(times.ttl()); nodes];
    for (index, answer) in heard {
        free_in[*index] = match answer.as_ref().map(|acquired| &acquired.answer) {
            Ok(Answer::Granted | Answer::Stale) => Some(Duration::ZERO),
            Ok(Answer::Held { left, .. }) => Some(left.unwrap_or(times.ttl())),
            Ok(Answer::Young { left }) => Some(*left),
            Ok(Answer::Done { .. } | Answer::Spent) => None,
            Err(failure) if failure.is_unconnected() => None,
            Err(failure) if failure.votes_in().is_some() => failure.votes_in(),
            // What ails a node that answers, or may be about to, is looked at again from time to time.
            Err(_) => Some(times.extend_every().mul_f64(0.5 + chance)),
        };
    }
    free_in
}

/// What an extension round came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Extended,
    /// It may still succeed.
    Failed,
    /// So many nodes gave the lock to another that it can't succeed any more.
    Lost,
}

pub fn extension(nodes: usize, heard: &[Heard<Extended>]) -> Extent {
    let quorum = quorum(nodes);
    if answers(heard).filter(|answer| answer.is_vote()).count() >= quorum {
        Extent::Extended
    } else if answers(heard).filter(|answer| matches!(answer, Extended::Taken)).count() > nodes - quorum {
        Extent::Lost
    } else {
        Extent::Failed
    }
}

/// Whether a quorum of nodes has the leader asked to step down: fewer can't make it.
pub fn is_asked_to_step_down(nodes: usize, heard: &[Heard<Extended>]) -> bool {
    let asked = |answer: &&Extended| matches!(answer, Extended::Kept { step_down: true });
    answers(heard).filter(asked).count() >= quorum(nodes)
}
