//! What the command leaves behind when it ends is asked to stop once, and has the time for it that a stop of the command has.

use std::time::Duration;

use crate::support::{
    LONG_TTL, Leaderrun, Output, Running, Servers, children, eventually, is_pending, signal, state, unique,
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::{Pid, getpgid},
};

/// A worker that says which signals it gets, and takes longer to stop than a lost lease would leave it.
const WORKER: &str =
    "trap 'echo asked; asked=1' TERM; echo up; while [ -z \"$asked\" ]; do sleep 0.05; done; sleep 1.5; echo done";

/// A shell that waits for the worker. It dies of the signal that its process group gets.
const SHELL: &str = "bash -c \"$1\"; true";

fn on(servers: &Servers, resource: &str) -> Leaderrun {
    Leaderrun::on(servers, resource, Duration::from_millis(1500))
}

fn worker(leaderrun: Leaderrun) -> Running {
    let mut leader = leaderrun.args(["--stop-timeout", "20s", "sh", "-c", SHELL, "sh", WORKER]).spawn();
    leader.says("up");
    leader
}

fn has_stopped_in_peace(output: &Output) {
    assert_eq!(output.stdout.lines().collect::<Vec<_>>(), ["up", "asked", "done"], "{}", output.stderr);
}

#[test]
fn a_signal_that_is_passed_on_reaches_a_worker_below_a_shell_once() {
    let servers = Servers::settled(3, Duration::from_millis(1500));
    for options in [&[][..], &["--pid-namespace"]] {
        if !options.is_empty() && !crate::support::may_make_namespaces() {
            return;
        }
        let leader = worker(on(&servers, &unique("passed-on")).args(options));
        leader.signal(Signal::SIGTERM);
        has_stopped_in_peace(&leader.wait());
    }
}

#[test]
fn a_signal_that_the_whole_group_has_got_is_not_sent_again() {
    let servers = Servers::settled(3, LONG_TTL);
    let leader = worker(Leaderrun::on(&servers, &unique("group"), LONG_TTL));
    let (guard, main) = (leader.guard(), children(leader.guard())[0]);
    // Both are there when the guard looks: the end of the main process, and the signal that was sent to leaderrun as well.
    signal(guard, Signal::SIGSTOP);
    eventually("a stopped guard", || (state(guard) == 'T').then_some(()));
    killpg(getpgid(Some(Pid::from_raw(main))).expect("a process"), Signal::SIGTERM).expect("a group");
    eventually("the end of the main process", || (state(main) == 'Z').then_some(()));
    signal(leader.pid(), Signal::SIGTERM);
    eventually("an elector that has passed the signal on", || {
        (!is_pending(leader.pid(), Signal::SIGTERM) && state(leader.pid()) == 'S').then_some(())
    });
    signal(guard, Signal::SIGCONT);
    has_stopped_in_peace(&leader.wait());
}

#[test]
fn a_worker_below_a_shell_has_the_time_of_a_step_down_or_of_a_run_that_is_too_long() {
    let servers = Servers::settled(3, Duration::from_millis(1500));
    let resource = unique("step-down");
    let leader = worker(on(&servers, &resource));
    let asked = on(&servers, &resource).args(["--step-down", "-w", "20s"]).output();
    assert_eq!(asked.code(), 0, "{}", asked.stderr);
    has_stopped_in_peace(&leader.wait());

    let leader = worker(on(&servers, &unique("max-run")).args(["--max-run", "1s"]));
    let output = leader.wait();
    assert_eq!(output.code(), 124, "{}", output.stderr);
    has_stopped_in_peace(&output);
}
