//! `--max-run`: a command that hangs is stopped, and has failed; another instance may try.

use std::time::Duration;

use crate::support::{Leaderrun, Servers, Witnesses, unique};
use nix::sys::signal::Signal;

const TTL: Duration = Duration::from_secs(3);

fn on(servers: Option<&Servers>, resource: &str) -> Leaderrun {
    match servers {
        Some(servers) => Leaderrun::on(servers, resource, TTL),
        None => Leaderrun::new().args(["--local", "-t", "3s", "-r", resource]),
    }
}

#[test]
fn a_command_that_runs_for_too_long_is_stopped_as_timeout_does() {
    let servers = Servers::settled(1, TTL);
    for place in [Some(&servers), None] {
        let run = |options: &[&str], line: &str| {
            on(place, &unique("long")).args(options).args(["--", "sh", "-c", line]).output()
        };
        let output = run(&["--max-run", "200ms"], "exec sleep 1000");
        assert_eq!(output.code(), 124, "{}", output.stderr);
        assert!(output.stderr.contains("has run for 200ms (--max-run); stopping it"), "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        let obeys = run(&["--max-run", "200ms", "-s", "INT"], "trap 'exit 0' INT; while :; do sleep 0.02; done");
        assert_eq!(obeys.code(), 124, "even if it ends with 0 then");
        let ignores = "trap '' TERM; while :; do sleep 0.02; done";
        assert_eq!(run(&["--max-run", "200ms", "-k", "50ms"], ignores).code(), 124, "it is killed");
        assert_eq!(run(&["--max-run", "1h"], "exit 3").code(), 3);
    }
}

#[test]
fn it_has_as_long_to_stop_as_it_is_given_and_the_lease_is_kept_until_then() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("drains"), Witnesses::new());
    let start = |options: &[&str], job: &[&str]| {
        on(Some(&servers), &resource).args(options).args(witnesses.command(job)).spawn()
    };
    // Longer than a ttl, and than --kill-after.
    let leader = start(&["--max-run", "2s", "--stop-timeout", "1h"], &["drain", "3300"]);
    witnesses.started(1);
    let standby = start(&[], &["drain", "1"]);
    assert_eq!(leader.wait().code(), 124);
    let all = witnesses.started(2);
    assert_eq!((all[0].status, all[0].term.is_some()), (Some(0), true), "it was not killed: {all:?}");
    standby.signal(Signal::SIGTERM);
    assert_eq!(standby.wait().code(), 0);
    witnesses.check();
}

#[test]
fn it_counts_as_a_failure_and_another_instance_tries() {
    let servers = Servers::settled(3, TTL);
    for place in [Some(&servers), None] {
        let (resource, witnesses) = (unique("hangs"), Witnesses::new());
        let start = |job: &[&str], attempts: &str| {
            let options = ["--once-for", "a", "--attempts", attempts, "--max-run", "2s", "--holder", "web-1"];
            on(place, &resource).args(options).args(witnesses.command(job)).spawn()
        };
        let leader = start(&["drain", "1"], "2");
        witnesses.started(1);
        let standby = start(&["for", "1"], "2");
        assert_eq!((leader.wait().code(), standby.wait().code()), (124, 0));
        assert_eq!(witnesses.check().len(), 2);
        let other = |max_run: &str| {
            let options = ["--once-for", "b", "--attempts", "1", "--max-run", max_run, "--holder", "web-2"];
            on(place, &resource).args(options).args(["--", "sleep", "1000"]).output()
        };
        assert_eq!(other("100ms").code(), 124);
        let late = other("1h");
        assert_eq!(late.code(), 75);
        let said = "no success for b: 1 failure, on web-2, where it ran for too long (--max-run); not started";
        assert!(late.stderr.contains(said), "{}", late.stderr);
    }
}
