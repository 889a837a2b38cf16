//! A debugger at one of leaderrun's processes, or at the command, lets nothing of the command outlive its leadership.

use std::{
    cell::RefCell,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    rc::Rc,
};

use crate::support::{End, Leaderrun, Leading, Shape, Stage, children, eventually, program, unique};
use nix::sys::signal::Signal;

/// A debugger of a process. Ends with the test.
struct Debugger(Child);

impl Debugger {
    /// Starts one whose last word is a process id, and waits until it has attached to that.
    fn attach(words: &[String], pid: i32) -> Self {
        let debugger = Command::new(&words[0]).args(&words[1..]).arg(pid.to_string()).stdout(Stdio::null()).spawn();
        let debugger = Debugger(debugger.expect("a debugger"));
        let traced =
            || std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?.contains("TracerPid:\t0").then_some(());
        eventually("an attached debugger", || traced().is_none().then_some(()));
        debugger
    }
}

/// Stops the process, and never looks at it again.
fn idle() -> Vec<String> {
    vec![program("sprout"), "trace".into()]
}

fn strace() -> Vec<String> {
    ["strace", "-qq", "-f", "-o", "/dev/null", "-p"].map(Into::into).to_vec()
}

impl Drop for Debugger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Plays the end of a leadership while a process is debugged.
fn dies(words: Vec<String>, of: fn(&Leading) -> i32, options: &[&str], end: End) {
    let debugger = Rc::new(RefCell::new(None));
    let attached = debugger.clone();
    let attach = move |leading: &Leading| drop(attached.borrow_mut().replace(Debugger::attach(&words, of(leading))));
    Stage::new().with(options).hardship(attach).play(&Shape::double_fork(), end);
    drop(debugger);
}

#[test]
fn a_debugged_guard() {
    // A guard can't be dumped, so only root may debug it.
    if crate::support::may_become_others() {
        let guard = |leading: &Leading| leading.leader.guard();
        dies(idle(), guard, &[], End::LeaseLost);
        dies(idle(), guard, &[], End::GuardKilled);
        dies(idle(), guard, &["--pid-namespace"], End::LeaseLost);
        dies(strace(), guard, &[], End::LeaseLost);
    }
}

/// A debugger sees the end of each process first, and the guard forks more than the command.
#[test]
fn a_debugged_guard_starts_a_command_and_says_so() {
    if crate::support::may_become_others() {
        let resource = unique("traced");
        let leaderrun = || Leaderrun::new().args(["--local", "-v", "-t", "1s", "-r", &resource]);
        let mut first = leaderrun().shell("echo up; exec sleep 1000");
        first.says("up");
        let mut second = leaderrun().shell("echo up; exec sleep 1000");
        let _debugger = Debugger::attach(&[program("sprout"), "follow".into()], second.guard());
        first.signal(Signal::SIGTERM);
        second.says("up");
        second.reports(": started sh");
        assert_eq!(second.stderr().matches("guard").count(), 0, "{}", second.stderr());
    }
}

#[test]
fn a_debugged_elector() {
    if crate::support::may_become_others() {
        dies(strace(), |leading| leading.leader.pid(), &[], End::ElectorKilled);
    }
}

/// A zombie of its tree is the debugger's to reap. It keeps neither the lease nor leaderrun.
#[test]
fn a_debugged_descendant_of_a_command() {
    let child = |leading: &Leading| {
        eventually("a child of the command", || children(*children(leading.leader.guard()).first()?).first().copied())
    };
    for end in [End::LeaseLost, End::ElectorStopped, End::ElectorKilled, End::GuardKilled] {
        dies(idle(), child, &[], end);
    }
    if crate::support::may_make_namespaces() {
        dies(idle(), child, &["--pid-namespace"], End::GuardKilled);
    }
    let mut leader = Leaderrun::new().args(["--local", "-r", &unique("traced")]).shell("echo up; sleep 1000 & wait");
    leader.says("up");
    let sleep = eventually("a child", || children(*children(leader.guard()).first()?).first().copied());
    let _debugger = Debugger::attach(&idle(), sleep);
    leader.signal(Signal::SIGTERM);
    assert_eq!(leader.wait().status.signal(), Some(Signal::SIGTERM as i32));
}

#[test]
fn a_debugged_command() {
    for end in [End::LeaseLost, End::ElectorKilled, End::GuardKilled] {
        dies(strace(), |leading| children(leading.leader.guard())[0], &[], end);
    }
}

/// The debugger keeps the zombie of each thread.
#[test]
fn a_debugged_command_of_several_threads() {
    let threads = "import threading, time\nfor _ in range(3): threading.Thread(target=time.sleep, args=(1000,)).start()\n\
                   print('up', flush=True)";
    let mut leader = Leaderrun::new()
        .args(["--local", "-r", &unique("threads"), "--max-run", "1s", "-k", "100ms", "python3", "-c", threads])
        .spawn();
    leader.says("up");
    let debugger = Debugger::attach(&idle(), children(leader.guard())[0]);
    assert_eq!(leader.wait().code(), 124);
    drop(debugger);
}
