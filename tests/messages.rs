//! What is printed, and where: JSON for machines with events from a short list; colour and a status line only on a
//! terminal.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use crate::support::{Leaderrun, Servers, Terminal, Witnesses, unique};
use nix::sys::signal::Signal;
use serde_json::Value;

const TTL: Duration = Duration::from_secs(1);

/// Returns the events that the man page lists.
fn documented() -> BTreeSet<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/sections.roff")).expect("the page");
    let (_, from) = page.split_once(".SH LOGS").expect("its section");
    let (events, _) = from.split_once(".TE").expect("its table");
    events.lines().filter_map(|line| line.split_once('\t')).map(|(event, _)| event.to_owned()).collect()
}

fn messages(stderr: &str) -> Vec<Value> {
    stderr.lines().map(|line| serde_json::from_str(line).expect("JSON on each line")).collect()
}

#[test]
fn json_has_the_time_resource_holder_token_and_a_documented_event() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("json"), Witnesses::new());
    let start = |holder: &str| {
        let options = ["-vv", "--log-format", "json", "--holder", holder];
        Leaderrun::on(&servers, &resource, TTL).args(options).args(witnesses.command(&["drain", "1"])).spawn()
    };
    let leader = start("web-1");
    witnesses.started(1);
    leader.reports("\"started\"");
    let standby = start("web-2");
    standby.reports("stands_by");
    leader.signal(Signal::SIGTERM);
    let token = witnesses.all()[0].token;
    let said = messages(&leader.wait().stderr);
    let events: Vec<&str> = said.iter().filter_map(|m| m["event"].as_str()).collect();
    assert_eq!(events, ["leads", "started", "signal_received", "ended"]);
    for message in &said {
        assert_eq!(message["resource"], resource);
        assert_eq!(message["holder"], "web-1");
        assert_eq!(message["token"], token);
        assert!(humantime::parse_rfc3339(message["time"].as_str().expect("a time")).is_ok(), "{message}");
    }
    witnesses.started(2);
    let frozen: Vec<_> = servers.0.iter().take(2).inspect(|server| server.freeze()).collect();
    let output = standby.wait();
    frozen.iter().for_each(|server| server.thaw());
    assert_eq!(output.code(), 76);
    let said = messages(&output.stderr);
    let waiting = said.iter().find(|message| message["event"] == "stands_by").expect("a message");
    assert!(waiting["token"].is_null(), "{waiting}");
    let events: BTreeSet<String> = said.iter().filter_map(|m| m["event"].as_str()).map(ToOwned::to_owned).collect();
    assert!(events.contains("lost") && events.contains("extension_failed"), "{events:?}");
    assert!(events.is_subset(&documented()), "{events:?} of {:?}", documented());
}

/// Whether that is known before an election or only once the command is to start.
#[test]
fn a_command_that_cannot_be_run_is_reported_like_any_other_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").expect("a script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let script = script.to_str().expect("a path");
    for (command, status, reason) in
        [("no-such-command", 127, "not_found"), ("/etc/passwd", 126, "cannot_run"), (script, 127, "not_found")]
    {
        let run =
            |option: &[&str]| Leaderrun::new().args(["--local", "-r", "json"]).args(option).args([command]).output();
        let output = run(&["--log-format", "json"]);
        let said = messages(&output.stderr);
        let [message] = said.as_slice() else { panic!("one message: {said:?}") };
        assert_eq!((output.code(), &message["resource"]), (status, &"json".into()), "{message}");
        let fields = ["level", "event", "reason"].map(|field| message[field].as_str());
        assert_eq!(fields, ["error", "failed", reason].map(Some), "{message}");
        let output = run(&["-q"]);
        assert_eq!((output.code(), output.stderr.as_str()), (status, ""));
    }
}

/// A pipe takes 4096 bytes at once. Others choose their names, from characters that JSON escapes.
#[test]
fn a_line_of_json_is_whole_however_long_its_texts_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let lock = folder.path().join("lock");
    let option = format!("--local={}", lock.display());
    for name in ["x", "\u{9b}", "\u{202e}", "\"", "\\", "\u{1f512}", "e"] {
        for length in [300, 3500, 24100, 24101, 24102] {
            let holder = name.repeat(length / name.len());
            let nothing = Value::Null;
            let record = serde_json::json!({"token": 1, "holder": holder, "boot": "", "kept": nothing, "done": nothing,
                "failed": nothing});
            std::fs::write(&lock, record.to_string()).expect("a record");
            let ours = ["-r", "r", "-n", "-vv", "--log-format", "json", "--holder", &"\"".repeat(512)];
            let flock = ["flock".into(), lock.clone().into(), env!("CARGO_BIN_EXE_leaderrun").into()];
            let run = Leaderrun::new().args([&option]).args(ours).args(["true"]).through(flock.to_vec());
            let output = run.output();
            assert_eq!(output.code(), 75, "{name:?} {length}: {}", output.stderr);
            assert!(output.stderr.lines().all(|line| line.len() < 4096), "{name:?} {length}");
            let said = messages(&output.stderr);
            let leaders: Vec<_> = said.iter().filter_map(|message| message["leader"].as_str()).collect();
            assert!(!leaders.is_empty(), "{said:?}");
            for message in &said {
                assert!(message["message"].as_str().is_some_and(|text| text.len() > 20), "{message}");
            }
            for leader in leaders {
                assert!(leader.len() >= 100 && holder.starts_with(leader), "{name:?} {length}: {leader}");
            }
        }
    }
}

/// So that an alarm about errors stays silent when a machine is drained.
#[test]
fn what_should_change_and_a_step_down_are_warnings_that_are_printed_as_errors_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let servers = folder.path().join("servers");
    std::fs::write(&servers, "redis://127.0.0.1:1").expect("a file");
    std::fs::set_permissions(&servers, std::fs::Permissions::from_mode(0o666)).expect("a mode");
    let file = Leaderrun::new().args([Path::new("--redis-file"), &servers]).args([
        "--log-format",
        "json",
        "-n",
        "-r",
        "x",
        "true",
    ]);
    let said = messages(&file.output().stderr);
    let of = |said: &[Value]| said.iter().map(|m| format!("{} {}", m["event"], m["level"])).collect::<Vec<_>>();
    assert_eq!(of(&said), [r#""warning" "warning""#, r#""no_quorum" "error""#]);

    let resource = unique("drained");
    let mut leader =
        Leaderrun::new().args(["--local", "-r", &resource, "--log-format", "json"]).shell("echo up; sleep 60");
    leader.says("up");
    let asked = Leaderrun::new().args(["--local", "-r", &resource, "--step-down"]).output();
    assert_eq!(asked.code(), 0, "{}", asked.stderr);
    assert_eq!(of(&messages(&leader.wait().stderr)), [r#""steps_down" "warning""#]);
}

/// Runs leaderrun on a terminal, with this in its environment.
fn on_terminal(environment: &[&str], args: &[&str]) -> Terminal {
    let program = [&["env", "TERM=xterm"], environment, &[env!("CARGO_BIN_EXE_leaderrun"), "--local"], args].concat();
    Terminal::with(&program)
}

#[test]
fn colour_appears_on_terminals_and_on_request() {
    let resource = unique("colour");
    let args = ["-v", "-r", &resource, "true"];
    let shown = |environment: &[&str]| {
        let mut terminal = on_terminal(environment, &args);
        terminal.shows("ended with exit status 0");
        terminal.screen()
    };
    assert!(shown(&[]).contains("\x1b["));
    for plain in ["NO_COLOR=1", "TERM=dumb"] {
        let screen = shown(&[plain]);
        assert!(!screen.contains('\x1b'), "{plain}: {screen:?}");
    }
    let output = Leaderrun::new().env("TERM", "xterm").args(["--local"]).args(args).output();
    assert!(output.stderr.contains("ended with") && !output.stderr.contains('\x1b'), "{}", output.stderr);
}

#[test]
fn on_a_terminal_a_status_line_names_the_leader_and_is_erased_afterwards() {
    let (resource, witnesses) = (unique("line"), Witnesses::new());
    let options = ["--local", "-r", &resource, "--holder", "web-2"];
    let leader = Leaderrun::new().args(options).args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    let mut terminal = on_terminal(&[], &["-r", &resource, "echo", "it is ours"]);
    terminal.shows("waiting for web-2, leader for ");
    terminal.shows("waiting for web-2, leader for 2s");
    leader.signal(Signal::SIGTERM);
    leader.wait();
    let shown = terminal.shows("it is ours");
    assert!(shown.ends_with("\r\x1b[Kit is ours"), "{shown:?}");
}

/// What a terminal wraps is in a row of its own, which nothing erases.
#[test]
fn a_status_line_is_no_longer_than_a_row() {
    for (holder, most) in [("x".repeat(500), 40), ("\u{8a9e}".repeat(170), 30)] {
        let (resource, witnesses) = (unique("row"), Witnesses::new());
        let options = ["--local", "-r", &resource, "--holder", &holder];
        let _leader = Leaderrun::new().args(options).args(witnesses.command(&[])).spawn();
        witnesses.started(1);
        let mut terminal = on_terminal(&[], &["-r", &resource, "echo", "it is ours"]);
        terminal.resize(24, 40);
        terminal.shows("waiting for ");
        let line = terminal.shows("\r\x1b[K");
        let line = line.trim_end_matches("\r\x1b[K");
        let length = "waiting for ".len() + line.chars().count();
        assert!((20..=most).contains(&length), "{length}: {line}");
    }
}

#[test]
fn a_pipe_a_dumb_terminal_and_quiet_mode_get_no_status_line() {
    let (resource, witnesses) = (unique("no-line"), Witnesses::new());
    let leader = Leaderrun::new().args(["--local", "-r", &resource]).args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    let wait = ["-r", &resource, "-w", "1s", "true"];
    let piped = Leaderrun::new().args(["--local"]).args(wait).output();
    assert_eq!((piped.code(), piped.stderr.as_str()), (75, ""));
    let mut quiet = on_terminal(&[], &[&["-q"], &wait[..]].concat());
    quiet.wait();
    assert_eq!(quiet.screen(), "");
    let mut dumb = on_terminal(&["TERM=dumb"], &wait);
    let screen = dumb.shows("the command was not started");
    assert!(!screen.contains("waiting"), "{screen:?}");
    leader.signal(Signal::SIGTERM);
    leader.wait();
}
