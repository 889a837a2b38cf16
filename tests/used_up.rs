//! Without free descriptors, processes or memory, the tree is still killed before another leads.

use std::{process::Command, time::Instant};

use crate::support::{
    End, LONG_TTL, Leading, Limit, Shape, Stage, Tree, children, each_end, eventually, failing_ends, lower, mapped,
    program, threads, unique,
};

/// Limits elector and guard once they have what they need to run.
fn for_both(leading: &Leading, limit: Limit, to: impl Fn(i32) -> u64) {
    for pid in [leading.leader.pid(), leading.leader.guard()] {
        lower(pid, limit, to(pid));
    }
}

fn dies_without_descriptors(shape: &Shape, below: u64) {
    let stage = Stage::with_ttl(LONG_TTL).hardship(move |leading| for_both(leading, Limit::Files, |_| below));
    each_end(|end| _ = stage.play(shape, end));
}

#[test]
fn without_free_descriptors_a_plain_command() {
    dies_without_descriptors(&Shape::plain(), 4);
}

#[test]
fn without_free_descriptors_detached_processes() {
    dies_without_descriptors(&Shape::double_fork(), 4);
}

#[test]
fn without_free_descriptors_processes_that_ignore_term() {
    dies_without_descriptors(&Shape::sprout("ignores", 2), 4);
}

/// With a limit below the number of descriptors to wait for, poll(2) fails too.
#[test]
fn with_no_descriptors_allowed_detached_processes() {
    dies_without_descriptors(&Shape::double_fork(), 0);
}

#[test]
fn started_with_few_descriptors_it_works_or_says_why_not() {
    let confine = program("confine");
    let mut stage = Stage::with_ttl(LONG_TTL);
    let mut failed = Vec::new();
    for files in 5..=12 {
        let limit = files.to_string();
        stage = stage.confined_by(&["env", "LEADERRUN_WAIT=2s", &confine, "files", &limit, "--"]);
        for shape in [Shape::double_fork(), Shape::sprout("ignores", 2)] {
            let ends = failing_ends(|end| works_or_says_why_not(&stage, &shape, end, files));
            failed.extend(ends.into_iter().map(|end| (files, shape.command.clone(), end)));
        }
    }
    assert!(failed.is_empty(), "failed, see above: {failed:?}");
}

fn works_or_says_why_not(stage: &Stage, shape: &Shape, end: End, files: u32) {
    let mut leading = stage.lead(shape);
    let grown = eventually("a tree or an end", || {
        let ended = leading.leader.has_ended();
        (ended || leading.tree.alive().len() >= shape.size).then_some(!ended)
    });
    if grown {
        stage.end(leading, shape, end);
        return;
    }
    assert_eq!(leading.tree.alive(), [0; 0], "a command outlives leaderrun");
    let output = leading.leader.wait();
    println!("with {files} descriptors {}: {}", output.code(), output.stderr.trim_end());
    assert!([69, 125].contains(&output.code()), "{files}: {}: {}", output.code(), output.stderr);
    let says_why = ["Too many open files", "descriptor"].iter().any(|why| output.stderr.contains(why));
    assert!(says_why, "{files}: {}", output.stderr);
}

/// Limits the leader's user to one process, fewer than it has. Threads count too.
fn allow_no_process(stage: &Stage, pid: i32) {
    let words =
        [stage.as_user(), ["prlimit", "--nproc=1:1", "--pid", &pid.to_string()].map(Into::into).to_vec()].concat();
    let lowered = Command::new(&words[0]).args(&words[1..]).status().expect("prlimit (tests/run installs it)");
    assert!(lowered.success(), "a lower limit");
}

fn is_forking(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"sprout\0forks\0"))
}

/// Checks that the tree dies although no process is available. The command itself reports when that is so.
fn dies_without_processes(shape: Shape) {
    let stage = Stage::with_ttl(LONG_TTL).led_by_spare_user();
    let forks = stage.for_all_users("sprout");
    let line = "\"$0\" forks & exec \"$@\"";
    let command = ["sh", "-c", line, &forks].map(String::from).into_iter();
    let command =
        command.chain(shape.command.into_iter().map(|w| if w == program("sprout") { forks.clone() } else { w }));
    let shape = Shape { command: command.collect(), size: shape.size };
    each_end(|end| {
        let leading = stage.lead(&shape);
        // The processes that it forks come and go.
        leading.grows_to(shape.size, |pid| !is_forking(pid));
        let (elector, guard) = (leading.leader.pid(), leading.leader.guard());
        let main = eventually("the command", || children(guard).first().copied());
        let forks = eventually("what forks", || children(main).into_iter().find(|&pid| is_forking(pid)));
        for pid in [elector, guard, forks] {
            allow_no_process(&stage, pid);
        }
        eventually("the last process", || leading.leader.stdout().contains("no process").then_some(()));
        stage.end(leading, &shape, end);
    });
}

#[test]
fn without_processes_a_plain_command() {
    dies_without_processes(Shape::plain());
}

#[test]
fn without_processes_detached_processes() {
    dies_without_processes(Shape::double_fork());
}

#[test]
fn without_processes_processes_that_ignore_term() {
    dies_without_processes(Shape::sprout("ignores", 2));
}

/// A name is looked up in a separate thread. Without one, the server is unreachable, which at worst ends the lease.
#[test]
fn without_processes_a_server_whose_name_cannot_be_looked_up_is_unreachable() {
    let stage = Stage::with_ttl(LONG_TTL).led_by_spare_user().by_name();
    let resource = unique("name");
    let tree = Tree::of(&resource);
    let mut leader = stage.run_confined(&resource).args(["--", "sleep", "1000"]).spawn();
    tree.grows_to(1);
    // The thread that looked the name up is kept for a while.
    eventually("no other thread", || (threads(leader.pid()) == 1).then_some(()));
    for pid in [leader.pid(), leader.guard()] {
        allow_no_process(&stage, pid);
    }
    stage.servers.0[0].query::<i64>(&["CLIENT", "KILL", "TYPE", "normal"]);
    let began = Instant::now();
    let ended = eventually("an end or two leases", || {
        leader.has_ended().then_some(true).or_else(|| (began.elapsed() > 2 * LONG_TTL).then_some(false))
    });
    assert!(!leader.stderr().contains("panicked"), "{}", leader.stderr());
    if ended {
        let output = leader.wait();
        assert_eq!(output.code(), 76, "{}", output.stderr);
        tree.is_gone();
    } else {
        assert_eq!(stage.servers.locked(&resource), 1, "it leads, or has ended");
    }
}

fn dies_without_memory(shape: &Shape) {
    let stage = Stage::with_ttl(LONG_TTL).hardship(|leading| for_both(leading, Limit::Memory, mapped));
    each_end(|end| _ = stage.play(shape, end));
}

#[test]
fn without_memory_a_plain_command() {
    dies_without_memory(&Shape::plain());
}

#[test]
fn without_memory_detached_processes() {
    dies_without_memory(&Shape::double_fork());
}

#[test]
fn without_memory_processes_that_ignore_term() {
    dies_without_memory(&Shape::sprout("ignores", 2));
}

/// More processes need more room for their list.
#[test]
fn without_memory_a_thousand_processes() {
    let line = "i=0; while [ $i -lt 1000 ]; do sleep 1000 & i=$((i + 1)); done; wait";
    dies_without_memory(&Shape::shell(line, 1001));
}
