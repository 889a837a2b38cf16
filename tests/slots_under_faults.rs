//! Eight instances lead in three slots while processes and nodes fail at random: each slot has one leader at a time, its
//! tokens grow, and it never waits for a leader for longer than the protocol's times allow.
//!
//! `tests/campaign slots --minutes M --seed S` runs it for longer than the everyday tests do.

use std::time::{Duration, Instant};

use crate::{
    slots::{Slots, TTL},
    support::{Running, Servers, children, monotonic, signal},
};
use nix::sys::signal::Signal;

const INSTANCES: usize = 8;

/// The average time between two faults.
const BETWEEN_FAULTS: Duration = Duration::from_millis(400);

/// How long a node that was restarted must be left alone: its startup grace, and the time to be counted on again.
const NODE_SETTLES: Duration = Duration::from_secs(7);

/// How long a slot may be without a leader. Its leader, and then a candidate that the others have made way for, may each die
/// without giving back its votes, which last for a ttl; as long again is for turns and for a busy host.
const LONGEST_GAP: Duration = Duration::from_secs(3 * TTL.as_secs());

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |n| n.parse().expect(variable))
}

/// What is done to an instance or a node, in turn with what ends it.
struct Faults {
    random: fastrand::Rng,
    next: Instant,
    next_node: Instant,
    stopped: Vec<(i32, Instant)>,
    made: usize,
}

impl Faults {
    fn go_on(&mut self, servers: &mut Servers, instances: &[Running]) {
        self.stopped.retain(|&(pid, until)| {
            let ends = Instant::now() >= until;
            if ends {
                continue_if_alive(pid);
            }
            !ends
        });
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + BETWEEN_FAULTS.mul_f64(2.0 * self.random.f64());
        self.made += 1;
        let instance = &instances[self.random.usize(..instances.len())];
        let (elector, guard) = (instance.pid(), children(instance.pid()).first().copied());
        match self.random.u8(0..6) {
            0 | 1 => signal(elector, Signal::SIGKILL),
            2 => signal(guard.unwrap_or(elector), Signal::SIGKILL),
            3 => {
                signal(elector, Signal::SIGSTOP);
                self.stopped.push((elector, Instant::now() + TTL.mul_f64(2.0 * self.random.f64())));
            }
            4 => signal(elector, Signal::SIGTERM),
            _ if Instant::now() >= self.next_node => {
                let node = self.random.usize(..servers.0.len());
                servers.0[node].start_again();
                self.next_node = Instant::now() + NODE_SETTLES;
            }
            _ => {}
        }
    }
}

fn continue_if_alive(pid: i32) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGCONT);
}

#[test]
fn whatever_fails_each_slot_has_one_leader_at_a_time_and_is_not_left_without_one() {
    let (seconds, seed) = (number("CAMPAIGN_SECONDS", 6), number("SEED", 1));
    let mut servers = Servers::settled(3, TTL);
    let logs = Slots::new(None).logs;
    let name = crate::support::unique("faults");
    let start = |servers: &Servers, number: usize| {
        let slots = Slots { servers: Some(servers), resource: name.clone(), logs: logs.clone() };
        slots.start(&format!("web-{number}"))
    };
    let mut instances: Vec<Running> = (0..INSTANCES).map(|number| start(&servers, number)).collect();
    logs.iter().for_each(|log| drop(log.started(1)));
    let (began, now) = (monotonic(), Instant::now());
    let random = fastrand::Rng::with_seed(seed);
    let mut faults = Faults { random, next: now, next_node: now, stopped: Vec::new(), made: 0 };
    while now.elapsed() < Duration::from_secs(seconds) {
        faults.go_on(&mut servers, &instances);
        for (number, instance) in instances.iter_mut().enumerate() {
            if instance.has_ended() {
                *instance = start(&servers, number);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    faults.stopped.iter().for_each(|&(pid, _)| continue_if_alive(pid));
    let ended = monotonic();
    let mut longest = Duration::ZERO;
    let mut leaders = 0;
    for log in &logs {
        let all = log.check();
        let starts = all.iter().map(|witness| witness.start).chain([ended]);
        let ends = [began].into_iter().chain(all.iter().map(|witness| witness.last));
        let gap = starts.zip(ends).map(|(start, end)| Duration::from_nanos(start.saturating_sub(end))).max();
        longest = longest.max(gap.unwrap_or_default());
        leaders += all.len();
    }
    println!("{} faults, {leaders} leaders in 3 slots, at most {longest:?} without one in a slot", faults.made);
    assert!(longest < LONGEST_GAP, "a slot had no leader for {longest:?}");
}
