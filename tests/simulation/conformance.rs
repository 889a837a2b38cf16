//! The server in memory replies as a real one does, and stores and publishes the same: random calls of the scripts run
//! against both. What the simulation shows therefore holds for real servers.
//!
//! REDIS_SERVER=PROGRAM uses another server; OPERATIONS=N and SEED=S choose other sequences.

use std::{cell::RefCell, rc::Rc, time::Duration};

use redis::{Cmd, Connection, Value, cmd};

use super::{
    ledger::Ledger,
    machine::Machine,
    network::Network,
    number,
    reply::Reply,
    server::{Client, Server as Simulated},
    servers::Server,
};
use crate::{
    clock::Moment,
    history::{EndedRun, RunResult},
    lease::FencingToken,
    lock::{LockValue, NodesKey, ReleaseOptions, ReleaseProof, Slot},
    once_per::{Note, Noted, OncePer, PeriodKey},
    redlock::{Acquisition, Audience, DatedNote, Keys, NodeTime, PresentRun, RunTimes, Settled, Tell},
};

const LOCK: &str = "leaderrun:conformance";

/// What follows that in the names of keys that may expire, beside the fence.
const NAMES: &[&str] = &["", ":done", ":failures", ":k:once-done", ":k:once-failures", ":step-down"];

/// Longer than any server has been up.
const NEVER: Duration = Duration::from_secs(100 * 24 * 60 * 60);

/// Times closer to each other than this may come in any order on a busy machine.
const NEAR: Duration = Duration::from_millis(300);

/// How much a time may differ on a busy machine, in milliseconds.
const TOLERANCE: i64 = 2000;

/// A real server and one in memory.
struct Pair {
    real: Connection,
    simulated: Rc<RefCell<Simulated>>,
    keys: Keys,
    run_id: String,
    fence: u64,
}

impl Pair {
    fn token(&self) -> FencingToken {
        FencingToken::new(match fastrand::u8(0..8) {
            0 => 1_700_000_000_000_000 + fastrand::u64(0..1000),
            1 if fastrand::u8(0..20) == 0 => FencingToken::MAX.get(),
            1 => 0,
            _ => (self.fence + fastrand::u64(0..6)).saturating_sub(3).min(FencingToken::MAX.get()),
        })
    }

    /// Returns what the real server's clock shows.
    fn clock(&mut self) -> NodeTime {
        let (seconds, micros): (u64, u64) = cmd("TIME").query(&mut self.real).expect("a time");
        NodeTime::from_millis(1000 * seconds + micros / 1000)
    }

    /// Returns a random call.
    fn call(&mut self) -> Cmd {
        let candidate = fastrand::u8(0..4);
        let holder = ["a", "b", "\"release\":\"\"", "größe \" 夜"][usize::from(candidate)];
        let proof = ReleaseProof::new(candidate.into());
        let value = LockValue::of_candidate(candidate.into(), &proof, holder, None).expect("a value");
        let (token, ttl) = (self.token(), Duration::from_secs(fastrand::u64(10..30)));
        let key = NodesKey { slot: Slot::ONLY, value, proof, token };
        match fastrand::u8(0..23) {
            0..9 => {
                let settle = if fastrand::u8(0..6) == 0 { NEVER } else { Duration::ZERO };
                let once = |attempts| Some(OncePer { period: ttl, attempts, key: key_of_period() });
                let once_per = [None, None, once(None), once(Some(1)), once(Some(2))][fastrand::usize(0..5)].clone();
                let freed = fastrand::bool().then(|| ReleaseProof::new(fastrand::u128(0..5)));
                let settled = fastrand::bool().then(|| self.run_id.clone());
                let tell = [Tell::Nobody, Tell::All, Tell::WokenWithUs { number: 7 }][fastrand::usize(0..3)];
                self.keys.acquire(&Acquisition { key, ttl, settle, tell, freed, once_per, settled })
            }
            9..14 => {
                let mut lasts = Duration::from_secs(fastrand::u64(10..30));
                let is_near = |left: Duration| left.abs_diff(lasts) < NEAR;
                if [":done", ":k:once-done"].into_iter().filter_map(|name| self.left(name)).any(is_near) {
                    // A millisecond must not decide which of two records lasts longer.
                    lasts += 2 * NEAR;
                }
                let note = match fastrand::u8(0..6) {
                    0 => Some((Noted::Success, one(&["x", "y"]))),
                    1 => Some((Noted::Failure, one(&["1", "2 {}", "3 {\"holder\":\"2\"}"]))),
                    _ => None,
                };
                let ends = self.clock();
                let note = note.map(|(noted, text)| Note { noted, key: key_of_period(), text, lasts });
                let dated = note.map(|note| DatedNote { ends: ends + note.lasts, note });
                let start = fastrand::bool().then(|| self.clock());
                let run = (fastrand::u8(0..4) > 0).then_some(PresentRun { token: self.token(), start });
                let settled = self.settled();
                self.keys.extend(&key, ttl, run.as_ref(), &settled, dated.as_ref())
            }
            14..18 => {
                let hold = (fastrand::u8(0..3) == 0).then_some(ttl);
                let run = (fastrand::u8(0..4) > 0).then(|| self.ended_run());
                let options = ReleaseOptions { succeeded: fastrand::u8(0..3) == 0, hold, run };
                let times = RunTimes { start: fastrand::bool().then(|| self.clock()), until: None };
                let audiences = [Audience::All, Audience::AllButUs, Audience::Counted, Audience::Nobody];
                let audience = audiences[fastrand::usize(0..audiences.len())];
                let settled = self.settled();
                self.keys.release(&key, audience, options, times, &settled)
            }
            18 => self.keys.ask_to_step_down(&key.value, ttl),
            // As if its time had expired.
            19 => cmd("DEL").arg(format!("{LOCK}{}", one(&[NAMES, &[":runs"]].concat()))).to_owned(),
            20 => self.keys.look(key_of_period().as_ref()),
            21 => self.keys.runs(fastrand::usize(0..3), fastrand::usize(0..20)),
            _ if fastrand::u8(0..4) == 0 => cmd("FLUSHALL"),
            _ => cmd("PING"),
        }
    }

    fn settled(&mut self) -> Settled {
        let up_for = if fastrand::u8(0..3) == 0 { NEVER } else { Duration::ZERO };
        let or_until = fastrand::bool().then(|| self.clock() + NEVER);
        Settled { up_for, or_process: fastrand::bool().then(|| self.run_id.clone()), or_until }
    }

    fn ended_run(&self) -> EndedRun {
        let (now, ran) = (Moment::now(), Duration::from_secs(fastrand::u64(0..100)));
        let result =
            [RunResult::Success, RunResult::Exit(3), RunResult::Signal(9), RunResult::LeaseLost][fastrand::usize(0..4)];
        EndedRun { token: self.token(), began: now - ran, ended: now, is_end_seen: true, result }
    }

    /// Runs a call against both; returns what each replied.
    fn ask(&mut self, call: &Cmd) -> [Reply; 2] {
        let parts: Vec<Vec<u8>> = call
            .args_iter()
            .map(|part| match part {
                redis::Arg::Simple(bytes) => bytes.to_vec(),
                _ => Vec::new(),
            })
            .collect();
        let real = match call.query::<Value>(&mut self.real) {
            Ok(value) => reply_of(value),
            Err(error) => Reply::Error(error.to_string()),
        };
        let simulated = if parts[0] == b"EVAL" {
            Simulated::eval(&self.simulated, &parts[1..])
        } else {
            let mut client = Client { number: 1, sender: None, resp3: false };
            self.simulated.borrow_mut().execute(&mut client, &parts)
        };
        [real, simulated]
    }

    /// Returns what is stored, on both.
    fn kept(&mut self) -> Vec<[Reply; 2]> {
        let names = [":fence", ":last-success"].iter().chain(NAMES).map(|suffix| format!("{LOCK}{suffix}"));
        let mut kept: Vec<_> =
            names.flat_map(|name| ["GET", "PTTL"].map(|what| self.ask(cmd(what).arg(&name)))).collect();
        let runs = format!("{LOCK}:runs");
        kept.push(self.ask(cmd("ZREVRANGE").arg(&runs).arg(0).arg(-1)));
        kept.push(self.ask(cmd("PTTL").arg(&runs)));
        kept
    }

    fn left(&mut self, suffix: &str) -> Option<Duration> {
        match self.ask(cmd("PTTL").arg(format!("{LOCK}{suffix}"))) {
            [Reply::Int(left @ 0..), _] => Some(Duration::from_millis(left as u64)),
            _ => None,
        }
    }
}

/// Draws the name of a period, or none.
fn key_of_period() -> Option<PeriodKey> {
    fastrand::bool().then(|| PeriodKey::new("k".into()))
}

fn one(of: &[&str]) -> String {
    of[fastrand::usize(0..of.len())].to_owned()
}

fn reply_of(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bulk(bytes),
        Value::SimpleString(text) => Reply::Status(text),
        Value::Okay => Reply::Status("OK".into()),
        Value::Array(parts) => Reply::Array(parts.into_iter().map(reply_of).collect()),
        other => Reply::Error(format!("{other:?}")),
    }
}

/// Returns whether two replies are the same, but for times that a busy machine delays.
fn alike([real, simulated]: &[Reply; 2]) -> bool {
    match (real, simulated) {
        (Reply::Int(a), Reply::Int(b)) if a.signum() == b.signum() => (a - b).abs() < TOLERANCE,
        (Reply::Array(a), Reply::Array(b)) if starts_with(a, b"young") && a.len() == 4 => {
            a.len() == b.len() && a[..3] == b[..3]
        }
        (Reply::Array(a), Reply::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(&[a.clone(), b.clone()]))
        }
        (Reply::Bulk(a), Reply::Bulk(b)) => without_times(a) == without_times(b),
        (a, b) => a == b,
    }
}

/// Returns a record of a run without the times that its server has added, and anything else as it is.
fn without_times(text: &[u8]) -> Vec<u8> {
    let Ok(mut record) = serde_json::from_slice::<serde_json::Value>(text) else { return text.to_vec() };
    let Some(fields) = record.as_object_mut().filter(|fields| fields.contains_key("start")) else {
        return text.to_vec();
    };
    for time in ["start", "seen"] {
        if let Some(at) = fields.get_mut(time) {
            *at = at.is_u64().into();
        }
    }
    record.to_string().into_bytes()
}

fn starts_with(parts: &[Reply], word: &[u8]) -> bool {
    parts.first() == Some(&Reply::Bulk(word.to_vec()))
}

#[test]
fn a_real_server_and_one_in_memory_reply_store_and_publish_alike() {
    let (operations, seed) = (number("OPERATIONS").unwrap_or(3_000), number("SEED").unwrap_or(1));
    fastrand::seed(seed);
    let server = Server::start();
    let info: String = server.query(&["INFO", "server"]);
    let line = |name: &str| info.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().to_owned();
    let mut listener = server.connect();
    let mut listener = listener.as_pubsub();
    // A listener to a pattern isn't counted.
    listener.psubscribe(format!("{LOCK}*")).expect("a subscription");
    // More than three stand by: a release wakes one of them.
    let keys = Keys::new(LOCK, 0);
    let channels = [7, 200, 600, 1000].map(|number| [keys.wake_up(number), LOCK.to_owned()]);
    let mut standbys = channels.each_ref().map(|_| server.connect());
    let mut standbys = standbys.each_mut().map(|standby| standby.as_pubsub());
    for (standby, channels) in standbys.iter_mut().zip(&channels) {
        standby.subscribe(channels).expect("a subscription");
    }

    let ledger = Rc::new(Ledger::new(false));
    let machine = Machine::new(0, &Network::new(1, 1), &ledger, 1.0, 0);
    // Both tell their time, and end notes by it.
    let wall: (i64, i64) = cmd("TIME").query(&mut server.connect()).expect("a time");
    machine.set_clock(1_000_000 * wall.0 + wall.1 - machine.wall().as_micros() as i64);
    let mut simulated = Simulated::start(&machine, Default::default(), true);
    simulated.run_id = line("run_id:");
    for (number, channel) in
        channels.iter().enumerate().flat_map(|(number, both)| both.iter().map(move |c| (number, c)))
    {
        let listening = ["SUBSCRIBE", channel.as_str()].map(|part| part.as_bytes().to_vec());
        simulated.execute(&mut Client { number: number as u64, sender: None, resp3: false }, &listening);
    }
    let simulated = Rc::new(RefCell::new(simulated));
    let mut pair = Pair { real: server.connect(), simulated, keys, run_id: line("run_id:"), fence: 0 };
    for operation in 0..operations {
        let call = pair.call();
        let replies = pair.ask(&call);
        assert!(alike(&replies), "operation {operation} of seed {seed}: {replies:?}");
        let kept = pair.kept();
        assert!(kept.iter().all(alike), "operation {operation} of seed {seed} leaves {kept:?}");
        if let Reply::Bulk(fence) = &kept[0][0] {
            pair.fence = String::from_utf8_lossy(fence).parse().expect("a number");
        }
        // The newest comes first.
        let published: Vec<Vec<u8>> = pair.simulated.borrow_mut().published.drain(..).rev().collect();
        for message in published {
            let told = listener.get_message().expect("a message");
            assert_eq!(told.get_payload_bytes(), message, "operation {operation} of seed {seed}");
        }
    }
    listener.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out");
    assert!(listener.get_message().is_err(), "the server published more");
    let version = Some(line("valkey_version:")).filter(|v| !v.is_empty()).unwrap_or_else(|| line("redis_version:"));
    println!("{operations} operations alike on {} {version}", line("server_name:"));
}
