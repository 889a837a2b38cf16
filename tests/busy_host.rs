//! On a host whose processors are busy, nothing of a command outlives its leadership, also if the command has a lower priority
//! than all else.

use std::{
    cell::RefCell,
    process::{Child, Command},
};

use crate::support::{End, Shape, Stage, may_raise_priorities};
use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};

/// How many processes compete for the processor.
const COMPETITORS: usize = 8;

/// Processes that keep a processor busy at a low priority, and leave the tests and their servers alone. They end with the test.
struct Competitors(Vec<Child>);

impl Competitors {
    fn on(processor: &str) -> Self {
        let start = |_| {
            let words = ["-c", processor, "nice", "-n", "5", "sh", "-c", "while :; do :; done"];
            Command::new("taskset").args(words).spawn().expect("a busy process")
        };
        Competitors((0..COMPETITORS).map(start).collect())
    }
}

impl Drop for Competitors {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Returns a processor that we may use.
fn processor() -> String {
    let ours = sched_getaffinity(Pid::from_raw(0)).expect("an affinity");
    let first = (0..CpuSet::count()).find(|&number| ours.is_set(number) == Ok(true));
    first.expect("a processor").to_string()
}

/// Sets a stage on which a command runs only on an idle processor, which it loses before its leadership ends.
fn idle_stage() -> Stage {
    let processor = processor();
    let stage = Stage::new().confined_by(&["taskset", "-c", &processor]).probed_by(&["chrt", "--idle", "0"]);
    let competitors = RefCell::new(None);
    stage.hardship(move |_| drop(competitors.replace(Some(Competitors::on(&processor)))))
}

/// A killed process needs processor time to end, which this one gets only after all others.
#[test]
fn a_command_that_runs_only_on_an_idle_processor() {
    if may_raise_priorities() {
        for end in [End::GuardKilled, End::LeaseLost] {
            idle_stage().play(&Shape::double_fork(), end);
        }
    }
}

/// An ordinary user can't give it any.
#[test]
fn a_guard_whose_killed_command_does_not_die_is_not_said_to_have_been_stopped() {
    let mut stage = idle_stage().led_by_spare_user();
    let leading = stage.lead(&Shape::double_fork());
    leading.grows_to(4, |_| true);
    stage.be_hard_on(&leading);
    stage.servers.0[0].kill();
    leading.leader.reports("leaderrun's guard could not kill everything in time; killing env");
    drop(stage);
    assert_eq!(leading.leader.wait().code(), 76);
}
