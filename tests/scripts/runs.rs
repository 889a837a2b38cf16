//! What the scripts put on record about runs.

use super::node::{FENCE_SECONDS, Node, RUNS, strings};

#[test]
fn a_run_is_on_record_from_its_vote_to_its_end() {
    let mut node = Node::start();
    node.acquire("a", "7", "0");
    let now = node.time();
    let [run] = &node.runs()[..] else { panic!("one run") };
    assert!(run["start"].as_i64().is_some_and(|start| (now - 5000..=now).contains(&start)), "{run}");
    assert!((run["token"] == 7 && run["holder"] == "web-1") && run["seen"].is_null());
    node.query::<()>(&["FLUSHALL"]);
    node.extend("a", "7");
    let [run] = &node.runs()[..] else { panic!("one run, also on a server that has lost it") };
    assert!(run["seen"].is_u64() && run["end"].is_null(), "{run}");
    node.end("a", "7", "exit 3");
    let now = node.time();
    let [run] = &node.runs()[..] else { panic!("one run") };
    assert!(run["start"].as_i64().is_some_and(|start| (now - 9000..=now - 5000).contains(&start)), "{run}");
    assert!(run["end"] == "exit 3" && run["seen"].is_null(), "{run}");
    let lives: i64 = node.query(&["TTL", "l:runs"]);
    assert!((FENCE_SECONDS - 5..=FENCE_SECONDS).contains(&lives), "{lives}");
}

#[test]
fn a_campaign_that_was_lost_leaves_no_run_and_a_lock_that_was_lost_does() {
    let mut node = Node::start();
    node.acquire("a", "7", "0");
    assert_eq!(node.release("a", "7"), strings(&["released", "8", "0", "", "0"]));
    assert!(node.runs().is_empty());
    node.acquire("b", "9", "0");
    assert_eq!(node.end("a", "8", "lease-lost"), strings(&["kept", "9"]));
    let runs = node.runs();
    assert_eq!(runs.iter().map(|run| run["token"].clone()).collect::<Vec<_>>(), [9, 8], "by token");
    assert_eq!(runs[1]["end"], "lease-lost");
}

#[test]
fn a_hundred_runs_are_kept_and_the_last_success_beyond() {
    let mut node = Node::start();
    for token in 1..=250 {
        let (token, end) = (token.to_string(), if token < 10 { "success" } else { "exit 1" });
        node.acquire("a", &token, "0");
        node.end("a", &token, end);
        node.query::<()>(&["DEL", "l:fence"]);
    }
    let runs = node.runs();
    assert_eq!((runs.len(), &runs[0]["token"], &runs[99]["token"]), (100, &250.into(), &151.into()));
    node.end("a", "3", "success");
    let reply = node.eval(RUNS, &["0", "19"]);
    assert_eq!((reply.len(), reply[2].as_str()), (3 + 20, "exit 100"), "a late one is too old to be kept");
    assert!(reply[1].contains("\"token\":9,"), "and is no newer success: {}", reply[1]);
    assert!(reply[3].contains("\"token\":250,") && reply[22].contains("\"token\":231,"), "{reply:?}");
    assert_eq!(node.eval(RUNS, &["90", "200"]).len(), 3 + 10);
}

#[test]
fn a_key_of_another_kind_or_a_missing_right_costs_the_record_and_no_lease() {
    let mut node = Node::start();
    node.query::<()>(&["SET", "l:runs", "text"]);
    node.query::<()>(&["LPUSH", "l:last-success", "text"]);
    assert_eq!(node.acquire("a", "7", "0")[0], "granted");
    assert_eq!(node.extend("a", "7")[0], "extended");
    assert_eq!(node.end("a", "7", "success"), strings(&["released", "8", "", "", "0"]));
}
