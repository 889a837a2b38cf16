//! leaderrun as PID 1 of a container.

use std::{fs, process::Command, time::Duration};

use crate::support::{
    Leaderrun, Running, Servers, Tree, children, eventually, example, name, quoted, signal, state, unique,
};
use nix::sys::signal::Signal;

/// Starts leaderrun as PID 1 of a new PID namespace. The direct child is unshare(1), which passes the status on.
fn as_pid_one(resource: &str, command: &[&str]) -> Running {
    in_container(&format!("exec \"$0\" --local -r {resource} -- \"$@\""), command)
}

/// Runs a shell line, in which `$0` is leaderrun, in namespaces of its own.
fn in_container(line: &str, command: &[&str]) -> Running {
    let run = Leaderrun::new();
    let program = run.command.get_program().to_owned();
    let words = ["-pfm", "--mount-proc", "--kill-child", "sh", "-c", line];
    let words = crate::support::unshare().iter().copied().chain(words).map(Into::into).chain([program]).collect();
    run.through(words).args(command).spawn()
}

/// Returns the pid of PID 1 as seen from here.
fn first(running: &Running) -> i32 {
    eventually("PID 1", || children(running.pid()).first().copied())
}

#[test]
fn the_exit_status_is_passed_on() {
    if !crate::support::may_make_namespaces() {
        return;
    }
    assert_eq!(as_pid_one(&unique("one"), &["sh", "-c", "exit 7"]).wait().code(), 7);
    assert_eq!(as_pid_one(&unique("one"), &["sh", "-c", "kill -9 $$"]).wait().code(), 137);
    assert_eq!(as_pid_one(&unique("one"), &["no-such-command"]).wait().code(), 127);
}

#[test]
fn term_and_int_end_a_leader_and_a_standby() {
    if !crate::support::may_make_namespaces() {
        return;
    }
    for (number, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let resource = unique("one");
        let mut leader = as_pid_one(&resource, &["sh", "-c", "echo up; exec sleep 1000"]);
        leader.says("up");
        let standby = as_pid_one(&resource, &["echo", "led"]);
        let guard = eventually("its guard", || children(first(&standby)).first().copied());
        eventually("it to wait", || (state(guard) == 'S').then_some(()));
        for running in [standby, leader] {
            signal(first(&running), number);
            assert_eq!(running.wait().code(), status);
        }
    }
}

#[test]
fn orphans_of_strangers_are_reaped() {
    if !crate::support::may_make_namespaces() {
        return;
    }
    let mut leader = as_pid_one(&unique("one"), &["sh", "-c", "echo up; exec sleep 1000"]);
    leader.says("up");
    let pid_one = first(&leader);
    let user: &[&str] = if crate::support::is_root() { &[] } else { &["-U", "--preserve-credentials"] };
    let entered = Command::new("nsenter")
        .args(["-t", &pid_one.to_string(), "-p", "-m"])
        .args(user)
        .arg(example("sprout"))
        .args(["orphans", "1000"])
        .status();
    assert!(entered.expect("nsenter").success());
    let all_children = || fs::read_to_string(format!("/proc/{pid_one}/task/{pid_one}/children")).expect("its children");
    eventually("only the guard to be left", || (all_children().split_whitespace().count() == 1).then_some(()));
}

/// A shell's background job, whose shell has become leaderrun.
#[test]
fn an_orphan_of_a_stranger_outlives_a_dead_guard() {
    let resource = unique("stranger");
    let (stranger, tree) = (Tree(format!("STRANGER={resource}")), Tree::of(&resource));
    // What is older than the guard is told apart by the clock's ticks, of 10 ms.
    let line = format!("STRANGER={resource} sh -c 'sleep 1000 & sleep 1000' & sleep 0.1; exec \"$0\" \"$@\"");
    let mut leader =
        Leaderrun::new().args(["--local", "-r", &resource, "sh", "-c", "setsid sleep 1000 & echo up; wait"]);
    let words = ["sh", "-c", &line].map(Into::into).into_iter().chain([leader.command.get_program().to_owned()]);
    leader = leader.through(words.collect());
    let mut leader = leader.spawn();
    leader.says("up");
    let parent = children(leader.pid()).into_iter().find(|&child| child != leader.guard()).expect("the stranger");
    let orphan = *children(parent).iter().find(|&&child| name(child) == "sleep").expect("its child");
    signal(parent, Signal::SIGKILL);
    eventually("an orphan", || children(leader.pid()).contains(&orphan).then_some(()));
    signal(leader.guard(), Signal::SIGKILL);
    tree.is_gone();
    assert_eq!(leader.wait().code(), 125);
    assert!(stranger.alive().contains(&orphan));
}

#[test]
fn orphans_of_the_command_are_reaped() {
    if !crate::support::may_make_namespaces() {
        return;
    }
    let line = format!("{} orphans 1000; echo up; exec sleep 1000", quoted(example("sprout")));
    let mut leader = as_pid_one(&unique("one"), &["sh", "-c", &line]);
    leader.says("up");
    let guard = eventually("the guard", || children(first(&leader)).first().copied());
    let all_children = || fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).expect("its children");
    eventually("only the command to be left", || (all_children().split_whitespace().count() == 1).then_some(()));
}

#[test]
fn killing_it_leaves_nothing_behind() {
    if !crate::support::may_make_namespaces() {
        return;
    }
    let resource = unique("one");
    let tree = Tree::of(&resource);
    let mut leader = as_pid_one(&resource, &["sh", "-c", "setsid sleep 1000 & setsid sleep 1000 & echo up; wait"]);
    leader.says("up");
    tree.grows_to(3);
    signal(first(&leader), Signal::SIGKILL);
    leader.wait();
    tree.is_gone();
}

#[test]
fn an_ordinary_user_with_a_read_only_root_and_no_tmp_can_lead() {
    if !crate::support::may_make_namespaces() {
        return;
    }
    let ttl = Duration::from_secs(1);
    let servers = Servers::settled(3, ttl);
    let resource = unique("one");
    let user = if crate::support::is_root() {
        "setpriv --reuid 65534 --regid 65534 --clear-groups"
    } else {
        "unshare --user --map-user=65534 --map-group=65534"
    };
    // Runs the program by its descriptor, since its path may be hidden by the mounts.
    let line = format!(
        "exec 9<\"$0\"; mount -o remount,bind,ro / && mount -t tmpfs -o ro none /tmp && exec {user} /proc/self/fd/9 -t 1s \
         -R {} -r {resource} -- \"$@\"",
        servers.urls()
    );
    let mut leader = in_container(&line, &["sh", "-c", "touch /x 2>/dev/null; id -u; sleep 1.5; exit 5"]);
    leader.says("65534");
    assert_eq!(servers.locked(&resource), 3);
    let output = leader.wait();
    assert_eq!((output.code(), output.stderr.as_str()), (5, ""));
    assert_eq!(servers.locked(&resource), 0);
}
