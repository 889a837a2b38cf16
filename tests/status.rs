//! `--status`, `--leads` and `--watch` show who leads, according to the nodes or this machine, without disturbing
//! anybody.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    time::Duration,
};

use crate::support::{Leaderrun, Output, Running, Servers, Witnesses, eventually, unique};
use serde_json::Value;

const TTL: Duration = Duration::from_secs(1);

/// Where to look for a leader.
enum Place {
    Nodes(Servers),
    ThisMachine,
}

impl Place {
    fn both() -> [Self; 2] {
        [Place::Nodes(Servers::settled(3, TTL)), Place::ThisMachine]
    }

    fn leaderrun(&self, resource: &str) -> Leaderrun {
        match self {
            Place::Nodes(servers) => Leaderrun::on(servers, resource, TTL),
            Place::ThisMachine => Leaderrun::new().args(["--local", "-r", resource, "-t", "1s"]),
        }
    }

    fn ask(&self, resource: &str, question: &[&str]) -> Output {
        self.leaderrun(resource).args(question).output()
    }

    fn leader(&self, resource: &str, holder: &str, witnesses: &Witnesses) -> Running {
        let before = witnesses.all().len();
        let leader =
            self.leaderrun(resource).args(["--holder", holder]).args(witnesses.command(&["drain", "1"])).spawn();
        witnesses.started(before + 1);
        leader
    }
}

#[test]
fn those_who_stand_by_are_counted() {
    for place in Place::both() {
        let (resource, witnesses) = (unique("standbys"), Witnesses::new());
        let ask = |question: &[&str]| place.leaderrun(&resource).args(question).output().stdout;
        let start = || place.leaderrun(&resource).args(["-v"]).args(witnesses.command(&["drain", "1"])).spawn();
        let _leader = start();
        witnesses.started(1);
        let standbys = || {
            let json: Value = serde_json::from_str(&ask(&["--status", "--json"])).expect("JSON");
            json["standbys"].as_u64()
        };
        assert_eq!(standbys(), Some(0));
        assert!(ask(&["--status"]).contains(&format!("\n{resource}: nobody stands by\n")));
        let _others = [start(), start()];
        eventually("two standbys", || (standbys() == Some(2)).then_some(()));
        assert!(ask(&["--status"]).contains(&format!("\n{resource}: 2 instances stand by\n")));
        let metrics = ask(&["--status", "--openmetrics", "-"]);
        assert!(metrics.contains(&format!("leaderrun_standbys{{resource=\"{resource}\"}} 2\n")), "{metrics}");
    }
}

#[test]
fn a_resource_that_nobody_leads_takes_few_requests() {
    let servers = Servers::start(1);
    let output = Leaderrun::new().args(["-R", &servers.urls(), "-r", &unique("idle"), "--status"]).output();
    assert_eq!(output.code(), 1, "{}", output.stderr);
    let info: String = servers.0[0].query(&["INFO", "commandstats"]);
    let (_, calls) = info.split_once("cmdstat_eval:calls=").expect("a count");
    let calls: u32 = calls.split(',').next().and_then(|calls| calls.parse().ok()).expect("a number");
    assert!(calls <= 3, "{calls} requests");
}

#[test]
fn who_leads_since_when_and_with_which_token() {
    for place in Place::both() {
        let (resource, witnesses) = (unique("status"), Witnesses::new());
        let vacant = place.ask(&resource, &["--status"]);
        assert_eq!((vacant.code(), vacant.stderr.as_str()), (1, ""));
        assert!(vacant.stdout.starts_with(&format!("{resource}: nobody leads\n")), "{}", vacant.stdout);
        let leader = place.leader(&resource, "web-2", &witnesses);
        let token = witnesses.all()[0].token.to_string();
        let led = place.ask(&resource, &["--status"]);
        assert_eq!((led.code(), led.stderr.as_str()), (0, ""));
        for part in ["web-2 leads since 20", &format!("with fencing token {token}")] {
            assert!(led.stdout.contains(part), "{part} is not in {}", led.stdout);
        }
        let json: Value = serde_json::from_str(&place.ask(&resource, &["--status", "--json"]).stdout).expect("JSON");
        assert_eq!(json["leader"]["holder"], "web-2");
        assert_eq!(json["leader"]["token"].to_string(), token);
        assert_eq!(json["leader"]["safe_for_ms"].is_u64(), matches!(place, Place::Nodes(_)));
        assert_eq!(
            (place.ask(&resource, &["--leads", "web-2"]).code(), place.ask(&resource, &["--leads", "web"]).code()),
            (0, 1)
        );
        leader.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(leader.wait().code(), 0);
        assert_eq!(place.ask(&resource, &["--leads", "web-2"]).code(), 1);
    }
}

#[test]
fn each_nodes_view_and_why_one_has_none() {
    let mut servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("views"), Witnesses::new());
    let job = witnesses.command(&[]);
    let _leader = Leaderrun::on(&servers, &resource, TTL).args(["--holder", "web-2"]).args(job).spawn();
    witnesses.started(1);
    eventually("the lock on all nodes", || (servers.locked(&resource) == 3).then_some(()));
    let is_bare = |servers: &Servers| -> Value {
        let output = Leaderrun::on(servers, &resource, TTL).args(["--status", "--json"]).output();
        serde_json::from_str::<Value>(&output.stdout).expect("JSON")["bare_quorum"].clone()
    };
    assert_eq!(is_bare(&servers), false);
    servers.0[1].kill();
    assert_eq!(is_bare(&servers), true);
    let ask = |servers: &Servers| Leaderrun::on(servers, &resource, TTL).args(["--status"]).output();
    let output = ask(&servers);
    assert_eq!(output.code(), 0, "{}", output.stdout);
    let on = "on 2 of 3 nodes, 2 needed (a bare quorum: one node less would lose it); for ";
    assert!(output.stdout.contains(on), "{}", output.stdout);
    assert!(output.stdout.contains(&format!("{}  refused the connection", servers.0[1].url())), "{}", output.stdout);
    assert_eq!(output.stdout.matches("  web-2 ").count(), 2, "{}", output.stdout);
    servers.0[0].kill();
    let output = ask(&servers);
    assert_eq!(output.code(), 69);
    let down = [0, 1].map(|node: usize| format!("{} refused the connection", servers.0[node].url())).join(", ");
    let said = format!("not known: 1 of 3 nodes answered, 2 needed: {down}");
    assert!(output.stdout.contains(&said), "{}", output.stdout);
    let leads = Leaderrun::on(&servers, &resource, TTL).args(["--leads", "web-2"]).output();
    assert_eq!((leads.code(), leads.stdout.as_str()), (69, ""));
}

#[test]
fn a_lock_that_is_kept_shows_no_leader_and_a_success_is_shown() {
    for place in Place::both() {
        let resource = unique("kept");
        let options = ["--hold", "30s", "--once-per", "60s", "--holder", "web-2", "true"];
        assert_eq!(place.leaderrun(&resource).args(options).output().code(), 0);
        let output = place.ask(&resource, &["--status"]);
        assert_eq!(output.code(), 1);
        assert!(output.stdout.contains("nobody leads; web-2 has led and keeps the lock for "), "{}", output.stdout);
        assert!(output.stdout.contains("web-2 succeeded at "), "{}", output.stdout);
        assert_eq!(place.ask(&resource, &["--leads", "web-2"]).code(), 1);
    }
}

#[test]
fn watch_prints_each_change_as_it_happens() {
    for place in Place::both() {
        let (resource, witnesses) = (unique("watch"), Witnesses::new());
        let mut watch = place.leaderrun(&resource).args(["--watch"]).spawn();
        watch.says(&format!("{resource}: nobody leads\n"));
        for holder in ["web-1", "web-2"] {
            let leader = place.leader(&resource, holder, &witnesses);
            watch.says(&format!("{resource}: {holder} leads since "));
            leader.signal(nix::sys::signal::Signal::SIGTERM);
            leader.wait();
        }
        eventually("the last line", || watch.stdout().trim_end().ends_with("nobody leads").then_some(()));
        let json = place.leaderrun(&resource).args(["--watch", "--json"]).spawn();
        let line = eventually("a line", || json.stdout().lines().next().map(ToOwned::to_owned));
        let told: Value = serde_json::from_str(&line).expect("JSON on one line");
        assert!(told["time"].is_string() && told["leader"].is_null(), "{told}");
    }
}

/// Nothing may change for days.
#[test]
fn watch_ends_with_its_reader_though_nothing_changes() {
    for place in Place::both() {
        let mut watch = place.leaderrun(&unique("reader")).args(["--watch"]).command;
        let mut watch = watch.stdout(Stdio::piped()).spawn().expect("leaderrun");
        let mut stdout = BufReader::new(watch.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        assert!(line.ends_with(": nobody leads\n"), "{line}");
        drop(stdout);
        let status = eventually("its end", || watch.try_wait().expect("our child"));
        assert_eq!(status.code(), Some(0));
    }
}

#[test]
fn a_leader_whose_host_dies_is_shown_as_gone_when_its_lease_ends() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("dies"), Witnesses::new());
    let mut watch = Leaderrun::on(&servers, &resource, TTL).args(["--watch"]).spawn();
    let leader = Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(&[])).spawn();
    watch.says(" leads since ");
    let guard = leader.guard();
    crate::support::signal(leader.pid(), nix::sys::signal::Signal::SIGSTOP);
    crate::support::signal(guard, nix::sys::signal::Signal::SIGKILL);
    eventually("nobody to lead", || watch.stdout().trim_end().ends_with("nobody leads").then_some(()));
}

#[test]
fn a_reader_that_closes_the_pipe_causes_no_failure() {
    let line = "\"$0\" --status --local -r enough | true; echo ${PIPESTATUS[0]}; \"$0\" --man | head -n 1; echo ${PIPESTATUS[0]}";
    let run =
        std::process::Command::new("bash").args(["-c", line, env!("CARGO_BIN_EXE_leaderrun")]).output().expect("bash");
    let (stdout, stderr) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert_eq!((stdout.as_ref(), stderr.as_ref()), ("1\n'\\\" t\n0\n", ""));
}

#[test]
fn asking_changes_nothing() {
    let servers = Servers::settled(1, TTL);
    let resource = unique("nothing");
    for question in [&["--status"][..], &["--leads", "x"], &["--step-down"]] {
        assert_eq!(Leaderrun::on(&servers, &resource, TTL).args(question).output().code(), 1);
    }
    assert!(servers.keys().is_empty(), "{:?}", servers.keys());
    let folder = tempfile::tempdir().expect("a folder");
    let local = || Leaderrun::new().env("XDG_RUNTIME_DIR", folder.path()).args(["--local", "-r", &resource]);
    assert_eq!(local().args(["--status"]).output().code(), 1);
    assert_eq!(fs::read_dir(folder.path().join("leaderrun")).expect("a folder").count(), 0);
    // A candidate that doesn't wait never finds the lock taken by instances that only look.
    std::thread::scope(|scope| {
        let look = || (0..100).for_each(|_| drop(local().args(["--status"]).output()));
        let looking = [scope.spawn(look), scope.spawn(look)];
        while !looking.iter().all(|looking| looking.is_finished()) {
            assert_eq!(local().args(["-n", "true"]).output().code(), 0);
        }
    });
}

/// A newline would forge a line, and an escape sequence would move the cursor or set a terminal's title.
#[test]
fn what_others_wrote_stays_on_its_line_and_moves_no_cursor() {
    let servers = Servers::settled(1, TTL);
    let resource = unique("plain");
    let key = format!("leaderrun:{resource}");
    let forged = "web\nforged: x leads\u{1b}]0;title\u{7}\u{9b}2J\u{202e}\r\u{2028}";
    let ours = serde_json::json!({ "id": "a", "holder": forged }).to_string();
    let success = serde_json::json!({ "token": 1, "holder": forged, "ended": forged }).to_string();
    servers.0[0].query::<()>(&["SET", &format!("{key}:done"), &success]);
    let run = || Leaderrun::on(&servers, &resource, TTL);
    for value in [forged, &ours] {
        servers.0[0].query::<()>(&["SET", &key, value]);
        for question in [&["--status"][..], &["--status", "--json"], &["--step-down", "--wait", "0s"]] {
            let Output { stdout, stderr, .. } = run().args(question).output();
            crate::support::is_plain(&stdout);
            crate::support::is_plain(&stderr);
            assert!(!stdout.lines().any(|line| line.starts_with("forged")), "{stdout}");
            assert!(format!("{stdout}{stderr}").contains("forged: x leads"), "{stdout}{stderr}");
        }
        for json in [&[][..], &["--json"]] {
            let watch = run().args(["--watch"]).args(json).spawn();
            eventually("a line", || watch.stdout().ends_with('\n').then_some(()));
            crate::support::is_plain(&watch.stdout());
            assert_eq!(watch.stdout().lines().count(), 1);
        }
        for options in [&["-v"][..], &["-v", "--log-format", "json"], &["-v", "--once-per", "1d"]] {
            let standby = run().args(["--wait", "100ms"]).args(options).args(["true"]).output();
            crate::support::is_plain(&standby.stderr);
            assert!(standby.stderr.contains("web"), "{}", standby.stderr);
        }
    }
}

/// A name is data, for the scripts on the nodes, the shell that a command may be, and the file of a lock.
#[test]
fn a_name_is_no_more_than_a_name_whatever_is_in_it() {
    for place in Place::both() {
        if let Place::Nodes(servers) = &place {
            servers.0.iter().for_each(|server| server.query::<()>(&["SET", "other", "1"]));
        }
        for name in
            ["x']] redis.call('FLUSHALL') --", "\"}; return 'granted'", "$(touch x) ../../%s %n {}", "KEYS[1]\\"]
        {
            let resource = format!("{}{name}", unique("odd"));
            let witnesses = Witnesses::new();
            let leader = place.leader(&resource, name, &witnesses);
            let status = place.ask(&resource, &["--status"]);
            assert!(status.stdout.starts_with(&format!("{resource}: {name} leads since 20")), "{}", status.stdout);
            assert_eq!(place.ask(&resource, &["--leads", name]).code(), 0);
            leader.signal(nix::sys::signal::Signal::SIGTERM);
            assert_eq!(leader.wait().code(), 0);
        }
        if let Place::Nodes(servers) = &place {
            assert!(servers.0.iter().all(|server| server.query::<String>(&["GET", "other"]) == "1"));
        }
    }
}
