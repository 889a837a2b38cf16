//! What ends the command ends leaderrun: by the same signal, so that whoever waits for it sees what they would see
//! without it.

use std::os::unix::process::ExitStatusExt;

use crate::support::{Leaderrun, Output, unique};
use nix::{libc, sys::signal::Signal};

const SIGNALS: [i32; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGABRT,
    libc::SIGKILL,
    libc::SIGUSR1,
    libc::SIGSEGV,
    libc::SIGPIPE,
    libc::SIGTERM,
];

fn ended_by(output: &Output, signal: i32) {
    let status = output.status;
    assert_eq!((status.signal(), status.core_dumped()), (Some(signal), false), "{status:?}: {}", output.stderr);
}

fn local(name: &str) -> Leaderrun {
    Leaderrun::new().args(["--local", "-r", &unique(name)])
}

#[test]
fn the_signal_that_ends_the_command_ends_leaderrun() {
    for signal in SIGNALS.into_iter().chain([libc::SIGRTMIN() + 3, libc::SIGRTMAX()]) {
        ended_by(&local("killed").shell(&format!("kill -{signal} $$")).wait(), signal);
    }
}

#[test]
fn the_commands_end_is_seen_among_the_ends_of_others() {
    // All end at once, while the guard reaps.
    let ends = "for i in {1..30}; do (exec sleep 1000 &); done; kill 0";
    for _ in 0..100 {
        ended_by(&local("among").args(["bash", "-c", ends]).output(), libc::SIGTERM);
    }
}

#[test]
fn a_signal_that_leaderrun_was_started_to_ignore_ends_it_when_it_ends_the_command() {
    // python3 restores a signal that a shell's trap has left ignored.
    let reset = "import signal, os; signal.signal(signal.SIGHUP, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGHUP)";
    let run = local("nohup").args(["python3", "-c", reset]);
    let program = run.command.get_program().to_owned();
    let words = ["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""].map(Into::into).into_iter().chain([program]).collect();
    ended_by(&run.through(words).output(), libc::SIGHUP);
}

#[test]
fn a_signal_that_was_passed_on_and_ends_the_command_ends_leaderrun() {
    let mut leader = local("term").shell("echo up; exec sleep 1000");
    leader.says("up");
    leader.signal(Signal::SIGTERM);
    ended_by(&leader.wait(), libc::SIGTERM);
}

#[test]
fn a_signal_that_ends_a_standby_ends_it_as_it_would_end_the_command() {
    let resource = unique("standby");
    let mut leader = Leaderrun::new().args(["--local", "-r", &resource]).shell("echo up; exec sleep 1000");
    leader.says("up");
    let standby = Leaderrun::new().args(["--local", "-v", "-r", &resource, "true"]).spawn();
    standby.reports("stands by");
    standby.signal(Signal::SIGTERM);
    ended_by(&standby.wait(), libc::SIGTERM);
}

#[test]
fn xargs_sees_the_signal_that_ended_the_command() {
    let line = format!("echo x | xargs leaderrun --local -r {} -- sh -c 'kill -TERM $$'", unique("xargs"));
    let output = std::process::Command::new("sh").args(["-c", &line]).env("PATH", crate::support::path()).output();
    let output = output.expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("terminated by signal 15"), "{said}");
}

#[test]
fn a_status_of_the_commands_own_stays_one() {
    let output = local("code").shell("exit 143").wait();
    assert_eq!(output.status.code(), Some(143), "{}", output.stderr);
}
