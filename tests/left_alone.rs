//! A failure after which nobody is left to try again is an error, said once. One that a standby may make good is not.

use std::time::Duration;

use crate::support::{Leaderrun, Running, Servers, eventually, quoted, unique};
use nix::sys::signal::Signal;
use serde_json::Value;

const TTL: Duration = Duration::from_secs(3);

fn on(servers: Option<&Servers>, resource: &str) -> Leaderrun {
    match servers {
        Some(servers) => Leaderrun::on(servers, resource, TTL),
        None => Leaderrun::new().args(["--local", "-t", "3s", "-r", resource]),
    }
}

/// Waits until so many stand by, according to the place of the lock.
fn standbys(servers: Option<&Servers>, resource: &str, wanted: u64) {
    eventually("the standbys", || {
        let seen = on(servers, resource).args(["--status", "--json"]).output().stdout;
        let seen: Value = serde_json::from_str(&seen).expect("JSON");
        (seen["standbys"] == wanted).then_some(())
    });
}

/// Starts a leader whose job runs until its end is allowed.
fn leader(servers: Option<&Servers>, resource: &str, options: &[&str], end: &str) -> (Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let line = format!("echo runs; while ! [ -e {} ]; do sleep 0.01; done; {end}", quoted(folder.path().join("go")));
    let mut leader = on(servers, resource).args(options).shell(&line);
    leader.says("runs");
    (leader, folder)
}

fn allow_end(folder: &tempfile::TempDir) {
    std::fs::write(folder.path().join("go"), "").expect("a file");
}

#[test]
fn a_failure_that_leaves_nobody_to_try_again_is_said_in_one_line() {
    let servers = Servers::settled(3, TTL);
    for place in [Some(&servers), None] {
        let resource = unique("alone");
        let said = |period: &str, failures: &str| {
            format!("leaderrun: {resource}: no success {period}: {failures}; nobody stands by\n")
        };
        for (options, period, failures) in [
            (&["--once-for", "a", "-w", "5"][..], "for a", "failed on web-1 with exit status 4"),
            (&["--once-per", "1h", "--try"], "in this period", "failed on web-1 with exit status 4"),
            (&["--once-for", "b", "--attempts", "3"], "for b", "1 failure, on web-1 with exit status 4"),
            (&["--once-for", "b", "--attempts", "3"], "for b", "2 failures, the last on web-1 with exit status 4"),
        ] {
            let failed = on(place, &resource).args(["--holder", "web-1"]).args(options).shell("exit 4").wait();
            assert_eq!((failed.code(), failed.stderr), (4, said(period, failures)), "{options:?}");
        }
        let killed = on(place, &resource).args(["--once-for", "c"]).shell("kill -9 $$").wait();
        assert!(killed.stderr.contains(" by SIGKILL; nobody stands by\n"), "{}", killed.stderr);
        let json = on(place, &resource).args(["--once-for", "c", "--log-format", "json"]).shell("exit 4").wait().stderr;
        let json: Value = serde_json::from_str(&json).expect("one line of JSON");
        assert_eq!((&json["event"], &json["level"]), (&"no_success".into(), &"error".into()));
        assert_eq!(on(place, &resource).args(["--once-for", "c", "-q"]).shell("exit 4").wait().stderr, "");
        assert_eq!(on(place, &resource).shell("exit 4").wait().stderr, "", "no period");
    }
}

#[test]
fn the_last_of_those_who_stand_by_says_it_and_a_night_with_a_success_says_nothing() {
    let servers = Servers::settled(3, TTL);
    for place in [Some(&servers), None] {
        for (last, says) in [("exit 4", true), ("exit 0", false)] {
            let resource = unique("last");
            let options = ["--once-for", "a", "-w", "1h"];
            let (first, folder) = leader(place, &resource, &options, "exit 3");
            let (_watcher, second) =
                (on(place, &resource).args(["--watch"]).spawn(), on(place, &resource).args(options).shell(last));
            standbys(place, &resource, 1);
            allow_end(&folder);
            let (first, second) = (first.wait(), second.wait());
            assert_eq!((first.code(), first.stderr.as_str()), (3, ""), "another may try");
            let alone = "with exit status 4; nobody stands by\n";
            assert_eq!(second.stderr.ends_with(alone), says, "{}", second.stderr);
            assert_eq!(second.stderr.lines().count(), usize::from(says), "{}", second.stderr);
        }
    }
}

#[test]
fn an_end_that_is_no_failure_of_the_commands_is_not_taken_for_one() {
    let servers = Servers::settled(1, TTL);
    for place in [Some(&servers), None] {
        for end in ["a signal", "a step-down"] {
            let resource = unique("ends");
            let line = "trap 'exit 5' TERM; echo runs; while :; do sleep 0.02; done";
            let mut leader = on(place, &resource).args(["--once-for", "a"]).shell(line);
            leader.says("runs");
            match end {
                "a signal" => leader.signal(Signal::SIGTERM),
                _ => assert_eq!(on(place, &resource).args(["--step-down"]).output().code(), 0),
            }
            let ended = leader.wait();
            assert!(!ended.stderr.contains("no success"), "{end}: {}", ended.stderr);
        }
    }
}

/// Nothing is said of what isn't known.
#[test]
fn where_standbys_may_not_be_counted_nothing_is_said_of_them() {
    let servers = Servers::settled(3, TTL);
    for server in &servers.0 {
        server.query::<()>(&["ACL", "SETUSER", "default", "-pubsub|numsub"]);
    }
    let failed = on(Some(&servers), &unique("unknown")).args(["--once-for", "a"]).shell("exit 4").wait();
    assert_eq!((failed.code(), failed.stderr.as_str()), (4, ""));
}
