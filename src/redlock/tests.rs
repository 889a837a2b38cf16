//! Nothing that a server or another program sends causes a panic or is taken for something else.

use std::time::Duration;

use proptest::{prelude::*, sample::select};
use redis::Value;

use super::{
    net::pubsub::{self, Notification},
    outcome::{self, LostRound, NodeReply},
    scripts::{self, AcquireReply},
    session::LockSession,
    standby::TakeoverTimer,
};
use crate::{
    clock::Moment,
    lease::{FARTHEST_AHEAD, FencingToken, Quorums, Times},
    lock::{LockValue, Reason, Slot},
    once_per::{FailedEnd, FailedRun, OncePer, PastSuccess},
};

/// Returns any value that a server can send, often nearly a valid answer.
fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<Vec<u8>>(),
        "granted|held|stale|young|done|spent|extended|healed|lost|released|kept".prop_map(String::into_bytes),
        any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        any::<u64>().prop_map(|n| n.to_string().into_bytes()),
    ];
    let leaf = prop_oneof![
        text.prop_map(Value::BulkString),
        any::<i64>().prop_map(Value::Int),
        any::<String>().prop_map(Value::SimpleString),
        any::<f64>().prop_map(Value::Double),
        any::<bool>().prop_map(Value::Boolean),
        Just(Value::Nil),
        Just(Value::Okay),
    ];
    leaf.prop_recursive(3, 24, 7, |inner| prop::collection::vec(inner, 0..7).prop_map(Value::Array))
}

/// Returns an answer of acquire.lua with any numbers.
fn well_formed() -> impl Strategy<Value = AcquireReply> {
    let kinds = select(&["granted", "held", "stale", "young", "done", "spent"][..]);
    let numbers = (any::<u64>(), any::<i64>(), any::<u32>(), select(&["a", "b"][..]));
    (kinds, numbers).prop_map(|(kind, (large, signed, small, value))| {
        let (large, signed, small) = (large.to_string(), signed.to_string(), small.to_string());
        let rest: &[&str] = match kind {
            "granted" => &[&small, &signed, &large],
            "spent" => &[&small, &signed],
            "held" => &[value, &signed, &small],
            "young" => &[&large],
            "done" => &[value, &signed],
            _ => &[],
        };
        let parts = [&[kind, value, &large], rest].concat();
        let answer = Value::Array(parts.iter().map(|part| Value::BulkString(part.as_bytes().to_vec())).collect());
        scripts::acquired(answer).expect("a well-formed answer")
    })
}

proptest! {
    #[test]
    fn any_answer_is_read_or_refused(values in prop::collection::vec(any_value(), 1..6), now in any::<u32>(), chance in 0.0..1.0) {
        let times = Times::new(Duration::from_secs(15), None).expect("times that fit");
        let replies: Vec<_> = values
            .into_iter()
            .enumerate()
            .filter_map(|(index, value)| {
                let _ = (scripts::extended(value.clone(), now % 2 == 0), scripts::released(value.clone(), now % 2 == 0));
                let _ = scripts::LookReply::read(value.clone());
                scripts::acquired(value).map(|acquired| NodeReply { node: index, answer: Ok(acquired) })
            })
            .collect();
        let (sent, quorums) = (Moment::now(), Quorums::of(6));
        let decided = sent + Duration::from_millis(now.into());
        let _ = outcome::campaign(&quorums, 1, &replies, &times, sent, decided);
        let _ = outcome::fence_to_pass(&quorums, &replies, u64::from(now));
        prop_assert_eq!(outcome::free_in(6, &replies, &times, chance).len(), 6);
    }

    #[test]
    fn any_numbers_in_well_formed_answers_can_be_computed_with(
        answers in prop::collection::vec(well_formed(), 1..6),
        message in (select(&["released", "done", "held"][..]), any::<u32>(), any::<u64>()),
        chance in 0.0..1.0,
    ) {
        let (times, now) = (Times::new(Duration::from_secs(15), None).expect("times that fit"), Moment::now());
        let quorums = Quorums::of(5);
        let answers = answers.into_iter().enumerate();
        let replies: Vec<_> = answers.map(|(node, answer)| NodeReply { node, answer: Ok(answer) }).collect();
        let mut timer = TakeoverTimer::new();
        timer.learn(times.ttl(), outcome::listeners(&quorums, &replies));
        let free_in = outcome::free_in(5, &replies, &times, chance);
        timer.begin(quorums.reached_at(|node| free_in[node]), &times, now, chance);
        let (word, listeners, subject) = message;
        let parsed = pubsub::parse(&format!("{word} {listeners} {subject}"));
        let Some(Notification::Message { change, .. }) = parsed else { panic!("no message: {parsed:?}") };
        timer.hear(change, &times, now, chance);
        let session = LockSession::new("lock", Slot::ONLY, "holder", None, None).expect("random numbers");
        for wall in [0, 1_800_000_000_000_000, u64::MAX] {
            let _ = (outcome::fence_to_pass(&quorums, &replies, wall), outcome::fence_ahead(&quorums, &replies, wall));
            replies.iter().flat_map(|reply| &reply.answer).for_each(|acquired| session.overtake(acquired.fence, wall));
            prop_assert!(session.next_token(wall) <= FencingToken::MAX);
        }
        match outcome::campaign(&quorums, 1, &replies, &times, now, now) {
            Ok(failures) => {
                let once = OncePer { period: Duration::from_secs(60), attempts: Some(2), key: None };
                let run = FailedRun { holder: "a".into(), end: FailedEnd::ExitStatus(1) };
                prop_assert!(once.failure(failures, &run, now).is_none_or(|note| !note.text.starts_with("0 ")));
            }
            Err(LostRound::Decided(reason)) => prop_assert!(!reason.to_string().is_empty()),
            Err(_) => {}
        }
    }

    #[test]
    fn any_message_is_a_notification_or_none(text in any::<String>(), word in "acquired|released|done|held", rest in any::<String>()) {
        let _ = (pubsub::parse(&text), pubsub::parse(&format!("{word} {rest}")), pubsub::parse(&format!("{word} 1 {rest}")));
    }

    #[test]
    fn any_value_of_a_lock_can_be_shown(value in any::<String>(), holder in any::<String>(), fence in any::<u64>(), left in any::<u64>()) {
        let mark = serde_json::json!({ "id": "x", "holder": holder }).to_string();
        let shown = |value: &str| Reason::held(&LockValue::from_node(value), FencingToken::new(fence)).to_string();
        prop_assert!(shown(&mark).contains(&holder));
        let _ = shown(&value);
        let _ = PastSuccess { note: value, left: Some(Duration::from_millis(left)) }.to_string();
    }

    #[test]
    fn as_many_nodes_as_may_fail_cannot_use_up_the_tokens(fence in any::<u64>(), nodes in 3_usize..8, silent in 0_usize..4) {
        let wall = 1_800_000_000_000_000;
        let acquired = |index: usize, fence| {
            let answer = scripts::AcquireReply {
                run_id: index.to_string(),
                fence: FencingToken::new(fence),
                failures: Default::default(),
                time: None,
                answer: scripts::Answer::Stale,
            };
            NodeReply { node: index, answer: Ok(answer) }
        };
        // The nodes that may fail send nonsense, or nothing. All others are healthy.
        let may_fail = nodes - crate::lease::quorum(nodes);
        let replies: Vec<_> = (0..nodes).map(|index| acquired(index, if index < may_fail { fence } else { wall })).collect();
        let replies = &replies[..nodes - silent.min(nodes)];
        prop_assert!(outcome::fence_to_pass(&Quorums::of(nodes), replies, wall).is_none_or(|pass| pass.get() <= wall + FARTHEST_AHEAD));
        // A fence that was really granted is exceeded, however far the clock is behind.
        let all: Vec<_> = (0..nodes).map(|index| acquired(index, fence)).collect();
        prop_assert_eq!(outcome::fence_to_pass(&Quorums::of(nodes), &all, 0), Some(FencingToken::new(fence)));
    }
}
