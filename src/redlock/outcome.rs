//! What the answers of a round come to. Pure: no I/O and no clock.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{
    net::{failure::Failure, node::Vote},
    scripts::{self, AcquireReply, Answer, ExtendReply},
};
use crate::{
    clock::Moment,
    lease::{Times, VoteResult, quorum},
    lock::Cause,
    once_per::Failures,
};

/// How far ahead of the wall clock a token is believed to be: a day in microseconds, as far as wall clocks may be apart.
pub const FARTHEST_AHEAD: u64 = 24 * 60 * 60 * 1_000_000;

/// One node's answer in a round, by the node's place among the configured ones.
pub type NodeReply<A> = (usize, Result<A, Failure>);

/// A node's answer to a campaign, which is no vote of a server that has been the node's master for less than the startup grace:
/// it may have missed a lock that a leader counts on.
pub fn granted(vote: Vote, startup_grace: Duration) -> Result<AcquireReply, Failure> {
    let acquired = scripts::acquired(vote.answer).ok_or(Failure::StrangeAnswer)?;
    match startup_grace.checked_sub(vote.master_for) {
        Some(votes_in) if acquired.is_vote() && !votes_in.is_zero() => Err(Failure::Promoted(votes_in)),
        _ => Ok(acquired),
    }
}

/// The answers that came.
pub fn answers<A>(replies: &[NodeReply<A>]) -> impl Iterator<Item = &A> {
    replies.iter().filter_map(|(_, answer)| answer.as_ref().ok())
}

/// A campaign round of `nodes` configured nodes that was sent at `sent`: won, with how often the command has failed in this
/// period, or why not.
pub fn campaign(
    nodes: usize,
    replies: &[NodeReply<AcquireReply>],
    times: &Times,
    sent: Moment,
    now: Moment,
) -> Result<Failures, Cause> {
    let count = |is: fn(&Answer) -> bool| answers(replies).filter(|acquired| is(&acquired.answer)).count();
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
    let promoted = replies.iter().filter_map(|(_, answer)| answer.as_ref().err()?.votes_in()).count();
    let startup_grace = count(|a| matches!(a, Answer::StartupGrace { .. })) + promoted;
    let quorum = quorum(nodes);
    if granted >= quorum {
        return if now < times.deadlines(sent).stop_at {
            Ok(answers(replies).map(|acquired| acquired.failures).max().unwrap_or_default())
        } else {
            Err(Cause::TooLate)
        };
    }
    Err(if leader(nodes, replies).is_some() {
        Cause::Taken
    } else if granted + stale >= quorum && (granted == 0 || held == 0) {
        Cause::Stale
    } else if granted + stale + held >= quorum {
        Cause::Split
    } else if granted + stale + held + startup_grace >= quorum {
        Cause::StartupGrace
    } else {
        Cause::NoQuorum
    })
}

/// The value of the lock that stands on so many nodes that no quorum is left, and the smallest fence beside it.
pub fn leader(nodes: usize, replies: &[NodeReply<AcquireReply>]) -> Option<(&str, u64)> {
    let mut votes: HashMap<&str, Vec<u64>> = HashMap::new();
    for acquired in answers(replies) {
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
pub fn fence_to_pass(nodes: usize, replies: &[NodeReply<AcquireReply>], wall_micros: u64) -> Option<u64> {
    let mut fences: Vec<u64> = answers(replies).map(|acquired| acquired.fence).collect();
    fences.sort_unstable();
    let fence = *fences.get(quorum(nodes) - 1)?;
    let backed = fences.iter().filter(|other| other.saturating_add(FARTHEST_AHEAD) >= fence).count();
    let may_fail = nodes - quorum(nodes);
    (fence <= wall_micros.saturating_add(FARTHEST_AHEAD) || backed > may_fail).then_some(fence)
}

/// The nodes that hold no vote of ours after a campaign round: all others may.
pub fn refused(replies: &[NodeReply<AcquireReply>]) -> HashSet<usize> {
    let refuses = |answer: &Result<AcquireReply, Failure>| answer.as_ref().is_ok_and(|acquired| !acquired.is_vote());
    replies.iter().filter(|(_, answer)| refuses(answer)).map(|(index, _)| *index).collect()
}

/// For each node the time until its vote could be had; `None` for one that has no connection, which will be told when it has.
/// A vote that a node gave to another lasts a ttl at most, if the round was over before that node was heard.
/// `chance`: a random number, at least 0 and below 1.
pub fn free_in(nodes: usize, replies: &[NodeReply<AcquireReply>], times: &Times, chance: f64) -> Vec<Option<Duration>> {
    let mut free_in = vec![Some(times.ttl()); nodes];
    for (index, answer) in replies {
        free_in[*index] = match answer.as_ref().map(|acquired| &acquired.answer) {
            Ok(Answer::Granted | Answer::Stale) => Some(Duration::ZERO),
            Ok(Answer::Held { left, .. }) => Some(left.unwrap_or(times.ttl())),
            Ok(Answer::StartupGrace { left }) => Some(*left),
            Ok(Answer::Done { .. } | Answer::Spent) => None,
            Err(failure) if failure.is_unconnected() => None,
            Err(failure) if failure.votes_in().is_some() => failure.votes_in(),
            // What ails a node that answers, or may be about to, is looked at again from time to time.
            Err(_) => Some(times.extend_every().mul_f64(0.5 + chance)),
        };
    }
    free_in
}

/// What an extension round came to: lost where so many nodes gave the lock to another that it can't succeed any more, pending where
/// it still may.
pub fn extension(nodes: usize, replies: &[NodeReply<ExtendReply>]) -> VoteResult {
    let quorum = quorum(nodes);
    if answers(replies).filter(|answer| answer.is_vote()).count() >= quorum {
        VoteResult::Won
    } else if answers(replies).filter(|answer| matches!(answer, ExtendReply::Taken)).count() > nodes - quorum {
        VoteResult::Lost
    } else {
        VoteResult::Pending
    }
}

/// Whether a quorum of nodes has the leader asked to step down: fewer can't make it.
pub fn is_asked_to_step_down(nodes: usize, replies: &[NodeReply<ExtendReply>]) -> bool {
    let asked = |answer: &&ExtendReply| matches!(answer, ExtendReply::Renewed { step_down: true });
    answers(replies).filter(asked).count() >= quorum(nodes)
}
