//! Trees of any size and speed of growth are dead in time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::support::{End, LONG_TTL, Shape, Stage, may_raise_priorities};

/// Each needs the machine for itself.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn many(number: u32) -> Shape {
    let mut shape = Shape::sprout("many", number as usize + 1);
    shape.command.push(number.to_string());
    shape
}

fn nest(depth: u32) -> Shape {
    let mut shape = Shape::sprout("nest", depth as usize + 1);
    shape.command.push(depth.to_string());
    shape
}

/// A nest of sessions, none of which can be killed as a group with others.
fn deep(depth: u32) -> Shape {
    let mut shape = Shape::sprout("deep", depth as usize + 1);
    shape.command.push(depth.to_string());
    shape
}

/// Processes that do nothing but fork can keep all else on their processor from running for seconds: Linux 6.18 schedules
/// no other session (autogroups, sched(7)). Returns the second number where that is the only one.
fn with_processors<T>(several: T, one: T) -> T {
    if std::thread::available_parallelism().is_ok_and(|number| number.get() > 1) { several } else { one }
}

/// Chains of processes, each of which lasts for microseconds; `words` start them.
fn bombs(words: &[&str]) -> Shape {
    let sprout = crate::support::program("sprout");
    let chains = with_processors("8", "2");
    let command = words.iter().copied().chain([sprout.as_str(), "bomb", chains]).map(Into::into).collect();
    Shape { command, size: 1 }
}

#[test]
fn three_thousand_processes_that_ignore_term_are_dead_before_the_next_leader() {
    let _alone = alone();
    let stage = Stage::new();
    for end in [End::ElectorStopped, End::ElectorKilled, End::GuardKilled] {
        stage.play(&many(3000), end);
    }
}

#[test]
fn a_tree_that_grows_when_it_is_asked_to_stop_is_dead_before_the_next_leader() {
    let _alone = alone();
    let stage = Stage::new();
    let mut shape = Shape::sprout("late", 1);
    shape.command.push(with_processors("5000", "1000").into());
    stage.play(&shape, End::ElectorStopped);
}

#[test]
fn a_nest_of_three_hundred_processes_is_dead_before_the_next_leader() {
    let _alone = alone();
    let stage = Stage::new();
    for end in [End::ElectorStopped, End::ElectorKilled, End::GuardKilled] {
        stage.play(&nest(300), end);
    }
}

#[test]
fn a_nest_of_three_hundred_sessions_is_dead_before_the_next_leader() {
    let _alone = alone();
    let stage = Stage::new();
    for end in [End::ElectorStopped, End::ElectorKilled, End::GuardKilled] {
        stage.play(&deep(300), end);
    }
}

#[test]
fn processes_that_fork_and_exit_at_once_do_not_outrun_the_killing() {
    let _alone = alone();
    // They use all of the processors: the nodes answer slowly. In a session that has busy processes on another processor,
    // they could keep the guard from running, as those in a session of their own can (autogroups).
    let stage = Stage::with_ttl(LONG_TTL).confined_by(&["setsid"]);
    // In a session of their own, they can keep an ordinary user's guard from running where there is one processor: README says
    // so.
    let starts: &[&[&str]] = if with_processors(true, may_raise_priorities()) { &[&[], &["setsid"]] } else { &[&[]] };
    for words in starts {
        for end in [End::ElectorKilled, End::ElectorStopped, End::GuardKilled, End::MainEnded] {
            stage.play(&bombs(words), end);
        }
    }
}
