//! What has happened can be asked: when each run began, where, and how it ended, whatever became of those who knew.

use std::time::Duration;

use crate::support::{Leaderrun, Output, Running, Servers, eventually, is_plain, signal, unique};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

const TTL: Duration = Duration::from_secs(3);

/// Where runs are recorded.
enum Place {
    Nodes(Servers),
    ThisMachine(TempDir),
}

impl Place {
    fn both() -> [Self; 2] {
        [Place::Nodes(Servers::settled(3, TTL)), Place::ThisMachine(tempfile::tempdir().expect("a folder"))]
    }

    fn on(&self, resource: &str) -> Leaderrun {
        self.by_default(resource).args(["-t", "3s"])
    }

    fn by_default(&self, resource: &str) -> Leaderrun {
        match self {
            Place::Nodes(servers) => Leaderrun::new().args(["-R", &servers.urls(), "-r", resource]),
            Place::ThisMachine(folder) => {
                Leaderrun::new().env("XDG_RUNTIME_DIR", folder.path()).args(["--local", "-r", resource])
            }
        }
    }

    /// Asks with the time that nodes have at a longer ttl.
    fn ask(&self, resource: &str, question: &[&str]) -> Output {
        self.by_default(resource).args(question).output()
    }

    fn list(&self) -> String {
        let place = match self {
            Place::Nodes(servers) => Leaderrun::new().args(["-R", &servers.urls()]),
            Place::ThisMachine(folder) => Leaderrun::new().env("XDG_RUNTIME_DIR", folder.path()).args(["--local"]),
        };
        place.args(["--list"]).output().stdout
    }

    fn history(&self, resource: &str) -> Value {
        let output = self.ask(resource, &["--history", "--json"]);
        assert_eq!((output.code(), output.stderr.as_str()), (0, ""), "{}", output.stdout);
        serde_json::from_str::<Value>(&output.stdout).expect("JSON")["runs"].clone()
    }

    /// Starts a leader, and waits until its command runs.
    fn leader(&self, resource: &str) -> Running {
        let mut leader = self.on(resource).args(["--holder", "web-9"]).shell("echo runs; exec sleep 100");
        leader.says("runs");
        leader
    }
}

/// Kills both processes of an instance in the same instant.
fn kill_both(leader: &Running) {
    let guard = leader.guard();
    for (pid, number) in [
        (leader.pid(), Signal::SIGSTOP),
        (guard, Signal::SIGSTOP),
        (guard, Signal::SIGKILL),
        (leader.pid(), Signal::SIGKILL),
    ] {
        signal(pid, number);
    }
}

#[test]
fn each_end_of_a_run_is_on_record_and_the_last_one_in_the_status() {
    for place in Place::both() {
        let resource = unique("ends");
        let none = place.ask(&resource, &["--history"]);
        assert_eq!((none.code(), none.stdout), (0, format!("{resource}: no run is on record\n")));
        for (holder, line) in [("web-1", "exit 0"), ("web-2", "exit 3"), ("web-3", "kill -USR1 $$")] {
            place.on(&resource).args(["--holder", holder]).shell(line).wait();
        }
        let leader = place.leader(&resource);
        assert_eq!(place.ask(&resource, &["--step-down"]).code(), 0);
        leader.wait();
        let leader = place.leader(&resource);
        signal(leader.guard(), Signal::SIGKILL);
        leader.wait();
        let leader = place.leader(&resource);
        let leads = place.history(&resource);
        assert_eq!((&leads[0]["end"], &leads[1]["end"]), (&json!("leads"), &json!("failed")), "{leads}");
        leader.signal(Signal::SIGKILL);
        leader.reports("its guard killed");
        let runs = place.history(&resource);
        let ends: Vec<_> = runs.as_array().expect("runs").iter().map(|run| [&run["holder"], &run["end"]]).collect();
        let expected = [
            ["web-9", "failed"],
            ["web-9", "failed"],
            ["web-9", "stepped-down"],
            ["web-3", "signal"],
            ["web-2", "exit"],
            ["web-1", "success"],
        ];
        assert_eq!(json!(ends), json!(expected));
        assert_eq!(
            [&runs[3]["signal"], &runs[4]["exit_status"], &runs[5]["exit_status"]],
            [&json!(10), &json!(3), &json!(0)]
        );
        let tokens: Vec<u64> = runs.as_array().expect("runs").iter().filter_map(|run| run["token"].as_u64()).collect();
        assert!(tokens.len() == 6 && tokens.is_sorted_by(|a, b| a > b), "{runs}");
        let shown = place.ask(&resource, &["--history", "2"]).stdout;
        assert!(shown.starts_with("START ") && shown.lines().count() == 3, "{shown}");
        let status = place.ask(&resource, &["--status"]).stdout;
        assert!(status.contains(&format!("\n{resource}: the last run: leaderrun died after ")), "{status}");
    }
}

#[test]
fn each_slot_has_a_history_of_its_own() {
    for place in Place::both() {
        let resource = unique("slots");
        let slots = |place: &Place, question: &[&str]| {
            place.by_default(&resource).args(["--slots", "2"]).args(question).output()
        };
        assert_eq!(place.on(&resource).args(["--slots", "2"]).shell("exit 3").wait().code(), 3);
        let output = slots(&place, &["--history", "--json"]);
        let json: Value = serde_json::from_str(&output.stdout).expect("JSON");
        let of = |slot: usize| json["slots"][slot]["runs"].as_array().expect("runs").len();
        assert_eq!((output.code(), of(0) + of(1)), (0, 1), "{json}");
        assert!(slots(&place, &["--status"]).stdout.contains(": the last run: exit status 3 after "));
        assert_eq!(slots(&place, &["--succeeded-within", "1h"]).code(), 1);
        let listed = place.list();
        assert!(listed.contains(&resource), "{listed}");
        // Nobody leads who could say that there are slots.
        assert_eq!(place.on(&resource).args(["--slots", "2", "true"]).output().code(), 0);
        let past = place.ask(&resource, &["--history"]).stdout;
        assert!(past.contains("success") && past.contains("exit status 3"), "{past}");
    }
}

#[test]
fn a_slot_that_succeeded_does_not_hide_one_that_did_not() {
    for place in Place::both() {
        let resource = unique("shards");
        let ask = |question: &[&str]| {
            let output = place.by_default(&resource).args(["--slots", "2"]).args(question).output();
            (output.code(), output.stdout)
        };
        let succeeded = place.on(&resource).args(["--slots", "2", "--", "sh", "-c", "echo $LEADERRUN_SLOT"]).output();
        let done: usize = succeeded.stdout.trim().parse().expect("a slot");
        let never = 3 - done;
        let (code, said) = ask(&["--succeeded-within", "1h"]);
        assert_eq!(code, 1, "{said}");
        assert!(
            said.starts_with(&format!("{resource} slot {never}: no success within 1h: none is on record")),
            "{said}"
        );
        assert!(said.contains(&format!("\n{resource} slot {done}: succeeded ")), "{said}");
        let one = |slot: usize| ask(&["--succeeded-within", "1h", "--slot", &slot.to_string()]);
        assert_eq!([one(done).0, one(never).0, one(3).0], [0, 1, 64]);
        assert_eq!(one(done).1.lines().count(), 1);
        let json = ask(&["--succeeded-within", "1h", "--json"]).1;
        let json: Value = serde_json::from_str(&json).expect("JSON");
        let of = |slot: usize| &json["slots"][slot - 1];
        assert_eq!(
            json!([json["succeeded"], of(done)["succeeded"], of(never)["succeeded"]]),
            json!([false, true, false])
        );
        // Whoever leads beside a leader has the other slot.
        let mut leader =
            place.on(&resource).args(["--slots", "2"]).shell("trap 'exit 0' TERM; echo runs; sleep 100 & wait");
        leader.says("runs");
        assert_eq!(place.on(&resource).args(["--slots", "2", "true"]).output().code(), 0);
        leader.signal(Signal::SIGTERM);
        assert_eq!(leader.wait().code(), 0);
        assert_eq!(ask(&["--succeeded-within", "1h"]).0, 0);
    }
}

#[test]
fn a_run_of_which_nobody_could_say_how_it_ended_has_died() {
    for place in Place::both() {
        let resource = unique("died");
        let leader = place.leader(&resource);
        if let Place::Nodes(servers) = &place {
            let is_extended = |server: &crate::support::Server| {
                let runs: Vec<String> = server.query(&["ZREVRANGE", &format!("leaderrun:{resource}:runs"), "0", "-1"]);
                runs.iter().any(|run| run.contains("\"seen\":"))
            };
            eventually("an extension", || servers.0.iter().all(is_extended).then_some(()));
        }
        kill_both(&leader);
        let died = eventually("the end of the lease", || {
            let run = place.history(&resource)[0].clone();
            (run["end"] != "leads").then_some(run)
        });
        assert_eq!((&died["end"], &died["holder"]), (&json!("died"), &json!("web-9")), "{died}");
        assert_eq!(died["ran_ms"].is_u64(), matches!(place, Place::Nodes(_)), "at least until the last extension");
        assert_eq!(place.on(&resource).args(["true"]).output().code(), 0);
        assert_eq!(place.history(&resource)[1]["end"], "died");
        let metrics = place.ask(&resource, &["--status", "--openmetrics", "-"]).stdout;
        assert!(metrics.contains(",result=\"died\"} 1\n") && !metrics.contains("\"none\""), "{metrics}");
    }
}

#[test]
fn no_run_is_said_to_be_missing_while_too_few_nodes_answer() {
    let output = Leaderrun::new().args(["-R", "127.0.0.1:1", "-r", "x", "--history"]).output();
    assert_eq!((output.code(), output.stdout.lines().count()), (69, 1), "{}", output.stdout);
    assert!(output.stdout.starts_with("x: not known: 0 of 1 node answered"), "{}", output.stdout);
}

#[test]
fn a_run_is_not_said_to_be_over_while_who_leads_is_not_known() {
    let mut servers = Servers::settled(3, TTL);
    let resource = unique("unknown");
    let on = |urls: &str| Leaderrun::new().args(["-R", urls, "-r", &resource, "-t", "3s", "--holder", "web-9"]);
    let urls = servers.urls();
    let leader = on(&urls).args(["-v", "sleep", "100"]).spawn();
    leader.reports(": started ");
    let ask = |urls: &str, question: &[&str]| {
        let output = on(urls).args(question).output();
        assert!(!output.stdout.contains("died"), "{}", output.stdout);
        (output.code(), output.stdout)
    };
    // One with another list of nodes can't say who leads either.
    let (code, said) = ask(&servers.0[0].url(), &["--status"]);
    assert_eq!(code, 69, "{said}");
    assert!(said.contains(": not known: web-9, whose lock is on redis://"), "{said}");
    servers.0[1].kill();
    servers.0[2].kill();
    assert_eq!(ask(&urls, &["--status"]).0, 69);
    let (code, said) = ask(&urls, &["--history"]);
    assert!(code == 69 && said.contains("not known to be over"), "{said}");
    let json: Value = serde_json::from_str(&ask(&urls, &["--history", "--json"]).1).expect("JSON");
    assert_eq!(json["runs"][0]["end"], "unknown");
}

#[test]
fn nodes_that_lost_their_data_and_a_minority_that_alone_knows_an_end_make_one_history() {
    let mut servers = Servers::settled(3, TTL);
    let resource = unique("merged");
    let run = |servers: &Servers, line: &str| Leaderrun::on(servers, &resource, TTL).args(["-k", "100ms"]).shell(line);
    assert_eq!(run(&servers, "exit 4").wait().code(), 4);
    let mut leader = run(&servers, "echo runs; exec sleep 100");
    leader.says("runs");
    servers.0[0].start_again();
    let known_to = |server: &crate::support::Server| -> usize {
        server.query::<Vec<String>>(&["ZREVRANGE", &format!("leaderrun:{resource}:runs"), "0", "-1"]).len()
    };
    eventually("the run on the empty node", || (known_to(&servers.0[0]) == 1).then_some(()));
    servers.0[1].freeze();
    servers.0[2].freeze();
    let output = leader.wait();
    assert_eq!(output.code(), 76, "{}", output.stderr);
    servers.0[1].thaw();
    servers.0[2].thaw();
    let place = Place::Nodes(servers);
    let runs = place.history(&resource);
    assert_eq!(json!([runs[0]["end"], runs[0]["nodes"]]), json!(["lease-lost", 3]), "{runs}");
    assert_eq!(json!([runs[1]["exit_status"], runs[1]["nodes"]]), json!([4, 2]), "{runs}");
}

#[test]
fn runs_that_overlap_are_pointed_out_and_what_others_wrote_stays_on_its_line() {
    let servers = Servers::settled(3, TTL);
    let (resource, key) = (unique("evidence"), "leaderrun:");
    let forged = "web\nforged: x\u{1b}]0;title\u{7}\u{9b}2J\u{202e}";
    let record = |token: u64, start: u64, ran: u64| json!({ "token": token, "id": format!("{token}"), "holder": forged, "start": start, "until": start + ran, "ran_ms": ran, "end": "success" });
    for server in &servers.0[..2] {
        for (token, start) in [(5, 1_000), (6, 3_000), (7, 9_000)] {
            let text = record(token, start, 4_000).to_string();
            server.query::<()>(&["ZADD", &format!("{key}{resource}:runs"), &token.to_string(), &text]);
        }
        server.query::<()>(&["ZADD", &format!("{key}{resource}:runs"), "8", "no record"]);
    }
    let ask = |question: &[&str]| {
        let run = Leaderrun::new().args(["-R", &servers.urls()]).env("LEADERRUN_RESOURCE", &resource);
        run.args(question).output()
    };
    let output = ask(&["--history"]);
    assert_eq!(output.code(), 1, "{}", output.stdout);
    let wrong: Vec<&str> = output.stdout.lines().filter(|line| line.starts_with("wrong: ")).collect();
    assert_eq!(wrong.len(), 1, "{}", output.stdout);
    assert!(wrong[0].ends_with("with token 6 began while the run with token 5 was still running"), "{wrong:?}");
    for question in
        [&["--history"][..], &["--history", "--json"], &["--status"], &["--list"], &["--succeeded-within", "1h"]]
    {
        let Output { stdout, stderr, .. } = ask(question);
        is_plain(&stdout);
        is_plain(&stderr);
        assert!(!stdout.lines().any(|line| line.starts_with("forged")), "{stdout}");
    }
}

#[test]
fn a_monitor_learns_whether_a_success_is_recent_enough_and_why_not() {
    for mut place in Place::both() {
        let resource = unique("monitor");
        let ask = |place: &Place, within: &str| {
            let output = place.ask(&resource, &["--succeeded-within", within]);
            (output.code(), output.stdout)
        };
        assert_eq!(ask(&place, "25h"), (1, format!("{resource}: no success within 1day 1h: none is on record\n")));
        assert_eq!(place.on(&resource).args(["--holder", "web-1", "true"]).output().code(), 0);
        assert_eq!(place.on(&resource).args(["--holder", "web-2", "false"]).output().code(), 1);
        let (code, said) = ask(&place, "25h");
        assert!(code == 0 && said.contains(" ago, on web-1, with token "), "{said}");
        let (code, said) = ask(&place, "1ms");
        assert!(code == 1 && said.contains(": no success within 1ms: the last was "), "{said}");
        assert!(said.contains(" ago, on web-1; the last run: exit status 1 after "), "{said}");
        let json = place.ask(&resource, &["--succeeded-within", "1h", "--json"]).stdout;
        let json: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!((&json["succeeded"], &json["last_run"]["holder"]), (&json!(true), &json!("web-2")), "{json}");
        let long = place.ask(&resource, &["--succeeded-within", "31d"]);
        assert_eq!(long.code(), 64);
        assert!(long.stderr.contains("--succeeded-within 31d is too long; give it 30d or less"), "{}", long.stderr);
        if let Place::Nodes(servers) = &mut place {
            servers.0[0].kill();
            assert_eq!(ask(&place, "25h").0, 0);
        }
        if let Place::Nodes(servers) = &mut place {
            servers.0[1].kill();
            let (code, said) = ask(&place, "25h");
            assert!(code == 69 && said.contains("not known: 1 of 3 nodes answered, 2 needed: redis://"), "{said}");
            assert_eq!(place.ask(&resource, &["--history"]).code(), 69);
        }
    }
}
