//! A node that sends nonsense, floods, or never ends a reply: nothing panics, memory doesn't grow, and nobody loses the
//! lead while a quorum of the others is well.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::support::{Leaderrun, Running, Servers, Witnesses, eventually, unique};

/// Long enough for one processor to give every process a turn during a flood.
const TTL: Duration = Duration::from_secs(2);

/// The limit, in KiB, on the memory that a node can make leaderrun take.
const GROWN: u64 = 8 * 1024;

/// What every client is sent: a beginning once, then the rest repeatedly.
#[derive(Clone, Copy)]
struct Attack {
    beginning: &'static [u8],
    then: &'static [u8],
    /// Sends only in reply to requests.
    answers: bool,
}

const fn flood(beginning: &'static [u8], then: &'static [u8]) -> Attack {
    Attack { beginning, then, answers: false }
}

const fn answer(then: &'static [u8]) -> Attack {
    Attack { beginning: b"", then, answers: true }
}

/// A hostile server, which counts the bytes that it could send.
struct Hostile {
    url: String,
    sent: Arc<AtomicU64>,
}

impl Hostile {
    fn start(attack: Attack) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", crate::support::free_port())).expect("a free port");
        let url = format!("redis://{}", listener.local_addr().expect("its address"));
        let sent = Arc::new(AtomicU64::new(0));
        let counted = sent.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let counted = counted.clone();
                thread::spawn(move || serve(client, attack, &counted));
            }
        });
        Hostile { url, sent }
    }
}

fn serve(mut client: TcpStream, attack: Attack, sent: &AtomicU64) {
    let mut asked = [0; 16384];
    if client.write_all(attack.beginning).is_err() {
        return;
    }
    let many = if attack.answers { attack.then.to_vec() } else { attack.then.repeat(65536 / attack.then.len().max(1)) };
    loop {
        if attack.answers && !matches!(client.read(&mut asked), Ok(1..)) {
            return;
        }
        if client.write_all(&many).is_err() {
            return;
        }
        sent.fetch_add(many.len() as u64, Relaxed);
        if many.is_empty() {
            // Sends nothing more and keeps the connection open.
            while matches!(client.read(&mut asked), Ok(1..)) {}
            return;
        }
    }
}

/// Returns the peak memory of a process, in KiB.
fn peak(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Checks that a leader and a standby withstand an attack for several ttl.
fn is_borne(attack: Attack) {
    let servers = Servers::settled(2, TTL);
    let hostile = Hostile::start(attack);
    let (resource, witnesses) = (unique("hostile"), Witnesses::new());
    let urls = format!("{},{}", hostile.url, servers.urls());
    let start = |job: &[&str]| {
        let options = ["-R", &urls, "-r", &resource, "-t", "2s"];
        Leaderrun::new().args(options).args(witnesses.command(job)).spawn()
    };
    let leader = start(&["drain", "1"]);
    witnesses.started(1);
    let standby = start(&["drain", "1"]);
    servers.listened_to(&resource, 1);
    let (began, before) = (Instant::now(), [peak(leader.pid()), peak(standby.pid())]);
    eventually("three ttl", || (began.elapsed() > 3 * TTL).then_some(()));
    witnesses.ticks_on();
    assert_eq!(witnesses.all().len(), 1, "the lead was lost: {}", leader.stderr());
    let grown = [peak(leader.pid()) - before[0], peak(standby.pid()) - before[1]];
    assert!(
        grown.iter().all(|&grown| grown < GROWN),
        "grown by {grown:?} KiB; {} bytes were sent",
        hostile.sent.load(Relaxed)
    );
    witnesses.stop_last();
    assert_eq!(leader.wait().code(), 0);
    witnesses.started(2);
    witnesses.stop_last();
    ends_well(standby);
    witnesses.check();
}

fn ends_well(instance: Running) {
    let output = instance.wait();
    assert_eq!(output.code(), 0, "{}", output.stderr);
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
}

#[test]
fn meaningless_bytes() {
    is_borne(flood(b"\x00\xff\x80\r\n\r\n$$$***", b"\x13\x37\xfe\r\n@!?~"));
}

#[test]
fn a_bulk_string_that_never_ends() {
    is_borne(flood(b"$1000000000\r\n", b"x"));
}

#[test]
fn a_bulk_string_longer_than_possible() {
    is_borne(flood(b"$9223372036854775808\r\n", b"x"));
}

#[test]
fn a_bulk_string_of_the_greatest_length() {
    is_borne(flood(b"$9223372036854775807\r\n", b"x"));
}

#[test]
fn an_array_that_never_ends() {
    is_borne(flood(b"*2147483647\r\n", b":1\r\n"));
}

#[test]
fn endlessly_nested_arrays() {
    is_borne(flood(b"", b"*1\r\n"));
}

#[test]
fn arrays_larger_than_memory() {
    is_borne(answer(b"*9223372036854775807\r\n"));
}

#[test]
fn a_line_that_never_ends() {
    is_borne(flood(b"+", b"a"));
}

#[test]
fn unsolicited_replies() {
    is_borne(flood(b"", b"+OK\r\n"));
}

#[test]
fn endless_pushes() {
    is_borne(flood(b"", b">3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\ny\r\n"));
}

#[test]
fn endless_notifications() {
    is_borne(flood(b"", b">3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$14\r\nreleased 1 abc\r\n"));
}

/// While another node is unreachable, its reply is one of the two that a quorum needs.
#[test]
fn an_absurd_fence_while_another_node_is_unreachable() {
    let servers = Servers::settled(2, TTL);
    let hostile = Hostile::start(answer(b"*3\r\n$5\r\nstale\r\n$1\r\nr\r\n$16\r\n9007199254740990\r\n"));
    let (resource, witnesses) = (unique("fence"), Witnesses::new());
    let urls = format!("{},{}", hostile.url, servers.urls());
    servers.0[1].freeze();
    let options = ["-vv", "-R", &urls, "-r", &resource, "-t", "2s"];
    let instance = Leaderrun::new().args(options).args(witnesses.command(&["drain", "1"])).spawn();
    eventually("some rounds", || (instance.stderr().matches("lost a round").count() >= 8).then_some(()));
    let fence =
        servers.0[0].get(&format!("{resource}:fence")).map_or(0, |fence| fence.parse::<u64>().expect("a number"));
    assert!(fence < 9_000_000_000_000_000, "{fence}");
    servers.0[1].thaw();
    witnesses.started(1);
    witnesses.stop_last();
    assert_eq!(instance.wait().code(), 0);
}

#[test]
fn replies_of_other_types() {
    let answers = [
        &b"+OK\r\n"[..],
        b":5\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5\r\n",
        b"(3492890328409238509324850943850943825024385\r\n",
        b"%1\r\n+a\r\n:1\r\n",
        b"*2\r\n$7\r\ngranted\r\n:-1\r\n",
        b"*5\r\n$7\r\ngranted\r\n$1\r\nr\r\n$1\r\nx\r\n$1\r\n0\r\n$2\r\n-2\r\n",
        b"*-1\r\n",
        b"$-1\r\n",
        b"-OOPS\xff\xfe no such thing\r\n",
        b"*3\r\n$5\r\nstale\r\n$1\r\nr\r\n$16\r\n9007199254740990\r\n",
        b"*3\r\n$5\r\nstale\r\n$1\r\nr\r\n$20\r\n18446744073709551615\r\n",
        b"*5\r\n$4\r\ndone\r\n$1\r\nr\r\n$1\r\n0\r\n$2\r\n{}\r\n:90000\r\n",
        b"*5\r\n$5\r\nspent\r\n$1\r\nr\r\n$1\r\n0\r\n$4\r\n9 {}\r\n:90000\r\n",
        b"*2\r\n$4\r\nlost\r\n$16\r\n9007199254740990\r\n",
    ];
    thread::scope(|scope| {
        for then in answers {
            scope.spawn(|| is_borne(answer(then)));
        }
    });
}

#[test]
fn silence_after_half_a_reply() {
    is_borne(Attack { beginning: b"*5\r\n$7\r\ngran", then: b"", answers: true });
}
