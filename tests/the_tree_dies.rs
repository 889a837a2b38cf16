//! Nothing that the command started outlives leadership: each kind of tree, and each way in which leadership ends.

use std::time::Duration;

use crate::support::{End, Shape, Stage, TTL, Tree, children, eventually, program, quoted, signal, unique};
use nix::sys::signal::Signal;

const ENDS: [End; 7] = [
    End::ElectorKilled,
    End::ElectorStopped,
    End::GuardKilled,
    End::GuardStopped,
    End::LeaseLost,
    End::MainEnded,
    End::TermFromOutside,
];

fn dies(shape: &Shape) {
    let stage = Stage::new();
    for end in ENDS {
        check_time(end, stage.play(shape, end));
    }
}

fn dies_in_a_namespace(shape: &Shape) {
    if !crate::support::may_make_namespaces() {
        return;
    }
    let stage = Stage::new().with(&["--pid-namespace"]);
    for end in ENDS.into_iter().chain([End::BothKilled]) {
        check_time(end, stage.play(shape, end));
    }
}

/// Checks that no ttl has to pass after a death that can be seen.
fn check_time(end: End, took: Duration) {
    assert!(![End::ElectorKilled, End::GuardKilled].contains(&end) || took < TTL / 2, "after {end:?}: {took:?}");
}

fn background_jobs() -> Shape {
    Shape::shell("sleep 1000 & sleep 1000 & wait", 3)
}

fn own_session() -> Shape {
    Shape::shell("setsid sleep 1000 & wait", 2)
}

fn nohup() -> Shape {
    Shape::shell("nohup sleep 1000 >/dev/null 2>&1 & wait", 2)
}

/// Returns a nested leaderrun. Only root sees its two processes, since they are not dumpable.
fn nested() -> Shape {
    let leaderrun = quoted(env!("CARGO_BIN_EXE_leaderrun"));
    let inner = unique("inner");
    let line = format!("{leaderrun} --local -r {inner} -- sh -c 'setsid sleep 1000 & wait' & wait");
    Shape::shell(&line, if crate::support::is_root() { 5 } else { 3 })
}

fn other_user() -> Shape {
    Shape::shell("setpriv --reuid 65534 --clear-groups setsid sleep 1000 & wait", 2)
}

#[test]
fn a_shell_with_background_jobs() {
    dies(&background_jobs());
}

#[test]
fn a_session_of_its_own() {
    dies(&own_session());
}

#[test]
fn a_double_fork() {
    dies(&Shape::double_fork());
}

#[test]
fn nohup_in_the_background() {
    dies(&nohup());
}

#[test]
fn a_process_that_ignores_term_hup_and_int() {
    dies(&Shape::sprout("ignores", 2));
}

#[test]
fn stopped_processes() {
    dies(&Shape::sprout("stopped", 2));
}

#[test]
fn a_process_that_forks_while_it_is_killed() {
    dies(&Shape::sprout("forker", 1));
}

#[test]
fn a_subreaper() {
    dies(&Shape::sprout("subreaper", 2));
}

/// clone(2), CLONE_PARENT: a child of the command's child is the guard's at once.
#[test]
fn a_child_of_its_grandparent() {
    dies(&Shape::shell(&format!("{} sibling & wait", quoted(program("sprout"))), 3));
}

#[test]
fn namespaces_in_namespaces() {
    if crate::support::may_make_namespaces() {
        let inner = "unshare --pid --fork sh -c \"setsid sleep 1000 & wait\" & wait";
        let outer = crate::support::unshare().join(" ");
        dies(&Shape::shell(&format!("{outer} --pid --fork --mount-proc sh -c '{inner}' & wait"), 5));
    }
}

#[test]
fn a_nested_leaderrun() {
    dies(&nested());
}

#[test]
fn a_child_of_another_user() {
    if crate::support::may_become_others() {
        dies(&other_user());
    }
}

#[test]
fn in_a_namespace_a_double_fork() {
    dies_in_a_namespace(&Shape::double_fork());
}

#[test]
fn in_a_namespace_a_process_that_ignores_term_hup_and_int() {
    dies_in_a_namespace(&Shape::sprout("ignores", 2));
}

#[test]
fn in_a_namespace_stopped_processes() {
    dies_in_a_namespace(&Shape::sprout("stopped", 2));
}

#[test]
fn in_a_namespace_a_subreaper() {
    dies_in_a_namespace(&Shape::sprout("subreaper", 2));
}

#[test]
fn in_a_namespace_a_nested_leaderrun() {
    dies_in_a_namespace(&nested());
}

#[test]
fn in_a_namespace_a_shell_with_background_jobs() {
    dies_in_a_namespace(&background_jobs());
}

#[test]
fn in_a_namespace_a_session_of_its_own() {
    dies_in_a_namespace(&own_session());
}

#[test]
fn in_a_namespace_nohup_in_the_background() {
    dies_in_a_namespace(&nohup());
}

#[test]
fn in_a_namespace_a_process_that_forks_while_it_is_killed() {
    dies_in_a_namespace(&Shape::sprout("forker", 1));
}

#[test]
fn in_a_namespace_a_child_of_another_user() {
    if crate::support::may_become_others() {
        dies_in_a_namespace(&other_user());
    }
}

/// Without a namespace the command itself dies with its parent, but what it has detached may survive, as README says.
#[test]
fn killing_both_processes_at_once_kills_the_command_too() {
    let stage = Stage::new();
    let resource = unique("both");
    let mark = format!("TREE={resource}");
    let tree = Tree(mark.clone());
    let leader = stage.run(&resource).args(["--", "env", &mark, "sh", "-c", "setsid sleep 1000 & wait"]).spawn();
    tree.grows_to(2);
    let (elector, guard) = (leader.pid(), leader.guard());
    let main = children(guard)[0];
    signal(elector, Signal::SIGSTOP);
    signal(guard, Signal::SIGSTOP);
    signal(guard, Signal::SIGKILL);
    signal(elector, Signal::SIGKILL);
    eventually("the command's death", || (!tree.alive().contains(&main)).then_some(()));
    let left = tree.alive();
    assert_eq!(left.len(), 1, "what README says may live on");
    signal(left[0], Signal::SIGKILL);
}
