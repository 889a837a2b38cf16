//! The scripts on a real server: every reply of each, what they store, and that each takes one round trip.

use crate::support::Server;
use redis::Connection;

const ACQUIRE: &str = include_str!("../src/redlock/scripts/acquire.lua");
const EXTEND: &str = include_str!("../src/redlock/scripts/extend.lua");
const LOOK: &str = include_str!("../src/redlock/scripts/look.lua");
const TELL: &str = include_str!("../src/redlock/scripts/tell.lua");
const SURVEY: &str = include_str!("../src/redlock/scripts/survey.lua");
const RUNS: &str = include_str!("../src/redlock/scripts/runs.lua");
const RELEASE: &str = include_str!("../src/redlock/scripts/release.lua");

/// What proves the release of the lock with this value, which has its hash (RFC 3174, test 1).
const PROOF: &str = "abc";
const RELEASED: &str = r#"{"id":"1","holder":"x","release":"a9993e364706816aba3e25717850c26c9cd0d89d"}"#;

const CHANNEL: &str = "l:db2";

/// The fence key lives for 30 days after its last use.
const FENCE_SECONDS: i64 = 30 * 24 * 60 * 60;

struct Node {
    server: Server,
    connection: Connection,
}

impl Node {
    fn start() -> Self {
        let server = Server::start();
        let connection = server.connect();
        Node { server, connection }
    }

    fn eval(&mut self, script: &str, args: &[&str]) -> Vec<String> {
        let mut cmd = redis::cmd("EVAL");
        let keys: &[&str] = match script {
            ACQUIRE => &["l", "l:fence", "l:done", "l:failures", "l:runs"],
            EXTEND if args.len() > 6 => &["l", "l:fence", "l:step-down", "l:runs", "l:done"],
            EXTEND => &["l", "l:fence", "l:step-down", "l:runs"],
            LOOK => &["l", "l:fence", "l:done"],
            RUNS => &["l:runs", "l:last-success"],
            _ => &["l", "l:fence", "l:runs", "l:last-success"],
        };
        cmd.arg(script).arg(keys.len()).arg(keys).arg(args);
        let answer: Vec<redis::Value> = cmd.query(&mut self.connection).expect("an answer");
        answer.into_iter().map(|v| redis::from_redis_value(v).expect("a string")).collect()
    }

    /// Runs `acquire` and leaves out the second part of the reply, the server's run id, and with a grant the last, its time.
    fn acquire(&mut self, value: &str, token: &str, settle: &str) -> Vec<String> {
        self.acquire_once(value, token, settle, "")
    }

    /// Does the same with a limit: `may_fail` is how often the command may fail in its period.
    fn acquire_once(&mut self, value: &str, token: &str, settle: &str, may_fail: &str) -> Vec<String> {
        let mut answer =
            self.eval(ACQUIRE, &[value, "10000", token, settle, "1", PROOF, may_fail, "", CHANNEL, &head(token)]);
        let run_id = answer.remove(1);
        assert!(self.query::<String>(&["INFO", "server"]).contains(&format!("run_id:{run_id}\r\n")));
        if answer[0] == "granted" {
            self.take_time(&mut answer);
        }
        answer
    }

    fn extend(&mut self, value: &str, token: &str) -> Vec<String> {
        self.extend_by(&[value, "10000", token, token, &head(token), ""])
    }

    /// Extends, and leaves a note that lasts for so many milliseconds.
    fn extend_and_note(&mut self, value: &str, token: &str, note: &str, lasts: i64) -> Vec<String> {
        let ends = (self.time() + lasts).to_string();
        self.extend_by(&[value, "10000", token, token, &head(token), "", note, &ends])
    }

    fn extend_by(&mut self, args: &[&str]) -> Vec<String> {
        let mut answer = self.eval(EXTEND, args);
        if answer[0] != "lost" {
            self.take_time(&mut answer);
        }
        answer
    }

    /// Takes the server's time, by its own clock, from the end of an answer.
    fn take_time(&mut self, answer: &mut Vec<String>) {
        let told: i64 = answer.pop().and_then(|time| time.parse().ok()).expect("a time");
        let now = self.time();
        assert!((now - 10_000..=now).contains(&told), "{told}, not {now}");
    }

    /// Returns the server's time in ms.
    fn time(&mut self) -> i64 {
        let (seconds, micros): (i64, i64) = self.query(&["TIME"]);
        1000 * seconds + micros / 1000
    }

    fn release(&mut self, value: &str, token: &str) -> Vec<String> {
        let next = (token.parse::<u64>().expect("a token") + 1).to_string();
        self.eval(RELEASE, &[value, token, &next, CHANNEL, "0", "released", value, token, "", "", "0", "0"])
    }

    /// Releases after a run that began 5 s ago, of which this is the end.
    fn end(&mut self, value: &str, token: &str, end: &str) -> Vec<String> {
        let next = (token.parse::<u64>().expect("a token") + 1).to_string();
        let (run, success) = (format!("{},\"end\":\"{end}\"", head(token)), u8::from(end == "success").to_string());
        self.eval(RELEASE, &[value, token, &next, "", "0", "", "", token, &run, "", "5000", &success])
    }

    /// Returns the records of the runs, the newest first.
    fn runs(&mut self) -> Vec<serde_json::Value> {
        let runs: Vec<String> = self.query(&["ZREVRANGE", "l:runs", "0", "-1"]);
        runs.iter().map(|run| serde_json::from_str(run).expect("JSON")).collect()
    }

    fn query<T: redis::FromRedisValue>(&mut self, args: &[&str]) -> T {
        self.server.query(args)
    }

    /// Returns the lock, its time to live in ms rounded to seconds, and the fence.
    fn state(&mut self) -> (Option<String>, i64, Option<String>) {
        let left: i64 = self.query(&["PTTL", "l"]);
        if self.query::<bool>(&["EXISTS", "l:fence"]) {
            let lives: i64 = self.query(&["TTL", "l:fence"]);
            assert!((FENCE_SECONDS - 5..=FENCE_SECONDS).contains(&lives), "{lives}");
        }
        (self.query(&["GET", "l"]), (left + 500) / 1000 * 1000, self.query(&["GET", "l:fence"]))
    }
}

/// Returns a record that its node has still to complete.
fn head(token: &str) -> String {
    format!("{{\"token\":{token},\"id\":\"x\",\"holder\":\"web-1\"")
}

fn strings(parts: &[&str]) -> Vec<String> {
    parts.iter().map(ToString::to_string).collect()
}

fn held(value: &str, fence: &str) -> (Option<String>, i64, Option<String>) {
    (Some(value.into()), 10_000, Some(fence.into()))
}

fn free(fence: &str) -> (Option<String>, i64, Option<String>) {
    (None, 0, Some(fence.into()))
}

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

/// No server's clock can be set here, so the script reads what such a server would report.
#[test]
fn acquire_on_a_server_whose_clock_was_set_back_grants_to_who_has_known_it_for_long_enough() {
    let mut node = Node::start();
    let info = r"'redis_version:7.0.0\r\nrun_id:old\r\nuptime_in_seconds:-3600\r\n'";
    let script = ACQUIRE.replace("redis.call('INFO', 'server')", info);
    assert_ne!(script, ACQUIRE);
    let mut acquire = |known: &str| {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(&script).arg(5).arg(&["l", "l:fence", "l:done", "l:failures", "l:runs"]);
        cmd.arg(&["a", "10000", "7", "3000", "0", "", "", known, CHANNEL, "{"]);
        let answer: Vec<redis::Value> = cmd.query(&mut node.connection).expect("an answer");
        answer.into_iter().map(|v| redis::from_redis_value::<String>(v).expect("a string")).collect::<Vec<_>>()
    };
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
fn release_frees_the_lock_closes_the_token_and_notifies() {
    let mut node = Node::start();
    let mut listener = node.server.connect();
    let mut listener = listener.as_pubsub();
    listener.subscribe(CHANNEL).expect("a subscription");
    node.acquire("a", "7", "0");
    let message: String = listener.get_message().expect("a message").get_payload().expect("a text");
    assert_eq!(message, format!("acquired {PROOF}"));
    assert_eq!(node.acquire("b", "8", "0").last().map(String::as_str), Some("1"), "one listens");
    assert_eq!(node.release("b", "8"), strings(&["kept", "7"]), "not ours");
    assert_eq!(node.release("a", "6"), strings(&["kept", "7"]), "too late: a larger token was granted since");
    assert_eq!(node.state(), held("a", "7"));
    assert_eq!(node.release("a", "7"), strings(&["released", "8"]));
    assert_eq!(node.state(), free("8"));
    let message: String = listener.get_message().expect("a message").get_payload().expect("a text");
    assert_eq!(message, "released 1 a", "with the number of listeners");
    assert_eq!(node.extend("a", "7"), strings(&["lost", "8"]), "a late extension does no harm");
    assert_eq!(node.acquire("a", "8", "0"), strings(&["stale", "8"]));
    assert_eq!(node.release("a", "7"), strings(&["kept", "8"]));
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
        node.extend_by(&["a", "10000", "7", "", "", "", note, &ends.to_string()]);
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
    let mut listener = listener.as_pubsub();
    listener.subscribe(CHANNEL).expect("a subscription");
    node.acquire("a", "7", "0");
    let kept = ["a", "7", "8", CHANNEL, "0", "held", "5000", "7", "", "", "0", "0", "a kept", "5000"];
    assert_eq!(node.eval(RELEASE, &kept), strings(&["released", "8"]));
    assert_eq!(node.state(), (Some("a kept".into()), 5000, Some("8".into())));
    assert_eq!(node.extend("a", "7"), strings(&["lost", "8", "a kept"]), "a late extension");
    assert_eq!(node.eval(RELEASE, &kept), strings(&["kept", "8"]));
    let mut message = || listener.get_message().expect("a message").get_payload::<String>().expect("a text");
    assert_eq!([message(), message()], [&format!("acquired {PROOF}"), "held 1 5000"]);
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
    let kept = ["a", "7", "8", CHANNEL, "0", "held", "5000", "7", "", "", "0", "0", "a kept", "5000"];
    assert_eq!(node.eval(RELEASE, &kept), strings(&["released", "8"]));
    assert_eq!(node.state(), (Some("a kept".into()), 5000, Some("8".into())));
}

#[test]
fn tell_announces_a_release_with_the_number_of_listeners() {
    let node = Node::start();
    let mut listeners = [node.server.connect(), node.server.connect()];
    let mut listeners = listeners.iter_mut().map(Connection::as_pubsub).collect::<Vec<_>>();
    listeners.iter_mut().for_each(|listener| listener.subscribe(CHANNEL).expect("a subscription"));
    let told: i64 = redis::cmd("EVAL")
        .arg(TELL)
        .arg(0)
        .arg(CHANNEL)
        .arg("1")
        .arg("released")
        .arg("a")
        .query(&mut node.server.connect())
        .expect("an answer");
    assert_eq!(told, 2);
    let message: String = listeners[0].get_message().expect("a message").get_payload().expect("a text");
    assert_eq!(message, "released 1 a");
}

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
    assert_eq!(node.release("a", "7"), strings(&["released", "8"]));
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
    assert_eq!(node.end("a", "7", "success"), strings(&["released", "8"]));
}

#[test]
fn each_script_takes_one_round_trip_on_a_server_that_never_saw_it() {
    let mut node = Node::start();
    for (script, args) in [
        (ACQUIRE, &["a", "10000", "7", "0", "1", "", "2", "", CHANNEL, "{\"token\":7"][..]),
        (EXTEND, &["a", "10000", "7", "7", "{\"token\":7", ""]),
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

/// A slot's value: the number of slots follows the id.
fn of_slots(id: &str, slots: u16) -> String {
    format!(r#"{{"id":"{id}","slots":{slots},"holder":"x","release":""}}"#)
}

#[test]
fn a_slot_is_granted_extended_and_released_beside_those_of_as_many_slots_alone() {
    let mut node = Node::start();
    let locks = ["l:slot1", "l:slot2"];
    let eval = |node: &mut Node, script: &str, keys: &[&str], args: &[&str]| {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(script).arg(keys.len()).arg(keys).arg(args);
        let answer: Vec<redis::Value> = cmd.query(&mut node.connection).expect("an answer");
        answer.into_iter().map(|v| redis::from_redis_value(v).expect("a string")).collect::<Vec<String>>()
    };
    let acquire = |node: &mut Node, slot: usize, value: &str| {
        let lock = locks[slot];
        let keys = [lock, &format!("{lock}:fence"), "done", "failed", "runs", "l"];
        eval(node, ACQUIRE, &keys, &[value, "10000", "1", "0", "1", "", "", "", "l", "{", " 1"])
    };
    let extend = |node: &mut Node, slot: usize, value: &str| {
        let lock = locks[slot];
        let keys = [lock, &format!("{lock}:fence"), "step-down", "runs", "l"];
        eval(node, EXTEND, &keys, &[value, "10000", "1", "", "", ""]).swap_remove(0)
    };
    let release = |node: &mut Node, slot: usize, value: &str| {
        let lock = locks[slot];
        let keys = [lock, &format!("{lock}:fence"), "runs", "last-success", "l", locks[0], locks[1]];
        eval(node, RELEASE, &keys, &[value, "1", "2", "", "0", "", "", "1", "", "", "0", "0"]).swap_remove(0)
    };
    let (a, b, other) = (of_slots("a", 2), of_slots("b", 2), of_slots("c", 3));
    assert_eq!(acquire(&mut node, 0, &a)[0], "granted");
    assert_eq!(node.query::<String>(&["GET", "l"]), a);
    let refused = acquire(&mut node, 1, &other);
    assert_eq!((refused[0].as_str(), &refused[3]), ("held", &a));
    assert_eq!(node.acquire("one", "9", "0")[..1], ["held"]);
    assert_eq!(acquire(&mut node, 1, &b)[0], "granted");
    assert_eq!((extend(&mut node, 0, &a), extend(&mut node, 1, &b)), ("extended".into(), "extended".into()));
    // What was lost is restored.
    node.query::<()>(&["DEL", "l"]);
    assert_eq!(extend(&mut node, 0, &a), "extended");
    assert_eq!(release(&mut node, 0, &a), "released");
    assert!([&a, &b].contains(&&node.query::<String>(&["GET", "l"])), "one slot is still led");
    // Who has the resource for itself, or with another number of slots, has taken it from us.
    node.query::<()>(&["SET", "l", &other]);
    assert_eq!(extend(&mut node, 1, &b), "lost");
    node.query::<()>(&["SET", "l", &b]);
    assert_eq!(release(&mut node, 1, &b), "released");
    assert_eq!(node.query::<Option<String>>(&["GET", "l"]), None);
}

#[test]
fn a_survey_tells_of_the_resource_and_of_each_slot() {
    let mut node = Node::start();
    node.query::<()>(&["SET", "l:slot2", "x", "PX", "10000"]);
    node.query::<()>(&["SET", "l:slot2:fence", "7"]);
    let mut cmd = redis::cmd("EVAL");
    cmd.arg(SURVEY).arg(5).arg(&["l", "l:slot1", "l:slot1:fence", "l:slot2", "l:slot2:fence"]).arg("l");
    let mut seen: Vec<redis::Value> = cmd.query(&mut node.connection).expect("an answer");
    let left: i64 = redis::from_redis_value(seen.remove(7)).expect("a number");
    assert!((9000..=10000).contains(&left), "{left}");
    let seen: Vec<String> = seen.into_iter().map(|v| redis::from_redis_value(v).expect("a string")).collect();
    assert_eq!(seen, ["0", "", "-2", "", "-2", "", "x", "7"]);
}
