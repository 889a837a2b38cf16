//! A command for tests: it writes its start, a tick every few milliseconds, and its end, with the time of
//! CLOCK_MONOTONIC.
//!
//! witness LOG [for MILLISECONDS] [exit N] [ignore] [drain MILLISECONDS] [every MILLISECONDS] [crowd]
//!
//! It runs until it is killed unless a time is given. SIGTERM ends it like any process. With `ignore` it continues;
//! with `drain` it continues for the given time and then ends by itself. With `crowd` it uses up its user's processes
//! before each tick.

use std::{
    fs::OpenOptions,
    io::Write,
    process::{Child, Command},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
    time::{ClockId, clock_gettime},
};

fn main() {
    let mut args = std::env::args().skip(1);
    let log = args.next().expect("a log to write to");
    let mut log = OpenOptions::new().append(true).open(log).expect("a log that is there");
    let token = std::env::var("LEADERRUN_FENCING_TOKEN").unwrap_or_else(|_| "0".into());
    let mut write = |what: &str| {
        let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock"));
        let line = format!("{} {what} {} {token}\n", now.as_nanos(), std::process::id());
        log.write_all(line.as_bytes()).expect("a written line");
    };

    let began = Instant::now();
    let (mut end, mut status, mut drain, mut tick) = (None, 0, None, Duration::from_millis(2));
    let number = |args: &mut dyn Iterator<Item = String>| args.next().and_then(|n| n.parse().ok()).expect("a number");
    let mut heeded = SigSet::empty();
    let mut crowd: Option<Vec<Child>> = None;
    while let Some(word) = args.next() {
        match word.as_str() {
            "for" => end = Some(began + Duration::from_millis(number(&mut args))),
            "exit" => status = number(&mut args) as i32,
            "every" => tick = Duration::from_millis(number(&mut args)),
            "crowd" => crowd = Some(Vec::new()),
            "ignore" => heeded.add(Signal::SIGTERM),
            "drain" => {
                heeded.add(Signal::SIGTERM);
                drain = Some(Duration::from_millis(number(&mut args)));
            }
            word => panic!("what is {word:?}?"),
        }
    }
    heeded.thread_block().expect("blocked signals");
    let signals = SignalFd::with_flags(&heeded, SfdFlags::SFD_NONBLOCK).expect("a signalfd");
    // Whoever sees this may send a signal.
    write("start");

    while end.is_none_or(|end| Instant::now() < end) {
        std::thread::sleep(tick);
        if let Some(crowd) = &mut crowd {
            let before = crowd.len();
            while let Ok(child) = Command::new("sleep").arg("1000").spawn() {
                crowd.push(child);
            }
            if before == 0 {
                write("crowded");
            }
        }
        write("tick");
        if let Ok(Some(_)) = signals.read_signal() {
            write("term");
            end = drain.map(|drain| Instant::now() + drain).or(end);
        }
    }
    write(&format!("end={status}"));
    std::process::exit(status);
}
