//! `--once-for`: at most one success per key, whenever that is caught up on, on the nodes and on one machine.

use std::time::Duration;

use crate::support::{Leaderrun, Output, Servers, eventually, unique};
use nix::sys::signal::Signal;
use serde_json::Value;

const TTL: Duration = Duration::from_secs(3);

const DAY: i64 = 24 * 60 * 60 * 1000;

fn on(servers: Option<&Servers>, resource: &str) -> Leaderrun {
    match servers {
        Some(servers) => Leaderrun::on(servers, resource, TTL),
        None => Leaderrun::new().args(["--local", "-t", "3s", "-r", resource]),
    }
}

/// Runs a job that says that it has run, and ends with this status.
fn run(servers: Option<&Servers>, resource: &str, options: &[&str], status: &str) -> Output {
    on(servers, resource).args(options).args(["--", "sh", "-c", "echo ran; exit $0", status]).output()
}

#[test]
fn each_key_succeeds_once_in_any_order() {
    let servers = Servers::settled(3, TTL);
    for place in [Some(&servers), None] {
        let resource = unique("nightly");
        let day = |day: &str, status: &str| {
            let output = run(place, &resource, &["-n", "--once-for", day], status);
            (output.code(), output.stdout)
        };
        assert_eq!(day("2026-11-26", "7"), (7, "ran\n".into()), "a failure isn't remembered");
        assert_eq!(day("2026-11-27", "0"), (0, "ran\n".into()));
        assert_eq!(day("2026-11-27", "0"), (0, String::new()));
        assert_eq!(day("2026-11-26", "0"), (0, "ran\n".into()), "an earlier day is caught up on");
        assert_eq!(day("2026-11-26", "0"), (0, String::new()));
        let once_per = |options: &[&str]| run(place, &resource, options, "0").stdout;
        assert_eq!(once_per(&["--once-per", "1h"]), "ran\n", "a period without a name is another one");
        let status = |more: &[&str]| on(place, &resource).args(["--status"]).args(more).output().stdout;
        let known = status(&["--once-for", "2026-11-26"]);
        assert!(known.contains(" succeeded at 2"), "{known}");
        assert!(known.contains(" for 2026-11-26; that is remembered until 2"), "{known}");
        assert!(!status(&["--once-for", "2026-11-25"]).contains("succeeded"));
    }
}

#[test]
fn status_answers_for_a_key_without_a_success_and_has_its_failures() {
    let servers = Servers::settled(3, TTL);
    for place in [Some(&servers), None] {
        let resource = unique("no-success");
        let status = |more: &[&str]| on(place, &resource).args(["--status"]).args(more).output().stdout;
        let json =
            |more: &[&str]| -> Value { serde_json::from_str(&status(&[&["--json"], more].concat())).expect("JSON") };
        let of_a = ["--once-for", "a"];
        assert!(status(&of_a).contains(&format!("\n{resource}: no success for a\n")), "{}", status(&of_a));
        assert_eq!(json(&of_a)["failures"], serde_json::json!({ "count": 0, "last": null }));
        for holder in ["web-1", "web-2"] {
            run(place, &resource, &["--once-for", "a", "--attempts", "2", "--holder", holder], "9");
        }
        let says = "no success for a; 2 failures, the last on web-2 with exit status 9";
        assert!(status(&of_a).contains(&format!("\n{resource}: {says}\n")), "{}", status(&of_a));
        let last = serde_json::json!({ "holder": "web-2", "end": { "exit_status": 9 } });
        assert_eq!(json(&of_a)["failures"], serde_json::json!({ "count": 2, "last": last }));
        assert!(!status(&[]).contains("no success") && json(&[]).get("failures").is_none());
        assert!(!status(&["--once-for", "b"]).contains("failure"));
    }
}

#[test]
fn a_key_is_remembered_for_32_days_or_as_long_as_an_option_says() {
    let servers = Servers::settled(1, TTL);
    let resource = unique("keep");
    assert_eq!(run(Some(&servers), &resource, &["--once-for", "a"], "0").stdout, "ran\n");
    assert_eq!(run(Some(&servers), &resource, &["--once-for", "b", "--remember", "2s"], "0").stdout, "ran\n");
    let left = |key: &str| servers.0[0].query::<i64>(&["PTTL", &format!("leaderrun:{resource}:{key}:once-done")]);
    assert!((32 * DAY - 60_000..=32 * DAY).contains(&left("a")), "{}", left("a"));
    assert!(left("b") <= 2000, "{}", left("b"));
    for place in [Some(&servers), None] {
        let again = |_: ()| run(place, &resource, &["--once-for", "c", "--remember", "1500ms"], "0").stdout;
        assert_eq!(again(()), "ran\n");
        eventually("the end of what is remembered", || (again(()) == "ran\n").then_some(()));
    }
}

/// The name of a lock and a key could make up the names of another lock's keys.
#[test]
fn keys_of_all_kinds_are_kept_apart_from_those_of_other_resources() {
    let servers = Servers::settled(1, TTL);
    for place in [Some(&servers), None] {
        let base = unique("kinds");
        for (resource, key) in [
            (base.clone(), "a:b"),
            (format!("{base}:a"), "b"),
            (base.clone(), "a%3Ab"),
            (base.clone(), "größe 夜/$HOME *?[x] \"q\""),
            (format!("{base}:a:b"), ""),
        ] {
            let options: &[&str] = if key.is_empty() { &["--once-per", "1h"] } else { &["--once-for", key] };
            let runs = [0, 1].map(|_| run(place, &resource, options, "0").stdout);
            assert_eq!(runs, ["ran\n", ""], "{resource} {key}");
        }
    }
}

#[test]
fn failures_are_counted_key_by_key() {
    let servers = Servers::settled(1, TTL);
    for place in [Some(&servers), None] {
        let resource = unique("attempts");
        let tried = |key: &str| run(place, &resource, &["--once-for", key, "--attempts", "1"], "3").code();
        assert_eq!([tried("a"), tried("a"), tried("b"), tried("b")], [3, 75, 3, 75]);
    }
}

#[test]
fn the_guard_records_the_success_of_a_dead_electors_command_under_its_key() {
    let servers = Servers::settled(1, TTL);
    let resource = unique("elector");
    let start = || Leaderrun::on(&servers, &resource, TTL).args(["--once-for", "a"]);
    let mut leader = start().shell("echo runs; sleep 0.3");
    leader.says("runs");
    leader.signal(Signal::SIGSTOP);
    let guard = leader.guard();
    eventually("the end of the job", || crate::support::children(guard).is_empty().then_some(()));
    leader.signal(Signal::SIGKILL);
    assert_eq!(leader.wait().code(), 137);
    assert_eq!(start().shell("echo again").wait().stdout, "");
}

#[test]
fn bad_keys_and_options_that_need_one_are_usage_errors() {
    for (options, part) in [
        (&["--once-for", ""][..], "--once-for is empty"),
        (&["--once-for", "a\nb"], "--once-for has a control character"),
        (&["--once-for", "a", "--once-per", "1h"], "cannot be used with"),
        (&["--once-for", "a", "--remember", "0s"], "--remember 0s is no duration"),
        (&["--once-per", "1h", "--remember", "1h"], "cannot be used with"),
        (&["--remember", "1h"], "--once-for <KEY>"),
        (&["--attempts", "2"], "--once-for"),
        (&["--skip-exit-code", "2"], "--once-for"),
    ] {
        let output = Leaderrun::new().args(["--local", "-r", "x"]).args(options).args(["true"]).output();
        assert_eq!(output.code(), 64, "{options:?}: {}", output.stderr);
        assert!(output.stderr.contains(part), "{options:?}: {}", output.stderr);
    }
}
