//! What goes wrong at night is said: a period without a success, and who has failed last. Only failures of the command's own
//! use up attempts, a skipped run can be told from a done one, and what is recorded can be deleted.

use std::time::Duration;

use crate::support::{Leaderrun, Output, Running, Servers, Witnesses, eventually, unique};
use nix::sys::signal::Signal;
use serde_json::Value;

const TTL: Duration = Duration::from_secs(3);

fn on(servers: Option<&Servers>, resource: &str) -> Leaderrun {
    match servers {
        Some(servers) => Leaderrun::on(servers, resource, TTL),
        None => Leaderrun::new().args(["--local", "-t", "3s", "-r", resource]),
    }
}

fn run(servers: Option<&Servers>, resource: &str, options: &[&str], line: &str) -> Output {
    on(servers, resource).args(options).args(["--", "sh", "-c", line]).output()
}

#[test]
fn attempts_that_are_used_up_are_said_with_the_last_failure() {
    let servers = Servers::settled(3, TTL);
    for place in [Some(&servers), None] {
        let resource = unique("used-up");
        let twice = |holder: &str, more: &[&str], line: &str| {
            let options = [&["--once-per", "1h", "--attempts", "2", "--holder", holder], more].concat();
            run(place, &resource, &options, line)
        };
        let first = twice("web-1", &[], "exit 4");
        let alone = "no success in this period: 1 failure, on web-1 with exit status 4; nobody stands by";
        assert_eq!((first.code(), first.stderr), (4, format!("leaderrun: {resource}: {alone}\n")));
        let last = twice("web-2", &[], "exit 9");
        let failures = "no success in this period: 2 failures, the last on web-2 with exit status 9";
        let said = |what: &str| format!("leaderrun: {resource}: {failures}; {what}\n");
        assert_eq!((last.code(), last.stderr), (9, said("no attempt is left")));
        for options in [&[][..], &["--try"], &["-w", "1s"]] {
            let late = twice("web-3", options, "exit 0");
            assert_eq!((late.code(), late.stderr), (75, said("not started")), "{options:?}");
        }
        let json = twice("web-3", &["--log-format", "json"], "exit 0").stderr;
        let json: Value = serde_json::from_str(&json).expect("one line of JSON");
        assert_eq!((&json["event"], &json["level"]), (&"no_success".into(), &"error".into()));
        assert_eq!(twice("web-3", &["-q"], "exit 0").stderr, "");
        let killed = run(place, &resource, &["--once-for", "a", "--attempts", "1", "--holder", "me"], "kill -9 $$");
        assert!(killed.stderr.contains("no success for a: 1 failure, on me by SIGKILL; "), "{}", killed.stderr);
    }
}

#[test]
fn a_wait_that_ends_without_a_success_is_said_and_a_try_is_not() {
    let servers = Servers::settled(3, TTL);
    for place in [Some(&servers), None] {
        let (resource, witnesses) = (unique("waits"), Witnesses::new());
        let job = witnesses.command(&["drain", "1"]);
        let leader = on(place, &resource).args(["--once-per", "1h", "--holder", "web-1"]).args(job).spawn();
        witnesses.started(1);
        let wait = |options: &[&str]| run(place, &resource, options, "exit 0");
        let output = wait(&["--once-per", "1h", "-w", "300ms"]);
        let said = format!("leaderrun: {resource}: no success in this period: web-1 leads since 2");
        assert_eq!(output.code(), 75);
        assert!(output.stderr.starts_with(&said), "{}", output.stderr);
        assert!(output.stderr.ends_with(", and the wait is over; not started\n"), "{}", output.stderr);
        for options in [&["--once-per", "1h", "--try"][..], &["-w", "300ms"]] {
            let output = wait(options);
            assert_eq!((output.code(), output.stderr.as_str()), (75, ""), "{options:?}");
        }
        drop(leader);
    }
}

/// Ends a leader whose only attempt this is. Returns what the next instance does.
fn after(place: Option<&Servers>, end: impl Fn(&Running, &str)) -> Output {
    let resource = unique("ends");
    let options = ["--once-per", "1h", "--attempts", "1"];
    let fails = "trap 'exit 5' TERM INT HUP; echo runs; while :; do sleep 0.02; done";
    let mut leader = on(place, &resource).args(options).shell(fails);
    leader.says("runs");
    end(&leader, &resource);
    leader.wait();
    run(place, &resource, &[&options[..], &["-w", "5s"]].concat(), "echo ran")
}

#[test]
fn a_reboot_or_a_step_down_uses_up_no_attempt() {
    let servers = Servers::settled(1, TTL);
    for place in [Some(&servers), None] {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let next = after(place, |leader, _| leader.signal(signal));
            assert_eq!((next.code(), next.stdout.as_str()), (0, "ran\n"), "{signal}: {}", next.stderr);
        }
        let next = after(place, |_, resource| {
            assert_eq!(on(place, resource).args(["--step-down"]).output().code(), 0);
        });
        assert_eq!((next.code(), next.stdout.as_str()), (0, "ran\n"), "{}", next.stderr);
        // As a shutdown does: all processes get the signal, and the command's end may be seen first.
        let next = after(place, |leader, _| {
            let guard = leader.guard();
            let command = eventually("the command", || crate::support::children(guard).first().copied());
            leader.signal(Signal::SIGSTOP);
            leader.signal(Signal::SIGTERM);
            crate::support::signal(command, Signal::SIGTERM);
            eventually("its end", || crate::support::children(guard).is_empty().then_some(()));
            leader.signal(Signal::SIGCONT);
        });
        assert_eq!((next.code(), next.stdout.as_str()), (0, "ran\n"), "{}", next.stderr);
        // A signal for the command alone is no matter of ours.
        let next = after(place, |leader, _| {
            let guard = leader.guard();
            let command = eventually("the command", || crate::support::children(guard).first().copied());
            crate::support::signal(command, Signal::SIGTERM);
        });
        assert_eq!((next.code(), next.stdout.as_str()), (75, ""), "{}", next.stderr);
    }
}

#[test]
fn a_run_that_is_skipped_has_an_exit_status_of_its_own() {
    let servers = Servers::settled(3, TTL);
    for place in [Some(&servers), None] {
        let (resource, witnesses) = (unique("skips"), Witnesses::new());
        let start = || {
            let options = ["-v", "--once-for", "a", "--skip-exit-code", "3"];
            on(place, &resource).args(options).args(witnesses.command(&["drain", "1"])).spawn()
        };
        let leader = start();
        witnesses.started(1);
        let standby = start();
        standby.reports("stands by");
        leader.signal(Signal::SIGTERM);
        assert_eq!((leader.wait().code(), standby.wait().code(), start().wait().code()), (0, 3, 3));
        assert_eq!(run(place, &resource, &["--once-for", "a"], "exit 1").code(), 0);
        assert_eq!(witnesses.check().len(), 1);
    }
}

#[test]
fn what_is_recorded_can_be_deleted_so_that_the_command_runs_again() {
    let servers = Servers::settled(3, TTL);
    for place in [Some(&servers), None] {
        let resource = unique("forgets");
        let forget = |more: &[&str]| {
            let output = on(place, &resource).args(["--forget"]).args(more).output();
            assert_eq!((output.code(), output.stderr.as_str()), (0, ""), "{more:?}");
            output.stdout
        };
        assert_eq!(
            forget(&[]),
            format!("{resource}: nothing was recorded (a record of --once-for is deleted with its KEY)\n")
        );
        for (once, key) in [(["--once-per", "1h"], &[][..]), (["--once-for", "a"], &["--once-for", "a"])] {
            let ran = |line: &str| run(place, &resource, &[&once[..], &["--attempts", "1"]].concat(), line).stdout;
            assert_eq!([ran("echo ran"), ran("echo ran")], ["ran\n", ""]);
            let of = if key.is_empty() { "" } else { " for a" };
            assert_eq!(forget(key), format!("{resource}: the record{of} is deleted\n"));
            assert_eq!([ran("echo ran; exit 1"), ran("echo ran")], ["ran\n", ""], "a failure");
            forget(key);
            assert_eq!(ran("echo ran"), "ran\n");
        }
        let json: Value = serde_json::from_str(&forget(&["--once-for", "a", "--json"])).expect("JSON");
        assert_eq!((&json["recorded"], &json["key"]), (&true.into(), &"a".into()));
        assert_eq!(run(place, &resource, &["--once-per", "1h"], "echo ran").stdout, "", "the other one stays");
    }
}

/// One node that has a record is enough to skip the command.
#[test]
fn a_node_that_may_still_have_the_record_is_named() {
    let mut servers = Servers::settled(3, TTL);
    let resource = unique("misses");
    assert_eq!(run(Some(&servers), &resource, &["--once-per", "1h"], "exit 0").code(), 0);
    servers.0[2].kill();
    let forget = || on(Some(&servers), &resource).args(["--forget"]).output();
    let output = forget();
    assert_eq!((output.code(), output.stdout.as_str()), (69, ""));
    let node = servers.0[2].url();
    assert!(output.stderr.contains(&format!("not all nodes could be told: {node} ")), "{}", output.stderr);
    servers.0[2].start_again();
    assert_eq!(on(Some(&servers), &resource).args(["--forget"]).output().code(), 0);
}

#[test]
fn on_one_machine_nothing_is_deleted_under_a_leader() {
    let resource = unique("leads");
    let mut leader = on(None, &resource).shell("echo runs; exec sleep 1000");
    leader.says("runs");
    let output = on(None, &resource).args(["--forget"]).output();
    assert_eq!(output.code(), 75);
    assert!(output.stderr.contains("an instance leads, and writes to the record"), "{}", output.stderr);
    assert_eq!(on(None, &resource).args(["-E", "9", "--forget"]).output().code(), 9);
    assert!(!leader.has_ended());
}
