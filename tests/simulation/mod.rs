//! A simulation of the protocol: the real rules of the lease and the real decisions of election and leadership, against
//! nodes in memory, in virtual time. Messages are delayed beyond a ttl, lost and reordered; nodes crash and come back
//! empty, with old data, or with clocks of another rate; electors are frozen and killed. A schedule follows entirely
//! from its seed.
//!
//! SCHEDULES=N runs N schedules; SEED=S runs one and prints its trace.

mod conformance;
// Shared with the tests of processes; the simulation uses a part of it.
#[path = "../support/connection.rs"]
mod connection;
mod instance;
mod node;
#[path = "../support/ports.rs"]
mod ports;
#[allow(dead_code)]
#[path = "../support/processes.rs"]
mod processes;
#[allow(dead_code)]
#[path = "../support/servers.rs"]
mod servers;
#[path = "../support/waiting.rs"]
mod waiting;
mod world;

use std::{sync::LazyLock, time::Duration};

use processes::signal;
use waiting::{LONG, eventually};
use world::{MS, World};

use crate::clock::Moment;

const TTL: Duration = Duration::from_secs(1);

/// The time that killing may take at this ttl.
const MARGIN: Duration = Duration::from_millis(50);

/// Returns the moment `nanos` nanoseconds after boot.
fn at(nanos: u64) -> Moment {
    static BOOT: LazyLock<Moment> = LazyLock::new(|| Moment::now() - Duration::MAX);
    *BOOT + Duration::from_nanos(nanos)
}

/// The protocol's rules, each of which can be left out to see that the simulation finds it.
#[derive(Clone, Copy, Debug)]
struct Rules {
    startup_grace: bool,
    token_check: bool,
    release_check: bool,
    drift: bool,
    configured_nodes: bool,
}

const ALL: Rules =
    Rules { startup_grace: true, token_check: true, release_check: true, drift: true, configured_nodes: true };

/// What is to happen. Times are in nanoseconds, 0 for never.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    seed: u64,
    nodes: usize,
    instances: usize,
    lasts: u64,
    once: bool,
    period: Duration,
    hold: Duration,
    keeps_data: bool,
    clocks: Clocks,
    loss: f64,
    crashes: u64,
    freezes: u64,
    kills: u64,
    restart_after: u64,
    command_lasts: u64,
    /// How many of a hundred campaigns are the only one of their process, as with `--try`.
    impatient: u8,
}

/// The rates of the clocks, which differ by at most 1 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clocks {
    Alike,
    /// Each is fast or slow.
    Mixed,
    /// The instances' clocks are slow and the nodes' fast, so that a lease ends early where it is counted.
    Apart,
}

impl Clocks {
    fn of_node(self, random: &mut fastrand::Rng) -> f64 {
        self.rate(self == Clocks::Apart || random.bool())
    }

    fn of_instance(self, random: &mut fastrand::Rng) -> f64 {
        self.rate(self != Clocks::Apart && random.bool())
    }

    fn rate(self, fast: bool) -> f64 {
        match (self, fast) {
            (Clocks::Alike, _) => 1.0,
            (_, true) => 1.0049,
            (_, false) => 0.9951,
        }
    }
}

impl Schedule {
    fn drawn(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x5EED);
        let once = random.u8(0..6) == 0;
        let holds = !once && random.u8(0..6) == 0;
        let mut some = |choices: &[u64]| choices[random.usize(0..choices.len())] * MS;
        let (crashes, freezes, kills) =
            (some(&[0, 1500, 4000, 15_000]), some(&[0, 2000, 6000]), some(&[0, 5000, 20_000]));
        let (restart_after, command_lasts) = (some(&[20, 50, 400]), some(&[3, 100, 600, 6000]));
        let schedule = Schedule {
            seed,
            nodes: [1, 2, 3, 3, 3, 4, 5, 5, 6, 7][random.usize(0..10)],
            instances: [2, 3, 3, 4, 5, 8, 20][random.usize(0..7)],
            lasts: 6000 * MS,
            once,
            period: Duration::from_millis(random.u64(300..3000)),
            hold: if holds { Duration::from_millis(random.u64(50..1500)) } else { Duration::ZERO },
            keeps_data: once || holds,
            clocks: [Clocks::Alike, Clocks::Mixed][random.usize(0..2)],
            loss: [0.0, 0.03, 0.1][random.usize(0..3)],
            crashes,
            freezes,
            kills,
            restart_after,
            command_lasts,
            impatient: [0, 0, 50, 100][random.usize(0..4)],
        };
        if random.u8(0..5) == 0 && !once && !holds {
            // Somebody is there at every moment at which a lease could end too early.
            return Schedule {
                nodes: [1, 3][random.usize(0..2)],
                instances: 6,
                clocks: Clocks::Apart,
                loss: 0.0,
                freezes: 2000 * MS,
                restart_after: 2 * MS,
                command_lasts: 6000 * MS,
                impatient: 100,
                ..schedule
            };
        }
        schedule
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|n| n.parse().expect(variable))
}

/// Returns what is wrong with a schedule, with its trace.
fn fault_in(seed: u64, rules: Rules) -> Option<String> {
    World::new(Schedule::drawn(seed), rules, false).run()
}

fn trace_of(seed: u64, rules: Rules) -> String {
    let schedule = Schedule::drawn(seed);
    let mut world = World::new(schedule, rules, true);
    let wrong = world.run();
    let trace = world.trace.take().unwrap_or_default();
    let last = trace[trace.len().saturating_sub(60)..].join("\n");
    let wrong = wrong.unwrap_or_else(|| "nothing is wrong".into());
    format!("{schedule:#?}\n{last}\nseed {seed}: {wrong}; again: SEED={seed} cargo test --bin leaderrun simulation")
}

#[test]
fn no_schedule_breaks_a_promise() {
    if let Some(seed) = number("SEED") {
        println!("{}", trace_of(seed, ALL));
        return;
    }
    let schedules = number("SCHEDULES").unwrap_or(1000);
    let workers = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let counts: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let work = |worker: u64| {
            let (mut commands, mut steps) = (0, 0);
            for seed in (worker..schedules).step_by(workers as usize) {
                let mut world = World::new(Schedule::drawn(seed), ALL, false);
                assert!(world.run().is_none(), "{}", trace_of(seed, ALL));
                commands += world.commands;
                steps += world.steps;
            }
            (commands, steps)
        };
        let handles: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        handles.into_iter().map(|handle| handle.join().expect("a sound schedule")).collect()
    });
    let commands: u64 = counts.iter().map(|(commands, _)| commands).sum();
    let steps: u64 = counts.iter().map(|(_, steps)| steps).sum();
    println!("{schedules} schedules, {steps} steps, {commands} commands: nothing is wrong");
    assert!(commands > schedules, "too little happened");
}

/// Checks that a thousand schedules find a missing rule.
fn is_found(rules: Rules) {
    let found = (0..1000).find_map(|seed| fault_in(seed, rules).map(|fault| (seed, fault)));
    println!("{rules:?}: {found:?}");
    assert!(found.is_some(), "a thousand schedules did not find the missing rule: {rules:?}");
}

#[test]
fn a_node_that_grants_during_its_startup_grace_is_found() {
    is_found(Rules { startup_grace: false, ..ALL });
}

#[test]
fn a_node_that_grants_any_token_is_found() {
    is_found(Rules { token_check: false, ..ALL });
}

#[test]
fn a_late_release_that_is_obeyed_is_found() {
    is_found(Rules { release_check: false, ..ALL });
}

#[test]
fn a_lease_without_an_allowance_for_drift_is_found() {
    is_found(Rules { drift: false, ..ALL });
}

#[test]
fn votes_counted_against_the_nodes_that_answered_are_found() {
    is_found(Rules { configured_nodes: false, ..ALL });
}
