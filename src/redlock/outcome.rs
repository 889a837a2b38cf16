//! Decides what the answers of a round mean. Pure: no I/O and no clock.

use std::{cmp::Reverse, collections::HashMap, time::Duration};

use super::{
    net::{failure::Failure, node::Vote},
    scripts::{self, AcquireReply, Answer, ExtendReply, ReleaseReply},
    session::ENDLESS_GRACE,
};
use crate::{
    clock::Moment,
    lease::{FencingToken, ListSizes, Nodes, Quorums, Times, VoteResult},
    lock::{LockValue, Reason},
    once_per::{Failures, OncePer},
};

/// The result of asking one node.
#[derive(Debug)]
pub(crate) struct NodeReply<A> {
    /// Its index among the configured nodes.
    pub node: usize,
    pub answer: Result<A, Failure>,
}

/// A lock of an instance that must not lead beside us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtherTerms {
    /// The node that has it, by its index.
    pub node: usize,
    pub holder: String,
    pub theirs: Theirs,
}

/// What an instance is configured with otherwise than we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theirs {
    /// How many nodes it has.
    Lists(ListSizes),
    /// How many may lead at a time.
    Slots(u16),
}

/// How a campaign round was lost.
#[derive(Clone, Debug)]
pub(crate) enum LostRound {
    /// For a reason that no later answer can change.
    Decided(Reason),
    /// An instance with another number of nodes or slots may lead.
    OtherTerms(OtherTerms),
    /// Too few nodes can vote. Which ones can't is reported once late answers are in.
    NoQuorum,
    /// Too few nodes can vote, but with those in their startup grace there is a quorum.
    StartupGrace,
}

/// When a new master that votes by now is asked again, at the earliest.
const ASKED_AGAIN: Duration = Duration::from_millis(100);

/// Reads a node's answer to a campaign. It isn't a vote if its server has been the node's master for less than the
/// startup grace: such a server may have missed a lock that a leader counts on.
///
/// # Errors
/// Why the answer doesn't count.
pub(crate) fn granted(
    vote: Vote,
    startup_grace: Duration,
    once_per: Option<&OncePer>,
) -> Result<AcquireReply, Failure> {
    let acquired = scripts::acquired(vote.answer).ok_or(Failure::StrangeAnswer)?;
    // One node's word ends an election. It isn't taken where nobody has asked for it.
    let is_asked = match acquired.answer {
        Answer::Succeeded(_) => once_per.is_some(),
        Answer::AttemptsUsedUp(_) => once_per.is_some_and(|once| once.attempts.is_some()),
        _ => true,
    };
    if !is_asked {
        return Err(Failure::StrangeAnswer);
    }
    let votes_in = startup_grace.saturating_sub(vote.master_for);
    match acquired.answer {
        Answer::Granted if !votes_in.is_zero() => Err(Failure::Promoted(votes_in)),
        // We did not ask for a vote. By now the Sentinels may have known the master for long enough.
        Answer::StartupGrace { left } if left > ENDLESS_GRACE / 2 => Err(Failure::Promoted(votes_in.max(ASKED_AGAIN))),
        _ => Ok(acquired),
    }
}

/// Returns the answers that have come.
pub(crate) fn answers<A>(replies: &[NodeReply<A>]) -> impl Iterator<Item = &A> {
    replies.iter().filter_map(|reply| reply.answer.as_ref().ok())
}

/// Returns the nodes with such an answer.
pub(crate) fn nodes_that<A>(replies: &[NodeReply<A>], is_such: impl Fn(&A) -> bool) -> Nodes {
    replies.iter().filter(|reply| reply.answer.as_ref().is_ok_and(&is_such)).map(|reply| reply.node).collect()
}

/// Returns how many stand by, as a release has counted them: as many as one node counts at most. `None` where no quorum can
/// say: whoever can lead listens to a node of each quorum.
pub(crate) fn standbys(quorums: &Quorums, replies: &[NodeReply<ReleaseReply>]) -> Option<u32> {
    let counted =
        |reply: &ReleaseReply| if let ReleaseReply::Freed { standbys, .. } = reply { *standbys } else { None };
    let is_known = quorums.is_reached(&nodes_that(replies, |reply| counted(reply).is_some()));
    answers(replies).filter_map(counted).max().filter(|_| is_known)
}

/// Returns what a node has answered.
fn answer_of<A>(replies: &[NodeReply<A>], node: usize) -> Option<&A> {
    replies.iter().find(|reply| reply.node == node)?.answer.as_ref().ok()
}

/// Returns the nodes that have not answered.
fn unheard<A>(quorums: &Quorums, replies: &[NodeReply<A>]) -> Nodes {
    &quorums.nodes() - &nodes_that(replies, |_| true)
}

/// Decides a campaign round that was sent at `sent`, for one of `slots` slots. Returns how often the command has
/// failed in this period if the round is won.
///
/// # Errors
/// How the round was lost.
pub(crate) fn campaign(
    quorums: &Quorums,
    slots: u16,
    replies: &[NodeReply<AcquireReply>],
    times: &Times,
    sent: Moment,
    now: Moment,
) -> Result<Failures, LostRound> {
    if let Some(reason) = period_is_over(replies) {
        return Err(LostRound::Decided(reason));
    }
    if let Some(other) = other_terms(quorums, slots, replies) {
        return Err(LostRound::OtherTerms(other));
    }
    let failures = answers(replies).map(|acquired| acquired.failures).max().unwrap_or_default();
    let nodes = |is: fn(&Answer) -> bool| nodes_that(replies, |acquired| is(&acquired.answer));
    let granted = nodes(|a| matches!(a, Answer::Granted));
    let stale = nodes(|a| matches!(a, Answer::Stale));
    let held = nodes(|a| matches!(a, Answer::Held { .. }));
    let promoted =
        replies.iter().filter(|reply| reply.answer.as_ref().is_err_and(|failure| failure.votes_in().is_some()));
    let promoted: Nodes = promoted.map(|reply| reply.node).collect();
    let startup_grace = &nodes(|a| matches!(a, Answer::StartupGrace { .. })) | &promoted;
    let is_won = if broken!("configured_nodes") {
        Quorums::among(nodes_that(replies, |_| true)).is_reached(&granted)
    } else {
        quorums.is_reached(&granted)
    };
    if is_won {
        let in_time = now < times.deadlines(sent).stop_at;
        return if in_time { Ok(failures) } else { Err(LostRound::Decided(Reason::TooLate)) };
    }
    let (not_taken, voting) = (&granted | &stale, &(&granted | &stale) | &held);
    Err(if let Some(taken) = taken(quorums, replies) {
        LostRound::Decided(taken)
    } else if quorums.is_reached(&not_taken) && (granted.is_empty() || held.is_empty()) {
        LostRound::Decided(Reason::Stale)
    } else if quorums.is_reached(&voting) {
        LostRound::Decided(Reason::Tie)
    } else if quorums.is_reached(&(&voting | &startup_grace)) {
        LostRound::StartupGrace
    } else {
        LostRound::NoQuorum
    })
}

/// Returns the lock on a node whose leader has lists or a number of slots that aren't ours. With other lists, it may lead on
/// a quorum of its nodes that is none of ours, so that no quorum of ours makes us the only leader.
fn other_terms(quorums: &Quorums, slots: u16, replies: &[NodeReply<AcquireReply>]) -> Option<OtherTerms> {
    replies.iter().find_map(|NodeReply { node, answer }| {
        let Answer::Held { value, .. } = &answer.as_ref().ok()?.answer else { return None };
        let other_slots = || {
            let theirs = Some(Theirs::Slots(value.slots())).filter(|_| value.slots() != slots)?;
            Some(OtherTerms { node: *node, holder: value.holder(), theirs })
        };
        of_other_list(quorums, *node, value).or_else(other_slots)
    })
}

/// Returns the lock with this value, on this node, if its leader has lists that aren't ours.
pub(crate) fn of_other_list(quorums: &Quorums, node: usize, value: &LockValue) -> Option<OtherTerms> {
    let is_other = |theirs: &ListSizes| !theirs.shares(quorums.sizes()) && !broken!("other_list");
    let theirs = Theirs::Lists(value.lists().filter(is_other)?);
    Some(OtherTerms { node, holder: value.holder(), theirs })
}

/// Returns an instance whose ttl isn't ours, and that.
pub(crate) fn other_ttl(replies: &[NodeReply<AcquireReply>], ours: Duration) -> Option<(String, Duration)> {
    answers(replies).find_map(|acquired| {
        let Answer::Held { value, .. } = &acquired.answer else { return None };
        Some((value.holder(), value.ttl().filter(|&theirs| theirs != ours)?))
    })
}

/// Returns whether a quorum has voted.
pub(crate) fn is_granted(quorums: &Quorums, replies: &[NodeReply<AcquireReply>]) -> bool {
    quorums.is_reached(&nodes_that(replies, AcquireReply::is_vote))
}

/// Returns how many standbys listen on at least as many nodes as a quorum has: one node's number may be any.
pub(crate) fn listeners(quorums: &Quorums, replies: &[NodeReply<AcquireReply>]) -> Option<u32> {
    let Reverse(listeners) = quorums.reached_at(|node| answer_of(replies, node)?.listeners().map(Reverse))?;
    Some(listeners)
}

/// Returns why the command doesn't run again in this period, if so. One node is enough evidence: this is only written
/// after a command's end.
fn period_is_over(replies: &[NodeReply<AcquireReply>]) -> Option<Reason> {
    let success = answers(replies).find_map(|acquired| match &acquired.answer {
        Answer::Succeeded(success) => Some(Reason::Succeeded(success.clone())),
        _ => None,
    });
    let used_up = || {
        let failures = answers(replies).filter_map(|acquired| match &acquired.answer {
            Answer::AttemptsUsedUp(failures) => Some(failures),
            _ => None,
        });
        failures.max_by_key(|failures| failures.count).map(|failures| Reason::AttemptsUsedUp(failures.clone()))
    };
    success.or_else(used_up)
}

/// Returns whose lock leaves no quorum to us, if its own quorum is possible: on the nodes that hold it and those that have
/// not answered. With an even number of nodes, half of them leave no quorum to anybody: that is a tie.
fn taken(quorums: &Quorums, replies: &[NodeReply<AcquireReply>]) -> Option<Reason> {
    let unheard = unheard(quorums, replies);
    let leads = |value: &LockValue, on: &Nodes| {
        quorums.is_prevented(on) && (broken!("tie") || quorums.is_reached_by(value.lists(), &(on | &unheard)))
    };
    let (value, on) = locks_of_others(replies).into_iter().find(|(value, on)| leads(value, on))?;
    let fence = on.iter().filter_map(|&node| Some(answer_of(replies, node)?.fence)).min()?;
    Some(Reason::held(value, fence))
}

/// Returns whether the missing answers decide between another leader and a tie.
pub(crate) fn may_be_tie(quorums: &Quorums, replies: &[NodeReply<AcquireReply>]) -> bool {
    let unheard = unheard(quorums, replies);
    let leads = |value: &LockValue, on: &Nodes| quorums.is_reached_by(value.lists(), on);
    locks_of_others(replies)
        .iter()
        .any(|(value, on)| quorums.is_prevented(on) && !leads(value, on) && leads(value, &(on | &unheard)))
}

/// Returns the nodes that hold a lock, by whose it is.
fn locks_of_others(replies: &[NodeReply<AcquireReply>]) -> HashMap<&LockValue, Nodes> {
    let mut locks: HashMap<&LockValue, Nodes> = HashMap::new();
    for NodeReply { node, answer } in replies {
        if let Ok(AcquireReply { answer: Answer::Held { value, .. }, .. }) = answer {
            locks.entry(value).or_default().insert(*node);
        }
    }
    locks
}

/// Returns two nodes that are one server, in the order of the configuration.
pub(crate) fn same_server(replies: &[NodeReply<AcquireReply>]) -> Option<[usize; 2]> {
    let mut known: HashMap<&str, usize> = HashMap::new();
    replies.iter().find_map(|NodeReply { node, answer }| {
        let other = known.insert(&answer.as_ref().ok()?.run_id, *node)?;
        Some([other.min(*node), other.max(*node)])
    })
}

/// Returns the fence that the next token must exceed for a quorum to grant it. Returns `None` if fewer have answered,
/// or if the fence is implausible: farther ahead of the wall clock than clocks differ, and reported by no more nodes
/// than may fail. A token above such a fence would use up the tokens, on healthy nodes too.
pub(crate) fn fence_to_pass(
    quorums: &Quorums,
    replies: &[NodeReply<AcquireReply>],
    wall_micros: u64,
) -> Option<FencingToken> {
    let fence = quorums.reached_at(|node| Some(answer_of(replies, node)?.fence))?;
    let backed = nodes_that(replies, |acquired| fence.is_plausible(acquired.fence.get()));
    (fence.is_plausible(wall_micros) || quorums.is_prevented(&backed)).then_some(fence)
}

/// Returns the node with the largest fence, if that keeps each token from a quorum: see [`fence_to_pass`].
pub(crate) fn fence_ahead(
    quorums: &Quorums,
    replies: &[NodeReply<AcquireReply>],
    wall_micros: u64,
) -> Option<(usize, FencingToken)> {
    let fence = |reply: &NodeReply<AcquireReply>| Some((reply.node, reply.answer.as_ref().ok()?.fence));
    let (node, fence) = replies.iter().filter_map(fence).max_by_key(|&(_, fence)| fence)?;
    let answered = quorums.is_reached(&nodes_that(replies, |_| true));
    (answered && fence_to_pass(quorums, replies, wall_micros).is_none()).then_some((node, fence))
}

/// Returns the nodes that gave no answer that can be used.
pub(crate) fn failing<A>(replies: &[NodeReply<A>]) -> Nodes {
    replies.iter().filter(|reply| reply.answer.is_err()).map(|reply| reply.node).collect()
}

/// Returns the nodes that hold no vote of ours after a campaign round. All others may: also one that has granted this token, since a
/// request is sent once more when its connection breaks.
pub(crate) fn refused(replies: &[NodeReply<AcquireReply>]) -> Nodes {
    nodes_that(replies, |acquired| !matches!(acquired.answer, Answer::Granted | Answer::Stale))
}

/// Returns, for each node, the time until its vote could be free; `None` for a node without a connection, since a
/// notification follows once there is one. A node that did not answer in the round may have given its vote to another,
/// for a ttl at most. `chance`: a random number, at least 0 and below 1.
pub(crate) fn free_in(
    nodes: usize,
    replies: &[NodeReply<AcquireReply>],
    times: &Times,
    chance: f64,
) -> Vec<Option<Duration>> {
    let mut free_in = vec![Some(times.ttl()); nodes];
    for NodeReply { node, answer } in replies {
        free_in[*node] = match answer.as_ref().map(|acquired| &acquired.answer) {
            Ok(Answer::Granted | Answer::Stale) => Some(Duration::ZERO),
            Ok(Answer::Held { left, .. }) => Some(left.unwrap_or(times.ttl())),
            Ok(Answer::StartupGrace { left }) => Some(*left),
            Ok(Answer::Succeeded(_) | Answer::AttemptsUsedUp(_)) => None,
            Err(failure) if failure.is_unconnected() => None,
            Err(failure) if failure.votes_in().is_some() => failure.votes_in(),
            // A node that answers with an error, or may be about to answer, is asked again from time to time.
            Err(_) => Some(times.extend_every().mul_f64(0.5 + chance)),
        };
    }
    free_in
}

/// Decides an extension round: lost if so many nodes have given the lock to another that it can no longer succeed,
/// pending if it still may.
pub(crate) fn extension(quorums: &Quorums, replies: &[NodeReply<ExtendReply>]) -> VoteResult {
    if quorums.is_reached(&nodes_that(replies, ExtendReply::is_vote)) {
        VoteResult::Won
    } else if quorums.is_prevented(&nodes_that(replies, |answer| matches!(answer, ExtendReply::Taken { .. }))) {
        VoteResult::Lost
    } else {
        VoteResult::Pending
    }
}

/// Returns whether a quorum of nodes asks the leader to step down. Fewer can't make it do so. One list is enough: who asks may
/// have the other one no more, or not yet.
pub(crate) fn is_asked_to_step_down(quorums: &Quorums, replies: &[NodeReply<ExtendReply>]) -> bool {
    quorums.is_reached_in_one(&who_ask_to_step_down(replies))
}

/// Returns whether a node asks the leader to step down, and the missing answers decide whether a quorum does.
pub(crate) fn may_be_asked_to_step_down(quorums: &Quorums, replies: &[NodeReply<ExtendReply>]) -> bool {
    let asking = who_ask_to_step_down(replies);
    let heard: Nodes = replies.iter().map(|reply| reply.node).collect();
    let out = &quorums.nodes() - &heard;
    let is_open = !quorums.is_reached_in_one(&asking) && quorums.is_reached_in_one(&(&asking | &out));
    !asking.is_empty() && is_open && !broken!("step_down")
}

fn who_ask_to_step_down(replies: &[NodeReply<ExtendReply>]) -> Nodes {
    nodes_that(replies, |answer| matches!(answer, ExtendReply::Renewed { step_down: true, .. }))
}
