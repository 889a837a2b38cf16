//! The simulated node replies as a real server does and stores the same: random sequences of the scripts' operations
//! run against both. What the simulation shows therefore holds for real servers.
//!
//! REDIS_SERVER=PROGRAM uses another server; OPERATIONS=N and SEED=S choose other sequences.

use std::time::{Duration, Instant};

use redis::{Cmd, Connection, Value};
use tokio::sync::mpsc;

use super::{ALL, node::Node, number, servers::Server};
use crate::{
    lease::FencingToken,
    lock::{LockValue, NodesKey, ReleaseOptions, ReleaseProof},
    once_per::{Note, Noted, OncePer, PastSuccess},
    redlock::simulated::{
        AcquireReply, Acquisition, Answer, Audience, DatedNote, ExtendReply, Keys, NodeTime, Notification,
        NotificationSender, acquired, extended, released,
    },
};

const LOCK: &str = "leaderrun:conformance";

/// Longer than any server has been up.
const NEVER: Duration = Duration::from_secs(100 * 24 * 60 * 60);

/// Times closer to each other than this may come in any order on a busy machine.
const NEAR: Duration = Duration::from_millis(300);

struct Pair {
    node: Node,
    keys: Keys,
    connection: Connection,
    began: Instant,
    random: fastrand::Rng,
}

impl Pair {
    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.random.usize(0..of.len())]
    }

    fn token(&mut self) -> FencingToken {
        let near = self.node.data.fence.get();
        FencingToken::new(match self.random.u8(0..8) {
            0 => 1_700_000_000_000_000 + self.random.u64(0..1000),
            1 if self.random.u8(0..20) == 0 => FencingToken::MAX.get(),
            1 => 0,
            _ => (near + self.random.u64(0..6)).saturating_sub(3).min(FencingToken::MAX.get()),
        })
    }

    fn ask(&mut self, cmd: &Cmd) -> Value {
        cmd.query(&mut self.connection).expect("an answer")
    }

    /// Returns what the server's clock shows.
    fn clock(&mut self) -> NodeTime {
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(&mut self.connection).expect("a time");
        NodeTime::from_millis(1000 * seconds + micros / 1000)
    }

    /// Runs one operation against both; returns what each replied.
    fn step(&mut self) -> (Seen, Seen) {
        let candidate = self.random.u8(0..4);
        let holder = ["a", "b", "\"release\":\"\"", "größe \" 夜"][usize::from(candidate)];
        let proof = ReleaseProof::new(candidate.into());
        let value = LockValue::of_candidate(candidate.into(), &proof, holder, None).expect("a value");
        let (token, ttl) = (self.token(), Duration::from_secs(self.random.u64(10..30)));
        let key = NodesKey { value, proof, token };
        let now = self.now();
        match self.random.u8(0..21) {
            0..9 => {
                let settle = if self.random.u8(0..6) == 0 { NEVER } else { Duration::ZERO };
                let once = |attempts| Some(OncePer { period: ttl, attempts });
                let once_per = [None, None, once(None), once(Some(1)), once(Some(2))][self.random.usize(0..5)];
                let (tell, known) = (self.random.bool(), self.random.bool());
                let freed = known.then(|| ReleaseProof::new(self.random.u128(0..5)));
                let settled = self.random.bool().then(|| self.node.run_id.clone());
                let ask = Acquisition { key, ttl, settle, tell, freed, once_per, settled };
                let cmd = self.keys.acquire(&ask);
                let real = acquired(self.ask(&cmd)).expect("an answer to acquire");
                (Seen::answer(real), Seen::answer(self.node.acquire(&ask, now)))
            }
            9..14 => {
                let mut lasts = Duration::from_secs(self.random.u64(10..30));
                if self.node.data.done.left(now).is_some_and(|left| left.abs_diff(lasts) < NEAR) {
                    // A millisecond must not decide which of two records lasts longer.
                    lasts += 2 * NEAR;
                }
                let note = match self.random.u8(0..6) {
                    0 => Some(Note { noted: Noted::Success, text: self.one(&["x", "y"]).into(), lasts }),
                    1 => Some(Note { noted: Noted::Failure, text: self.one(&["1", "2", "3"]).into(), lasts }),
                    _ => None,
                };
                let ends = self.clock() + note.as_ref().map_or(ttl, |note| note.lasts);
                let dated = note.clone().map(|note| DatedNote { note, ends });
                let cmd = self.keys.extend(&key, ttl, dated.as_ref());
                let real = extended(self.ask(&cmd)).expect("an answer to extend");
                (Seen::extended(real), Seen::extended(self.node.extend(&key, ttl, note.as_ref(), now)))
            }
            14..18 => {
                let hold = (self.random.u8(0..3) == 0).then_some(ttl);
                let options = ReleaseOptions { succeeded: self.random.u8(0..3) == 0, hold };
                let telling = if self.random.bool() { Audience::All } else { Audience::Nobody };
                let cmd = self.keys.release(&key, telling, options);
                let real = released(self.ask(&cmd));
                let tell = telling == Audience::All;
                (Seen::of(real), Seen::of(Some(self.node.release(&key, tell, options, now))))
            }
            18 => {
                let cmd = self.keys.ask_to_step_down(&key.value, ttl);
                cmd.exec(&mut self.connection).expect("an answer");
                self.node.ask_to_step_down(&key.value, ttl, now);
                Default::default()
            }
            19 => {
                // As if its time had expired.
                let gone = self.one(&["", ":done", ":failed", ":step-down"]);
                redis::cmd("DEL").arg(format!("{LOCK}{gone}")).exec(&mut self.connection).expect("an answer");
                match gone {
                    "" => self.node.data.lock = Default::default(),
                    ":done" => self.node.data.done = Default::default(),
                    ":step-down" => self.node.data.step_down = Default::default(),
                    _ => self.node.data.failed = Default::default(),
                }
                Default::default()
            }
            _ => {
                if self.random.u8(0..4) == 0 {
                    redis::cmd("FLUSHALL").exec(&mut self.connection).expect("an answer");
                    self.node.data = Default::default();
                }
                Default::default()
            }
        }
    }

    /// Returns what the server stores, and what the node stores.
    fn kept(&mut self) -> (Seen, Seen) {
        type Key = (Option<String>, i64);
        let [lock, fence, done, failed]: [Key; 4] = ["", ":fence", ":done", ":failed"].map(|suffix| {
            let name = format!("{LOCK}{suffix}");
            redis::pipe().get(&name).pttl(&name).query(&mut self.connection).expect("a value and its time")
        });
        let now = self.now();
        let data = &self.node.data;
        let fence_of_server = fence.0.map_or(0_u64, |fence| fence.parse().expect("a number"));
        let real = Seen {
            what: format!("{:?}", (&lock.0, FencingToken::new(fence_of_server), &done.0, &failed.0)),
            left: [lock.1, done.1, failed.1].map(|left| left.max(0)).into(),
        };
        let simulated = [&data.lock, &data.done, &data.failed];
        let [lock, done, failed] = simulated.map(|key| key.get(now).map(ToOwned::to_owned));
        let left = |key: &super::node::Key| key.left(now).map_or(0, |left| left.as_millis() as i64);
        let what = format!("{:?}", (&lock, data.fence, &done, &failed));
        (real, Seen { what, left: simulated.map(left).into() })
    }
}

/// What a server or a node showed: values that must be the same, and times in ms that may differ by the delays of a
/// busy machine.
#[derive(Debug, Default)]
struct Seen {
    what: String,
    left: Vec<i64>,
}

impl Seen {
    fn of(what: impl std::fmt::Debug) -> Self {
        Seen { what: format!("{what:?}"), left: Vec::new() }
    }

    /// The clocks of both show any times.
    fn extended(reply: ExtendReply) -> Self {
        let time = NodeTime::from_millis(0);
        Seen::of(match reply {
            ExtendReply::Renewed { step_down, .. } => ExtendReply::Renewed { step_down, time },
            ExtendReply::Restored { .. } => ExtendReply::Restored { time },
            reply => reply,
        })
    }

    fn answer(mut acquired: AcquireReply) -> Self {
        acquired.time = None;
        let mut left = Vec::new();
        let mut take = |time: &mut Option<Duration>| left.extend(time.take().map(|time| time.as_millis() as i64));
        take(&mut acquired.failures.left);
        match &mut acquired.answer {
            Answer::Held { left, listeners, .. } => {
                take(left);
                *listeners = 0;
            }
            Answer::Succeeded(PastSuccess { left, .. }) => take(left),
            Answer::StartupGrace { left } => *left = Duration::ZERO,
            _ => {}
        }
        Seen { what: format!("{acquired:?}"), left }
    }

    fn is_like(&self, other: &Seen) -> bool {
        let near = |(a, b): (&i64, &i64)| (a - b).abs() < 2000;
        self.what == other.what && self.left.len() == other.left.len() && self.left.iter().zip(&other.left).all(near)
    }
}

#[test]
fn a_real_server_and_a_simulated_node_reply_and_store_alike() {
    let (operations, seed) = (number("OPERATIONS").unwrap_or(10_000), number("SEED").unwrap_or(1));
    let server = Server::start();
    let info: String = server.query(&["INFO", "server"]);
    let line = |name: &str| info.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().to_owned();
    let mut listener = server.connect();
    let mut listener = listener.as_pubsub();
    listener.subscribe(LOCK).expect("a subscription");
    let (sender, mut replies) = mpsc::channel(8);
    let notifications = NotificationSender(sender);

    let node = Node::new(&line("run_id:"), ALL);
    let (keys, connection, began) = (Keys::new(LOCK, 0), server.connect(), Instant::now());
    let mut pair = Pair { node, keys, connection, began, random: fastrand::Rng::with_seed(seed) };
    pair.node.listeners = 1;
    for operation in 0..operations {
        let (real, simulated) = pair.step();
        assert!(real.is_like(&simulated), "operation {operation} of seed {seed} answers {real:?}, not {simulated:?}");
        let (real, simulated) = pair.kept();
        assert!(real.is_like(&simulated), "operation {operation} of seed {seed} leaves {real:?}, not {simulated:?}");
        for told in std::mem::take(&mut pair.node.told) {
            notifications.message(&listener.get_message().expect("a message"));
            let message: Notification = replies.try_recv().expect("news");
            assert_eq!(message, told, "notifications, operation {operation} of seed {seed}");
        }
    }
    listener.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out");
    assert!(listener.get_message().is_err(), "the server sent more notifications");
    let version = Some(line("valkey_version:")).filter(|v| !v.is_empty()).unwrap_or_else(|| line("redis_version:"));
    println!("{operations} operations alike on {} {version}", line("server_name:"));
}
