//! The scripts on a real server: every reply of each, what they store, and that each takes one round trip.

mod node;
mod runs;
mod slots;

use self::node::{
    ACQUIRE, CHANNEL, EXTEND, LOOK, Node, PROOF, RELEASE, RELEASED, RUNS, TELL, free, held, listen, next_message,
    strings,
};

#[test]
fn acquire_grants_a_free_lock() {
    let mut node = Node::start();
    assert_eq!(node.acquire("a", "9007199254740990", "0"), strings(&["granted", "9007199254740990", "0", "-2"]));
    assert_eq!(node.state(), held("a", "9007199254740990"));
}

#[test]
fn acquire_reports_anothers_lock_as_held() {
    let mut node = Node::start();
    node.acquire("a", "7", "0");
    let answer = node.acquire("b", "8", "0");
    assert_eq!(answer[..3], strings(&["held", "7", "a"]));
    assert!((9000..=10_000).contains(&answer[3].parse::<i64>().expect("a time to live")), "{answer:?}");
    node.query::<()>(&["PERSIST", "l"]);
    assert_eq!(
        node.acquire("b", "8", "0"),
        strings(&["held", "7", "a", "-1", "0"]),
        "held comes before stale and young"
    );
}

#[test]
fn acquire_takes_over_no_lock_without_the_proof_of_its_release() {
    let hash = "a9993e364706816aba3e25717850c26c9cd0d89d";
    let in_a_name = format!(r#"{{"id":"1","holder":"\"release\":\"{hash}\"","release":"0"}}"#);
    for value in ["a", PROOF, hash, r#"{"id":"1","holder":"x"}"#, in_a_name.as_str()] {
        let mut node = Node::start();
        node.acquire(value, "7", "0");
        assert_eq!(node.acquire("b", "8", "0")[..3], strings(&["held", "7", value]));
    }
}

#[test]
fn acquire_takes_over_a_lock_whose_release_is_proved() {
    let mut node = Node::start();
    node.acquire(RELEASED, "7", "0");
    assert_eq!(node.acquire("a", "8", "0"), strings(&["granted", "8", "0", "-2"]));
    assert_eq!(node.release(RELEASED, "7"), strings(&["kept", "8"]), "a late release does no harm");
    assert_eq!(node.extend(RELEASED, "7"), strings(&["lost", "8", "a"]));
    assert_eq!(node.state(), held("a", "8"));
}

#[test]
fn acquire_is_stale_unless_its_token_exceeds_the_last() {
    let mut node = Node::start();
    node.acquire("a", "7", "0");
    assert_eq!(node.acquire("a", "7", "0"), strings(&["stale", "7"]), "even for the lock's own value");
    assert_eq!(node.acquire("a", "8", "0"), strings(&["granted", "8", "0", "-2"]));
    node.query::<()>(&["DEL", "l"]);
    assert_eq!(node.acquire("b", "8", "60000"), strings(&["stale", "8"]), "stale comes before young");
    assert_eq!(node.state(), (None, 0, Some("8".into())));
}

/// The script reads what such a server reports. `clocks` has one.
#[test]
fn acquire_on_a_server_whose_clock_was_set_back_grants_to_who_has_known_it_for_long_enough() {
    let mut node = Node::start();
    let info = r"'redis_version:7.0.0\r\nrun_id:old\r\nuptime_in_seconds:-3600\r\n'";
    let script = ACQUIRE.replace("redis.call('INFO', 'server')", info);
    assert_ne!(script, ACQUIRE);
    let keys = ["l", "l:fence", "l:done", "l:failures", "l:runs"];
    let mut acquire =
        |known| node.eval_on(&script, &keys, &["a", "10000", "7", "3000", "", "", "", known, CHANNEL, "{"]);
    let answer = acquire("");
    assert_eq!(answer[..2], strings(&["young", "old"]));
    assert!((2000..=3000).contains(&answer[3].parse::<i64>().expect("a time")), "{answer:?}");
    assert_eq!(acquire("old")[0], "granted");
}

#[test]
fn acquire_grants_nothing_during_the_startup_grace() {
    let mut node = Node::start();
    let answer = node.acquire("a", "7", "60000");
    assert_eq!(answer[..2], strings(&["young", "0"]));
    assert!((50_000..=60_000).contains(&answer[2].parse::<i64>().expect("a time")), "{answer:?}");
    assert_eq!(node.query::<Vec<String>>(&["KEYS", "*"]), Vec::<String>::new());
}

#[test]
fn extend_renews_restores_and_loses() {
    let mut node = Node::start();
    assert_eq!(node.extend("a", "7"), strings(&["healed", "7"]), "on a server that has lost everything");
    assert_eq!(node.state(), held("a", "7"));
    node.query::<()>(&["PEXPIRE", "l", "1000"]);
    assert_eq!(node.extend("a", "7"), strings(&["extended", "7", "0"]));
    assert_eq!(node.state(), held("a", "7"));
    assert_eq!(node.extend("a", "9"), strings(&["extended", "9", "0"]), "a raised token raises the fence");
    assert_eq!(node.state(), held("a", "9"));
    assert_eq!(node.extend("b", "10"), strings(&["lost", "9", "a"]), "the lock is another's");
    node.query::<()>(&["DEL", "l"]);
    assert_eq!(node.extend("a", "8"), strings(&["lost", "9"]), "a larger token was granted since");
    assert_eq!(node.state(), free("9"));
    assert_eq!(node.extend("a", "9"), strings(&["healed", "9"]));
}

#[test]
fn a_server_that_has_just_started_restores_a_lock_only_if_it_is_known_or_its_last_vote_would_last() {
    let mut node = Node::start();
    let info = node.query::<String>(&["INFO", "server"]);
    let run_id = info.split("run_id:").nth(1).and_then(|rest| rest.lines().next()).expect("an id");
    let [past, future] = [-1, 60_000].map(|from_now| (node.time() + from_now).to_string());
    let extend = |known, until| ["a", "10000", "7", "", "", "", "60000", known, until];
    let hold = |known, until| {
        let kept = ["a", "7", "8", CHANNEL, "0", "held", "5000", "7", "", "", "0", "0", "a kept", "5000"];
        [&kept[..], &["60000", known, until]].concat()
    };
    for (known, until) in [("", ""), ("old", &past)] {
        let mut answer = node.eval(EXTEND, &extend(known, until));
        assert_eq!(answer.pop().as_deref(), Some(run_id));
        let settles: i64 = answer.pop().and_then(|settles| settles.parse().ok()).expect("a time");
        assert!((50_000..=60_000).contains(&settles), "{settles}");
        node.take_time(&mut answer);
        assert_eq!(answer, strings(&["young", "0"]));
        assert_eq!(node.eval(RELEASE, &hold(known, until)), strings(&["kept", "0"]));
        assert_eq!(node.state(), (None, 0, None));
    }
    for (known, until) in [(run_id, ""), ("", &future)] {
        // The leader decides whether what it has counts before it has been up for long enough.
        let settles = |settles: &str| settles != "0";
        let healed = node.eval(EXTEND, &extend(known, until));
        assert_eq!((healed[0].as_str(), settles(&healed[3])), ("healed", known.is_empty()));
        let extended = node.eval(EXTEND, &extend("", ""));
        assert_eq!((extended[0].as_str(), settles(&extended[4])), ("extended", true));
        node.query::<()>(&["DEL", "l"]);
        let released = node.eval(RELEASE, &hold(known, until));
        assert_eq!(released[..4], strings(&["released", "8", "0", ""]));
        assert_eq!(settles(&released[4]), known.is_empty());
        node.query::<()>(&["FLUSHALL"]);
    }
}

#[test]
fn release_frees_the_lock_closes_the_token_and_notifies() {
    let mut node = Node::start();
    let mut listener = node.server.connect();
    let mut listener = listen(&mut listener, &[]);
    node.acquire("a", "7", "0");
    assert_eq!(next_message(&mut listener), format!("acquired {PROOF}"));
    assert_eq!(node.acquire("b", "8", "0").last().map(String::as_str), Some("1"), "one listens");
    assert_eq!(node.release("b", "8"), strings(&["kept", "7"]), "not ours");
    assert_eq!(node.release("a", "6"), strings(&["kept", "7"]), "too late: a larger token was granted since");
    assert_eq!(node.state(), held("a", "7"));
    assert_eq!(node.release("a", "7"), strings(&["released", "8", "1", "", "0"]), "one stands by");
    assert_eq!(node.state(), free("8"));
    assert_eq!(next_message(&mut listener), "released 1 a", "with the number of listeners");
    assert_eq!(node.extend("a", "7"), strings(&["lost", "8"]), "a late extension does no harm");
    assert_eq!(node.acquire("a", "8", "0"), strings(&["stale", "8"]));
    assert_eq!(node.release("a", "7"), strings(&["kept", "8"]));
}

#[test]
fn release_counts_those_who_stand_by_and_notifies_nobody_if_that_is_all_it_is_to_do() {
    let mut node = Node::start();
    let mut connections = [node.server.connect(), node.server.connect(), node.server.connect()];
    let [watcher, standby, other] = connections.each_mut();
    let mut standby = listen(standby, &[]);
    let _others = [listen(watcher, &["l:db2:watchers"]), listen(other, &[])];
    let count = |channel, not_counted, word| ["a", "7", "8", channel, not_counted, word, "x", "7", "", "", "0", "0"];
    for (channel, not_counted, word, standbys) in
        [(CHANNEL, "0", "", "2"), (CHANNEL, "1", "", "1"), ("", "0", "", ""), (CHANNEL, "0", "released", "2")]
    {
        node.extend("a", "7");
        assert_eq!(
            node.eval(RELEASE, &count(channel, not_counted, word)),
            strings(&["released", "8", standbys, "", "0"])
        );
        node.query::<()>(&["DEL", "l:fence"]);
    }
    assert_eq!(next_message(&mut standby), "released 3 x", "the only one");
}

#[test]
fn release_wakes_one_of_many_who_stand_by_and_tells_those_who_watch() {
    // As large as tokens are, and a multiple of 1,024.
    const TOKEN: u64 = 1_795_500_000_000_000;
    let mut node = Node::start();
    let mut connections = [(); 5].map(|()| node.server.connect());
    let [first, second, third, fourth, watcher] = connections.each_mut();
    let second = listen(second, &["l:db2:800:wake"]);
    let mut standbys =
        [listen(first, &["l:db2:1020:wake"]), second, listen(third, &["l:db2:5:wake"]), listen(fourth, &[])];
    let mut watcher = listen(watcher, &["l:db2:watchers"]);
    // The search begins at the number of the new token, and goes round.
    for (begins, woken) in [(801, 0), (1020, 0), (1021, 2), (5, 2), (6, 1)] {
        let [token, next] = [TOKEN + begins - 1, TOKEN + begins].map(|token| token.to_string());
        node.query::<()>(&["SET", "l", "a"]);
        node.query::<()>(&["SET", "l:fence", &token]);
        assert_eq!(node.release("a", &token), strings(&["released", &next, "4", "1", "0"]), "{begins}");
        assert_eq!(next_message(&mut standbys[woken]), "wake 1 a", "{begins}");
        assert_eq!(next_message(&mut watcher), "released 5 a", "{begins}");
        node.query::<()>(&["PUBLISH", CHANNEL, "nothing before"]);
        for told in standbys.iter_mut().chain([&mut watcher]) {
            assert_eq!(next_message(told), "nothing before", "{begins}");
        }
    }
}

#[test]
fn release_tells_all_who_stand_by_if_they_are_few_or_nobody_can_be_woken() {
    for (standbys, channel) in [(3, "l:db2:5:wake"), (4, "l:db2:other")] {
        let mut node = Node::start();
        let mut connections: Vec<_> = (0..standbys).map(|_| node.server.connect()).collect();
        let mut listeners: Vec<_> = connections.iter_mut().map(|standby| listen(standby, &[channel])).collect();
        node.query::<()>(&["SET", "l", "a"]);
        assert_eq!(node.release("a", "7"), strings(&["released", "8", &standbys.to_string(), "", "0"]));
        for listener in &mut listeners {
            assert_eq!(next_message(listener), format!("released {standbys} a"));
        }
    }
}

#[test]
fn acquire_tells_no_more_than_those_woken_and_those_who_watch() {
    let mut node = Node::start();
    let mut connections = [node.server.connect(), node.server.connect(), node.server.connect()];
    let [woken, other, watcher] = connections.each_mut();
    let [mut woken, mut watcher] = [listen(woken, &["l:db2:5:wake"]), listen(watcher, &["l:db2:watchers"])];
    let mut other = listen(other, &["l:db2:6:wake"]);
    node.eval(ACQUIRE, &["a", "10000", "7", "0", "l:db2:5:wake", PROOF, "", "", CHANNEL, "{"]);
    assert_eq!([&mut woken, &mut watcher].map(next_message), ["acquired abc", "acquired abc"]);
    node.query::<()>(&["PUBLISH", CHANNEL, "nothing before"]);
    assert_eq!(next_message(&mut other), "nothing before");
}

#[test]
fn a_recorded_success_is_the_first_reply_to_those_who_ask_for_it() {
    let mut node = Node::start();
    node.acquire("a", "7", "0");
    assert_eq!(node.extend_and_note("a", "7", "it went well", 60_000), strings(&["extended", "7", "0"]));
    let answer = node.acquire_once("b", "8", "60000", "0");
    assert_eq!(answer[..3], strings(&["done", "7", "it went well"]), "before held, stale and young");
    assert!((50_000..=60_000).contains(&answer[3].parse::<i64>().expect("a time")), "{answer:?}");
    assert_eq!(node.acquire("b", "8", "0")[0], "held", "others don't see it");
    assert_eq!(node.extend_and_note("b", "8", "so did this", 50_000)[0], "lost", "it doesn't count");
    assert_eq!(
        node.query::<String>(&["GET", "l:done"]),
        "it went well",
        "and doesn't replace a record that lasts longer"
    );
    assert_eq!(node.extend_and_note("b", "8", "so did this", 90_000)[0], "lost", "a later one doesn't count");
    assert_eq!(node.query::<String>(&["GET", "l:done"]), "so did this", "but is recorded nevertheless");
}

#[test]
fn a_late_record_does_not_replace_a_newer_one() {
    let mut node = Node::start();
    node.acquire("a", "7", "0");
    for (note, lasts, stands) in [("first", 5000, "first"), ("second", 9000, "second"), ("first", 4000, "second")] {
        node.extend_and_note("a", "7", note, lasts);
        assert_eq!(node.query::<String>(&["GET", "l:done"]), stands);
    }
    node.query::<()>(&["DEL", "l:done"]);
    for (count, lasts, stands) in [("1", 5000, "1"), ("3 x", 4000, "3 x"), ("2 y", 9000, "3 x")] {
        node.extend_and_note("a", "7", count, lasts);
        assert_eq!(node.query::<String>(&["GET", "l:done"]), stands, "the same as a number of failures");
    }
}

#[test]
fn a_record_ends_with_its_period_however_late_it_comes() {
    let mut node = Node::start();
    node.acquire("a", "7", "0");
    for (note, is_late) in [("success", false), ("success", true), ("1", false), ("1", true)] {
        node.query::<()>(&["DEL", "l:done"]);
        let ends = node.time() + if is_late { 0 } else { 5000 };
        node.extend_by(&["a", "10000", "7", "", "", "", "0", "", "", note, &ends.to_string()]);
        let left: i64 = node.query(&["PTTL", "l:done"]);
        let rest = ends - node.time();
        assert!(if is_late { left == -2 } else { (rest..=rest + 1000).contains(&left) }, "{left}, not {rest}");
    }
}

#[test]
fn a_grant_reports_the_failures_until_there_are_too_many() {
    let mut node = Node::start();
    node.query::<()>(&["SET", "l:failures", "2 {}", "PX", "60000"]);
    let answer = node.acquire_once("a", "7", "0", "3");
    assert_eq!(answer[..3], strings(&["granted", "7", "2 {}"]));
    assert!((50_000..=60_000).contains(&answer[3].parse::<i64>().expect("a time")), "{answer:?}");
    assert_eq!(node.acquire_once("b", "8", "0", "2")[0], "held", "while another tries");
    node.release("a", "7");
    assert_eq!(node.acquire_once("b", "9", "0", "2")[..3], strings(&["spent", "8", "2 {}"]));
    assert_eq!(
        node.acquire_once("b", "9", "0", "0")[..3],
        strings(&["granted", "9", "2 {}"]),
        "any number of failures is allowed"
    );
}

#[test]
fn a_lock_that_is_kept_counts_as_anothers_even_for_its_own_leader() {
    let mut node = Node::start();
    let mut listener = node.server.connect();
    let mut listener = listen(&mut listener, &[]);
    node.acquire("a", "7", "0");
    let kept = ["a", "7", "8", CHANNEL, "0", "held", "5000", "7", "", "", "0", "0", "a kept", "5000", "0", "", ""];
    assert_eq!(node.eval(RELEASE, &kept), strings(&["released", "8", "1", "", "0"]));
    assert_eq!(node.state(), (Some("a kept".into()), 5000, Some("8".into())));
    assert_eq!(node.extend("a", "7"), strings(&["lost", "8", "a kept"]), "a late extension");
    assert_eq!(node.eval(RELEASE, &kept), strings(&["released", "8", "", "", "0"]), "the same request once more");
    assert_eq!(node.state(), (Some("a kept".into()), 5000, Some("8".into())));
    let messages = [(); 2].map(|()| next_message(&mut listener));
    assert_eq!(messages, [&format!("acquired {PROOF}"), "held 1 5000"]);
}

#[test]
fn extend_passes_a_request_to_step_down_to_its_leader_and_nobody_else() {
    let mut node = Node::start();
    node.acquire("a", "7", "0");
    node.query::<()>(&["SET", "l:step-down", "b"]);
    assert_eq!(node.extend("a", "7"), strings(&["extended", "7", "0"]), "another leader was asked");
    node.query::<()>(&["SET", "l:step-down", "a"]);
    assert_eq!(node.extend("a", "7"), strings(&["extended", "7", "1"]));
    assert_eq!(node.state(), held("a", "7"));
}

#[test]
fn look_reports_what_is_stored_and_changes_nothing() {
    let mut node = Node::start();
    assert_eq!(node.eval(LOOK, &[]), strings(&["", "-2", "", "", "-2"]));
    assert_eq!(node.query::<u64>(&["DBSIZE"]), 0);
    node.acquire("a", "7", "0");
    node.query::<()>(&["PERSIST", "l"]);
    assert_eq!(node.eval(LOOK, &[]), strings(&["a", "-1", "7", "", "-2"]));
    assert_eq!(node.extend_and_note("a", "7", "it went well", 60_000)[0], "extended");
    assert_eq!(node.eval(LOOK, &[])[2..4], strings(&["7", "it went well"]));
    let keys = ["l", "l:fence", "l:done", "l:failures"];
    assert_eq!(node.eval_on(LOOK, &keys, &[])[5], "", "asked for, and there are none");
    node.query::<()>(&["SET", "l:failures", "2 {}"]);
    assert_eq!(node.eval_on(LOOK, &keys, &[])[5], "2 {}");
}

#[test]
fn a_lock_is_extended_even_if_the_memory_is_full() {
    let mut node = Node::start();
    node.acquire("a", "7", "0");
    node.query::<()>(&["PEXPIRE", "l", "1000"]);
    node.query::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(node.extend("a", "7"), strings(&["extended", "7", "0"]));
    assert_eq!(node.state(), held("a", "7"));
}

#[test]
fn release_restores_a_lock_that_is_to_be_kept() {
    let mut node = Node::start();
    node.acquire("a", "7", "0");
    node.query::<()>(&["FLUSHALL"]);
    assert_eq!(node.release("a", "7"), strings(&["kept", "0"]), "there is nothing to release");
    let kept = ["a", "7", "8", CHANNEL, "0", "held", "5000", "7", "", "", "0", "0", "a kept", "5000", "0", "", ""];
    assert_eq!(node.eval(RELEASE, &kept), strings(&["released", "8", "0", "", "0"]));
    assert_eq!(node.state(), (Some("a kept".into()), 5000, Some("8".into())));
}

#[test]
fn tell_announces_a_release_with_the_number_of_listeners_unless_the_lock_is_taken() {
    let mut node = Node::start();
    let mut connections = [node.server.connect(), node.server.connect()];
    let [first, second] = connections.each_mut();
    let mut listeners = [listen(first, &[]), listen(second, &[])];
    let mut told = |keys: &[&str], value| {
        node.query::<()>(&["SET", "l", "x"]);
        let mut tell = redis::cmd("EVAL");
        tell.arg(TELL).arg(keys.len()).arg(keys).arg(CHANNEL).arg("1").arg("released").arg(value);
        tell.query::<i64>(&mut node.server.connect()).expect("an answer")
    };
    assert_eq!([told(&[], "a"), told(&["l"], "b"), told(&["free"], "c")], [2, 0, 2]);
    let heard = [(); 2].map(|()| next_message(&mut listeners[0]));
    assert_eq!(heard, ["released 1 a", "released 1 c"]);
}

#[test]
fn each_script_takes_one_round_trip_on_a_server_that_never_saw_it() {
    let mut node = Node::start();
    for (script, args) in [
        (ACQUIRE, &["a", "10000", "7", "0", CHANNEL, "", "2", "", CHANNEL, "{\"token\":7"][..]),
        (EXTEND, &["a", "10000", "7", "7", "{\"token\":7", "", "0", "", ""]),
        (LOOK, &[]),
        (RUNS, &["0", "9"]),
        (RELEASE, &["a", "7", "8", CHANNEL, "0", "released", "a", "7", "{\"token\":7", "", "0", "1"]),
    ] {
        node.query::<()>(&["SCRIPT", "FLUSH"]);
        node.query::<()>(&["CONFIG", "RESETSTAT"]);
        node.eval(script, args);
        let stats: String = node.query(&["INFO", "commandstats"]);
        assert!(stats.contains("cmdstat_eval:calls=1,"), "{stats}");
        assert!(!stats.contains("script") && !stats.contains("evalsha"), "{stats}");
    }
}
