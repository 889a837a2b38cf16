//! What nodes answer, and what a round decides from it.

use std::{io::Cursor, time::Duration};

use redis::{Parser, Value};

pub(crate) use super::{
    health::fuzz::reports,
    net::fuzz::{errors, messages, urls},
};
use super::{
    known_clocks::NodeTime,
    net::{failure::Failure, fuzz::master, node::Vote},
    outcome::{self, LostRound, NodeReply},
    scripts::{self, AcquireReply, ExtendReply, LookReply, SurveyReply},
};
use crate::{
    clock::Moment,
    fuzz::is_one_line,
    lease::{FencingToken, Quorums, Times, VoteResult},
    lock::{Reason, Slot},
    once_per::OncePer,
};

/// The most nodes that answer.
const MOST_NODES: usize = 5;

/// The wall clock of whoever decides, in microseconds since 1970.
const NOW_MICROS: u64 = 1_800_000_000_000_000;

/// Takes what one node after the other answers.
pub(crate) fn replies(data: &[u8]) {
    let (mut parser, mut stream, mut values) = (Parser::new(), Cursor::new(data), Vec::new());
    while values.len() < MOST_NODES
        && let Ok(value) = parser.parse_value(&mut stream)
    {
        values.push(value);
    }
    let times = Times::new(Duration::from_secs(15), None).expect("times that fit");
    values.iter().for_each(|value| alone(value.clone()));
    campaign(&values, &times);
    extension(&values);
}

/// Reads an answer that only one node gives.
fn alone(value: Value) {
    let _ = [true, false].map(|lasts| scripts::released(value.clone(), lasts));
    master(value.clone());
    if let Some(survey) = SurveyReply::read(value.clone()) {
        survey.name.iter().for_each(|name| is_one_line(&name.value.holder()));
    }
    if let Some(LookReply { value, fence, success, .. }) = LookReply::read(value) {
        assert_ne!(fence, Some(FencingToken::ZERO));
        value.iter().for_each(|value| is_one_line(&value.holder()));
        success.iter().for_each(|success| is_one_line(&success.to_string()));
    }
}

/// Returns the answers as those of nodes; the last one may be a master that was promoted a while ago.
fn read<A>(values: &[Value], read: impl Fn(Value, Duration) -> Result<A, Failure>) -> Vec<NodeReply<A>> {
    let master_for = |node| if node == 4 { Duration::from_secs(3) } else { Duration::MAX };
    values
        .iter()
        .cloned()
        .enumerate()
        .map(|(node, value)| NodeReply { node, answer: read(value, master_for(node)) })
        .collect()
}

fn campaign(values: &[Value], times: &Times) {
    let once = OncePer { period: Duration::from_secs(60), attempts: Some(2), key: None };
    let replies = read(values, |answer, master_for| {
        outcome::granted(Vote { answer, master_for }, times.startup_grace(), Some(&once))
    });
    let quorums = Quorums::of(values.len().max(1));
    let sent = Moment::now();
    let granted = outcome::nodes_that(&replies, AcquireReply::is_vote);
    match outcome::campaign(&quorums, Slot::ONLY.of, &replies, times, sent, sent) {
        Ok(_) => assert!(granted.len() > values.len() / 2, "{granted:?}"),
        Err(LostRound::Decided(reason)) => {
            is_one_line(&reason.to_string());
            if let Reason::Taken(Some(leader)) = reason {
                let _ = leader.leads_for();
            }
        }
        Err(_) => {}
    }
    let shared = (outcome::is_granted(&quorums, &replies), outcome::may_be_tie(&quorums, &replies));
    assert!(shared != (true, true), "a round that is won is no tie");
    let _ = (outcome::listeners(&quorums, &replies), outcome::same_server(&replies), outcome::refused(&replies));
    let _ = outcome::other_ttl(&replies, times.ttl());
    if let Some(fence) = outcome::fence_to_pass(&quorums, &replies, NOW_MICROS) {
        assert!(FencingToken::next(NOW_MICROS, fence) <= FencingToken::MAX);
    }
    if let Some((_, fence)) = outcome::fence_ahead(&quorums, &replies, NOW_MICROS) {
        let _ = crate::clock::show_time(fence.elected_at());
    }
    for left in outcome::free_in(values.len(), &replies, times, 0.9).into_iter().flatten() {
        assert!(sent + left + times.drift() >= sent);
    }
    for time in outcome::answers(&replies).filter_map(|reply| reply.time) {
        assert!(time + Duration::MAX >= time && NodeTime::from_millis(time.as_millis()) == time);
    }
}

fn extension(values: &[Value]) {
    let replies = read(values, |answer, _| scripts::extended(answer, true).ok_or(Failure::StrangeAnswer));
    let quorums = Quorums::of(values.len().max(1));
    let votes = outcome::nodes_that(&replies, ExtendReply::is_vote).len();
    let won = outcome::extension(&quorums, &replies) == VoteResult::Won;
    assert_eq!(won, votes > values.len() / 2);
    let asked = outcome::is_asked_to_step_down(&quorums, &replies);
    assert!(!asked || won, "a quorum that asks has renewed");
    assert!(!(asked && outcome::may_be_asked_to_step_down(&quorums, &replies)), "it is decided");
}
