//! A simulation of the program itself: its election, leadership, rounds, connections and scripts, on virtual time, with
//! servers, a network and guards in memory. A schedule follows entirely from its seed.
//!
//! SCHEDULES=N runs N schedules, from FROM on; SEED=S runs one and prints its trace; BROKEN=RULE leaves out a rule.

pub mod command;
mod conformance;
// Shared with the tests of processes; the simulation uses a part of it.
#[path = "../support/connection.rs"]
mod connection;
mod drill;
#[allow(dead_code)]
#[path = "../support/environment.rs"]
mod environment;
mod instance;
mod lasting_cuts;
mod ledger;
mod lua;
pub mod machine;
mod model;
mod mutants;
mod network;
mod node;
#[path = "../support/ports.rs"]
mod ports;
#[allow(dead_code)]
#[path = "../support/processes.rs"]
mod processes;
mod reply;
mod schedule;
mod server;
#[allow(dead_code)]
#[path = "../support/servers.rs"]
mod servers;
mod stream;
mod votes;
#[path = "../support/waiting.rs"]
mod waiting;
mod world;

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use processes::signal;
use waiting::{LONG, eventually};

use self::{schedule::Schedule, world::Outcome};
use crate::broken::leave_out;

/// How many schedules run in a test, unless SCHEDULES says otherwise.
const SCHEDULES: u64 = 25;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|n| n.parse().expect(variable))
}

/// Runs the schedules of these seeds, on all processors, until something goes wrong: those that are `wanted`, without the
/// rule `left_out`.
fn sweep(seeds: Range<u64>, wanted: fn(&Schedule) -> bool, left_out: &'static str) -> Vec<(u64, Outcome)> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, stopped) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let work = || {
        leave_out(left_out);
        let mut outcomes = Vec::new();
        while !stopped.load(Relaxed) {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                break;
            }
            if wanted(&Schedule::drawn(seed)) {
                let outcome = world::run(seed, false);
                stopped.fetch_or(outcome.wrong.is_some(), Relaxed);
                outcomes.push((seed, outcome));
            }
        }
        outcomes
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a schedule")).collect()
    })
}

/// Returns what goes wrong first, and with which seed.
fn first_wrong(outcomes: &[(u64, Outcome)]) -> Option<(u64, &str)> {
    outcomes.iter().filter_map(|(seed, outcome)| Some((*seed, outcome.wrong.as_deref()?))).min()
}

#[test]
fn no_schedule_breaks_a_promise() {
    let left_out = std::env::var("BROKEN").map_or("", |rule| rule.leak());
    if let Some(seed) = number("SEED") {
        leave_out(left_out);
        println!("{:#?}", world::run(seed, true));
        return;
    }
    let began = Instant::now();
    let from = number("FROM").unwrap_or(0);
    let outcomes = sweep(from..from + number("SCHEDULES").unwrap_or(SCHEDULES), |_| true, left_out);
    if let Some((seed, wrong)) = first_wrong(&outcomes) {
        let again = format!("SEED={seed} cargo test --bin leaderrun simulation::no_schedule -- --nocapture");
        panic!("seed {seed}: {wrong}; its trace: {again}");
    }
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(|(_, outcome)| of(outcome)).sum::<u64>();
    let (schedules, commands, executed) = (outcomes.len(), sum(|o| o.commands), sum(|o| o.executed));
    let an_hour = schedules as f64 / began.elapsed().as_secs_f64() * 3600.0;
    println!("{schedules} schedules, {commands} commands, {executed} requests: nothing is wrong; {an_hour:.0} an hour");
    for (index, after) in ["faults", "a release", "a crash of the leader's machine"].iter().enumerate() {
        let longest = outcomes.iter().map(|(seed, outcome)| (outcome.vacant[index], seed)).max().expect("a schedule");
        println!("longest without a leader after {after}: {:?}, seed {}", longest.0, longest.1);
    }
    assert!(commands > schedules as u64, "too little happened");
}

#[test]
fn a_schedule_follows_from_its_seed() {
    for seed in 0..4 {
        let [first, second] = [(); 2].map(|()| world::run(seed, false));
        assert_eq!((first.hash, first.executed), (second.hash, second.executed), "seed {seed}");
    }
}
