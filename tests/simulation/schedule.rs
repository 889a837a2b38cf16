//! What happens in a schedule. Each draws first which kinds of faults there are at all (swarm testing), then how often.

use std::time::Duration;

use super::{command::Plan, network::Jitter};
use crate::{
    lease::Times,
    once_per::{OncePer, PeriodKey},
};

/// What is to happen. `None`: never.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub times: Times,
    pub nodes: usize,
    pub instances: usize,
    /// How long faults happen.
    pub lasts: Duration,
    pub clocks: Clocks,
    /// Some instances are near to some nodes and far from others.
    pub far: bool,
    pub jitter: Option<Jitter>,
    pub resets: Option<Duration>,
    pub cuts: Option<Duration>,
    pub crashes: Option<Duration>,
    pub restart_after: Duration,
    pub keeps_data: bool,
    pub stalls: Option<Duration>,
    pub freezes: Option<Duration>,
    pub kills: Option<Duration>,
    pub forgeries: Option<Duration>,
    pub step_downs: Option<Duration>,
    pub signals: Option<Duration>,
    /// A node's clock is set, or its lock deleted.
    pub jumps: Option<Duration>,
    /// All nodes start again, empty, while a command runs.
    pub empties: bool,
    /// Some links are cut to the end, in one way or both. Each instance has a quorum of the others.
    pub lasting_cuts: bool,
    /// Instances differ in how many of the nodes they use, as during a change of the list.
    pub lists: bool,
    /// Candidates have the vote of the node that all lists have, and give it back.
    pub votes_between: bool,
    /// All nodes' clocks were set back by more than their servers had been up.
    pub set_back: bool,
    /// One node has a fencing token from the future, and another one is down: nobody can lead.
    pub fence_ahead: bool,
    /// A node that a lease on a bare quorum stands on gives its vote to another one. How long both may run then.
    pub overlap: Option<Duration>,
    pub command_lasts: Duration,
    /// How many of a hundred commands fail.
    pub fails: u8,
    pub once_per: Option<OncePer>,
    pub max_run: Option<Duration>,
    pub stop_timeout: Duration,
    pub hold: Option<Duration>,
    pub rejoin: bool,
    /// How many of a hundred processes try only once (`--try`).
    pub impatient: u8,
    /// How many of a hundred nodes don't know HELLO.
    pub old: u8,
}

/// The rates of the clocks, which differ by at most 1 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clocks {
    Alike,
    /// Each is fast or slow.
    Mixed,
    /// The instances' clocks are slow and the nodes' fast, so that a lease ends early where it is counted.
    Apart,
}

impl Clocks {
    pub fn of_node(self) -> f64 {
        self.rate(self == Clocks::Apart || fastrand::bool())
    }

    pub fn of_instance(self) -> f64 {
        self.rate(self != Clocks::Apart && fastrand::bool())
    }

    fn rate(self, fast: bool) -> f64 {
        match (self, fast) {
            (Clocks::Alike, _) => 1.0,
            (_, true) => 1.0049,
            (_, false) => 0.9951,
        }
    }
}

fn one_of<T: Copy>(choices: &[T]) -> T {
    choices[fastrand::usize(0..choices.len())]
}

impl Schedule {
    /// Draws the schedule of this seed, and seeds all that is drawn after that.
    pub fn drawn(seed: u64) -> Self {
        fastrand::seed(seed);
        let ms = Duration::from_millis;
        let some = |choices: &[u64]| fastrand::bool().then(|| ms(one_of(choices)));
        let one = |choices: &[u64]| ms(one_of(choices));
        let ttl = one(&[1000, 1000, 2000]);
        let times = Times::new(ttl, None).expect("times that fit");
        let jitter = || Jitter {
            mean: one(&[1, 3, 10]),
            slow: one_of(&[0, 3, 10]),
            longest: ttl.mul_f64(one_of(&[0.2, 1.0, 3.0])),
        };
        let rare = |one_in: u8| fastrand::u8(0..one_in) == 0;
        let period = ms(fastrand::u64(300..3000));
        // These are not drawn, so that each seed draws what it did before they existed.
        let key = (seed % 2 == 1).then(|| PeriodKey::new("a day".into()));
        let max_run = (seed % 11 == 5).then(|| ttl / 2);
        let stop_timeout = if max_run.is_some() { 2 * ttl } else { times.kill_after() };
        let attempts = fastrand::bool().then(|| fastrand::u16(1..4));
        let once_per = rare(5).then_some(OncePer { period, attempts, key });
        let hold = rare(5).then(|| ttl.mul_f64(0.05 + 3.0 * fastrand::f64()));
        let schedule = Schedule {
            times,
            nodes: one_of(&[1, 2, 3, 3, 4, 5, 6, 7]),
            instances: one_of(&[2, 3, 3, 4, 6]),
            lasts: 5 * ttl,
            clocks: one_of(&[Clocks::Alike, Clocks::Mixed, Clocks::Apart]),
            far: fastrand::bool(),
            jitter: fastrand::bool().then(jitter),
            resets: some(&[300, 2000]),
            cuts: some(&[500, 2000]),
            crashes: some(&[700, 1500, 4000]),
            restart_after: one(&[2, 20, 50, 400]),
            keeps_data: once_per.is_some() || hold.is_some() || rare(4),
            stalls: some(&[500, 2000]),
            freezes: some(&[700, 2000]),
            kills: some(&[700, 2000]),
            forgeries: some(&[100, 500]),
            step_downs: some(&[500, 1500]),
            signals: some(&[1000]).filter(|_| rare(2)),
            jumps: None,
            empties: false,
            lasting_cuts: false,
            lists: false,
            votes_between: false,
            set_back: false,
            fence_ahead: false,
            overlap: None,
            command_lasts: one(&[3, 100, 600, 5000]),
            fails: one_of(&[0, 30, 100]),
            once_per,
            max_run,
            stop_timeout,
            hold,
            rejoin: rare(3),
            impatient: one_of(&[0, 0, 50, 100]),
            old: one_of(&[0, 0, 50, 100]),
        };
        if seed % 10 == 8 {
            // What is kept beyond the end of a command must be put back where it was lost, and last longer than the grace.
            return Schedule {
                lasts: 20 * ttl,
                empties: true,
                command_lasts: ttl / 2,
                once_per: None,
                hold: Some(6 * ttl),
                ..schedule.undisturbed()
            };
        }
        if seed % 17 == 9 {
            return schedule.with_a_vote_taken();
        }
        if seed % 23 == 16 {
            // Requests to step down come so often that some come between the end of a command and that of what it leaves behind.
            return Schedule {
                lasts: 30 * ttl,
                once_per: Some(OncePer { period: 2 * ttl, attempts: None, key: None }),
                hold: None,
                step_downs: Some(ttl / 5),
                fails: 0,
                command_lasts: ttl / 2,
                ..schedule.undisturbed()
            };
        }
        if seed % 29 == 5 {
            return Schedule {
                lasts: 3 * ttl,
                nodes: 3,
                instances: 2,
                fence_ahead: true,
                impatient: 0,
                ..schedule.undisturbed()
            };
        }
        if seed % 31 == 12 {
            return Schedule {
                lasts: 30 * ttl,
                nodes: 3,
                instances: 6,
                votes_between: true,
                command_lasts: ttl,
                impatient: 0,
                ..schedule.with_lists()
            };
        }
        if seed % 7 == 3 {
            let (kills, freezes, signals) = (schedule.kills, schedule.freezes, schedule.signals);
            return Schedule {
                nodes: one_of(&[3, 4, 5, 6, 7]),
                lasting_cuts: true,
                once_per: None,
                hold: None,
                kills,
                freezes,
                signals,
                ..schedule.undisturbed()
            };
        }
        if rare(10) {
            // A clock that is set, or a lock that is deleted, is harmless where no more than that happens.
            let (kills, step_downs) = (schedule.kills, schedule.step_downs);
            return Schedule {
                nodes: one_of(&[3, 5]),
                jumps: Some(ttl / 3),
                kills,
                step_downs,
                ..schedule.undisturbed()
            };
        }
        if rare(20) {
            return schedule.with_lists();
        }
        if rare(10) {
            // Somebody is there at each moment at which a lease could end too early, and clocks have the time to differ.
            let ttl = ms(4000);
            return Schedule {
                times: Times::new(ttl, None).expect("times that fit"),
                stop_timeout: 2 * ttl,
                lasts: 5 * ttl,
                nodes: one_of(&[1, 3]),
                instances: 6,
                clocks: Clocks::Apart,
                freezes: Some(ttl),
                command_lasts: 5 * ttl,
                impatient: 50,
                ..schedule.undisturbed()
            };
        }
        if seed % 13 == 8 {
            // Who has seen its server for long enough may lead, and so must stay.
            return Schedule { set_back: true, impatient: 0, ..schedule };
        }
        schedule
    }

    /// Returns a schedule in which a leader has the time to learn that a vote is gone before its deadline ends its command.
    fn with_a_vote_taken(self) -> Self {
        let (ttl, kill_after) = (Duration::from_secs(4), Duration::from_millis(100));
        let times = Times::new(ttl, Some(kill_after)).expect("times that fit");
        // Its next extension shows it: once the one node has not answered in time, and what is late has come.
        let learns = times.extend_every() + times.answer_timeout() + Duration::from_millis(60);
        Schedule {
            times,
            stop_timeout: kill_after,
            lasts: 10 * ttl,
            nodes: 3,
            instances: 3,
            far: false,
            clocks: Clocks::Alike,
            overlap: Some(learns + kill_after + times.margin()),
            command_lasts: 20 * ttl,
            once_per: None,
            max_run: None,
            hold: None,
            impatient: 0,
            ..self.undisturbed()
        }
    }

    /// Returns the same schedule with other lists and without faults. A winner doesn't wait for nodes that are far, though one of
    /// them may have the lock of another list. Nor does it pass the token of a list that has only a minority of its nodes: there,
    /// only the clocks keep the order.
    fn with_lists(self) -> Self {
        Schedule { lists: true, far: false, clocks: Clocks::Alike, once_per: None, hold: None, ..self.undisturbed() }
    }

    /// Returns how long commands of instances with other lists may run beside each other; `None`: not at all. If a candidate gives
    /// the vote of the node that both have back to another than the leader, that shows when the leader asks there again.
    pub fn overlap_of_lists(&self) -> Option<Duration> {
        let Schedule { times, lists, .. } = self;
        let learns = times.retry_after() + times.answer_timeout();
        lists.then(|| learns + times.kill_after() + times.margin())
    }

    /// Returns the same schedule without faults.
    fn undisturbed(self) -> Self {
        Schedule {
            jitter: None,
            resets: None,
            cuts: None,
            crashes: None,
            stalls: None,
            freezes: None,
            kills: None,
            step_downs: None,
            ..self
        }
    }

    /// Draws what a command does.
    pub fn plan(&self) -> Plan {
        let lasts = self.command_lasts.mul_f64(2.0 * fastrand::f64());
        // The clock of its host may be slow, and timers tick in milliseconds.
        let dies_within = self.times.margin().mul_f64(0.98) - Duration::from_millis(2);
        Plan {
            lasts,
            // Not drawn, so that each seed draws what it did before.
            leaves: if lasts.as_nanos().is_multiple_of(2) { dies_within } else { Duration::ZERO },
            code: i32::from(fastrand::u8(0..100) < self.fails),
            stops_within: (fastrand::u8(0..3) > 0).then(|| self.times.kill_after().mul_f64(1.5)),
            dies_within,
        }
    }
}
