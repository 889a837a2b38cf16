//! A real server with one lock, `l`, and its scripts.

use std::time::Duration;

use redis::Connection;

use crate::support::Server;

/// A script, after those whose functions it calls.
macro_rules! script {
    ($($file:literal),+) => {
        concat!($(include_str!(concat!("../../src/redlock/scripts/", $file))),+)
    };
}

pub(super) const ACQUIRE: &str = script!("settled.lua", "acquire.lua");
pub(super) const EXTEND: &str = script!("settled.lua", "restored.lua", "extend.lua");
pub(super) const LOOK: &str = include_str!("../../src/redlock/scripts/look.lua");
pub(super) const TELL: &str = include_str!("../../src/redlock/scripts/tell.lua");
pub(super) const SURVEY: &str = include_str!("../../src/redlock/scripts/survey.lua");
pub(super) const RUNS: &str = include_str!("../../src/redlock/scripts/runs.lua");
pub(super) const RELEASE: &str = script!("settled.lua", "restored.lua", "release.lua");

/// What proves the release of the lock with this value, which has its hash (RFC 3174, test 1).
pub(super) const PROOF: &str = "abc";
pub(super) const RELEASED: &str = r#"{"id":"1","holder":"x","release":"a9993e364706816aba3e25717850c26c9cd0d89d"}"#;

pub(super) const CHANNEL: &str = "l:db2";

/// The fence key lives for 30 days after its last use.
pub(super) const FENCE_SECONDS: i64 = 30 * 24 * 60 * 60;

pub(super) struct Node {
    pub server: Server,
    connection: Connection,
}

impl Node {
    pub(super) fn start() -> Self {
        let server = Server::start();
        let connection = server.connect();
        Node { server, connection }
    }

    pub(super) fn eval(&mut self, script: &str, args: &[&str]) -> Vec<String> {
        let keys: &[&str] = match script {
            ACQUIRE => &["l", "l:fence", "l:done", "l:failures", "l:runs"],
            EXTEND if args.len() > 9 => &["l", "l:fence", "l:step-down", "l:runs", "l:done"],
            EXTEND => &["l", "l:fence", "l:step-down", "l:runs"],
            LOOK => &["l", "l:fence", "l:done"],
            RUNS => &["l:runs", "l:last-success"],
            _ => &["l", "l:fence", "l:runs", "l:last-success"],
        };
        self.eval_on(script, keys, args)
    }

    /// Runs a script on keys other than those of the lock `l`.
    pub(super) fn eval_on(&mut self, script: &str, keys: &[&str], args: &[&str]) -> Vec<String> {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(script).arg(keys.len()).arg(keys).arg(args);
        let answer: Vec<redis::Value> = cmd.query(&mut self.connection).expect("an answer");
        answer.into_iter().map(|v| redis::from_redis_value(v).expect("a string")).collect()
    }

    /// Runs `acquire` and leaves out the second part of the reply, the server's run id, and with a grant the last, its time.
    pub(super) fn acquire(&mut self, value: &str, token: &str, settle: &str) -> Vec<String> {
        self.acquire_once(value, token, settle, "")
    }

    /// Does the same with a limit: `may_fail` is how often the command may fail in its period.
    pub(super) fn acquire_once(&mut self, value: &str, token: &str, settle: &str, may_fail: &str) -> Vec<String> {
        let mut answer =
            self.eval(ACQUIRE, &[value, "10000", token, settle, CHANNEL, PROOF, may_fail, "", CHANNEL, &head(token)]);
        let run_id = answer.remove(1);
        self.check_run_id(&run_id);
        if answer[0] == "granted" {
            self.take_time(&mut answer);
        }
        answer
    }

    pub(super) fn extend(&mut self, value: &str, token: &str) -> Vec<String> {
        self.extend_by(&[value, "10000", token, token, &head(token), "", "0", "", ""])
    }

    /// Extends, and leaves a note that lasts for so many milliseconds.
    pub(super) fn extend_and_note(&mut self, value: &str, token: &str, note: &str, lasts: i64) -> Vec<String> {
        let ends = (self.time() + lasts).to_string();
        self.extend_by(&[value, "10000", token, token, &head(token), "", "0", "", "", note, &ends])
    }

    pub(super) fn extend_by(&mut self, args: &[&str]) -> Vec<String> {
        let mut answer = self.eval(EXTEND, args);
        if answer[0] != "lost" {
            let run_id = answer.pop().expect("an id");
            self.check_run_id(&run_id);
            assert_eq!(answer.pop().as_deref(), Some("0"), "a server need not have been up for any time");
            self.take_time(&mut answer);
        }
        answer
    }

    fn check_run_id(&mut self, run_id: &str) {
        assert!(self.query::<String>(&["INFO", "server"]).contains(&format!("run_id:{run_id}\r\n")));
    }

    /// Takes the server's time, by its own clock, from the end of an answer.
    pub(super) fn take_time(&mut self, answer: &mut Vec<String>) {
        let told: i64 = answer.pop().and_then(|time| time.parse().ok()).expect("a time");
        let now = self.time();
        assert!((now - 10_000..=now).contains(&told), "{told}, not {now}");
    }

    /// Returns the server's time in ms.
    pub(super) fn time(&mut self) -> i64 {
        let (seconds, micros): (i64, i64) = self.query(&["TIME"]);
        1000 * seconds + micros / 1000
    }

    pub(super) fn release(&mut self, value: &str, token: &str) -> Vec<String> {
        let next = (token.parse::<u64>().expect("a token") + 1).to_string();
        self.eval(RELEASE, &[value, token, &next, CHANNEL, "0", "released", value, token, "", "", "0", "0"])
    }

    /// Releases after a run that began 5 s ago, of which this is the end.
    pub(super) fn end(&mut self, value: &str, token: &str, end: &str) -> Vec<String> {
        let next = (token.parse::<u64>().expect("a token") + 1).to_string();
        let (run, success) = (format!("{},\"end\":\"{end}\"", head(token)), u8::from(end == "success").to_string());
        self.eval(RELEASE, &[value, token, &next, "", "0", "", "", token, &run, "", "5000", &success])
    }

    /// Returns the records of the runs, the newest first.
    pub(super) fn runs(&mut self) -> Vec<serde_json::Value> {
        let runs: Vec<String> = self.query(&["ZREVRANGE", "l:runs", "0", "-1"]);
        runs.iter().map(|run| serde_json::from_str(run).expect("JSON")).collect()
    }

    pub(super) fn query<T: redis::FromRedisValue>(&mut self, args: &[&str]) -> T {
        self.server.query(args)
    }

    /// Returns the lock, its time to live in ms rounded to seconds, and the fence.
    pub(super) fn state(&mut self) -> (Option<String>, i64, Option<String>) {
        let left: i64 = self.query(&["PTTL", "l"]);
        if self.query::<bool>(&["EXISTS", "l:fence"]) {
            let lives: i64 = self.query(&["TTL", "l:fence"]);
            assert!((FENCE_SECONDS - 5..=FENCE_SECONDS).contains(&lives), "{lives}");
        }
        (self.query(&["GET", "l"]), (left + 500) / 1000 * 1000, self.query(&["GET", "l:fence"]))
    }
}

/// Subscribes a connection to channels beside that of the lock.
pub(super) fn listen<'a>(connection: &'a mut Connection, beside: &[&'static str]) -> redis::PubSub<'a> {
    let mut listener = connection.as_pubsub();
    listener.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    for channel in beside.iter().chain([&CHANNEL]) {
        listener.subscribe(channel).expect("a subscription");
    }
    listener
}

pub(super) fn next_message(listener: &mut redis::PubSub) -> String {
    listener.get_message().expect("a message").get_payload().expect("a text")
}

/// Returns a record that its node has still to complete.
pub(super) fn head(token: &str) -> String {
    format!("{{\"token\":{token},\"id\":\"x\",\"holder\":\"web-1\"")
}

pub(super) fn strings(parts: &[&str]) -> Vec<String> {
    parts.iter().map(ToString::to_string).collect()
}

pub(super) fn held(value: &str, fence: &str) -> (Option<String>, i64, Option<String>) {
    (Some(value.into()), 10_000, Some(fence.into()))
}

pub(super) fn free(fence: &str) -> (Option<String>, i64, Option<String>) {
    (None, 0, Some(fence.into()))
}
