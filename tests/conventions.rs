//! What users of flock, timeout, su and redis-cli try first works as there.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    time::Duration,
};

use crate::support::{
    LONG_TTL, Leaderrun, Output, Running, Server, Terminal, as_ordinary_user, may_become_others, unique,
};
use nix::sys::signal::Signal;
use serde_json::Value;

const TTL: Duration = Duration::from_secs(2);

fn local(name: &str) -> Leaderrun {
    Leaderrun::new().args(["--local", "--resource", &unique(name)])
}

fn settled() -> Server {
    let server = Server::start();
    server.settle(TTL);
    server
}

#[track_caller]
fn is_good(output: &Output) {
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
}

/// Starts a leader that waits, and returns it once it leads.
fn leader(leaderrun: Leaderrun) -> Running {
    let mut leader = leaderrun.shell("echo up; sleep 60");
    leader.says("up");
    leader
}

#[test]
fn a_duration_without_a_unit_is_seconds() {
    is_good(&local("units").args(["-w", "5", "-t", "15", "-k", "0.5", "true"]).output());
    let more = ["--max-run", "60", "--stop-timeout", "0.5", "--hold", "0.1", "--once-for", "a", "--remember", "60"];
    is_good(&local("units").args(more).args(["true"]).output());
    let output = local("units").env("LEADERRUN_TTL", "0.1").args(["true"]).output();
    assert!(output.stderr.contains("--ttl 100ms is too short"), "{}", output.stderr);
    for (wrong, problem) in [
        ("-w=-1s", "it is negative"),
        ("-w=", "it is empty"),
        ("-t=1e3", "write it as 5, 0.5, 500ms, 15s or 2m"),
        ("-k=99999999999999999999", "it is longer than 100 years"),
        ("-w=500000y", "it is longer than 100 years"),
        ("--max-run=-1", "it is negative"),
        ("--stop-timeout=-1", "it is negative"),
    ] {
        // As two words, which is how they are mostly written.
        let (option, value) = wrong.split_once('=').expect("both");
        let output = local("units").args([option, value, "true"]).output();
        assert_eq!(output.code(), 64, "{wrong}: {}", output.stderr);
        assert!(output.stderr.contains(problem) && output.stderr.lines().count() == 1, "{wrong}: {}", output.stderr);
    }
}

#[test]
fn a_server_is_a_host_and_a_port_or_a_url() {
    let server = settled();
    let (short, file) = (format!("127.0.0.1:{}", server.port), tempfile::NamedTempFile::new().expect("a file"));
    fs::write(file.path(), format!("# ours\n{short}\n")).expect("a file");
    let run = || Leaderrun::new().args(["-n", "-t", "2", "-r", &unique("short")]);
    is_good(&run().args(["-R", &short, "true"]).output());
    is_good(&run().env("LEADERRUN_REDIS", &short).args(["true"]).output());
    is_good(&run().args(["--redis-file"]).args([file.path()]).args(["--redis-before", &short, "true"]).output());
    let twice = format!("{short},redis://{short}");
    assert!(run().args(["-R", &twice, "true"]).output().stderr.contains("are the same server"));
    for (wrong, problem) in [
        ("fd00::1:6379", "an IPv6 address stands in brackets"),
        ("redis://:p#ss@host", "written as %XX"),
        ("redis://:p@ss/word@host", "written as %XX"),
        ("user:pass@host", "begin with redis://"),
    ] {
        let output = run().args(["-R", wrong, "true"]).output();
        assert_eq!(output.code(), 64, "{wrong}: {}", output.stderr);
        assert!(
            output.stderr.contains(problem) && !output.stderr.contains(&wrong[wrong.len() - 8..]),
            "{wrong}: {}",
            output.stderr
        );
    }
}

#[test]
fn a_password_for_redis_cli_signs_in_where_the_url_has_none() {
    let server = settled();
    server.query::<()>(&["CONFIG", "SET", "requirepass", "secret"]);
    let url = server.url();
    let command = ["sh", "-c", "tr '\\0' ' ' </proc/$PPID/cmdline; ps -ww -o args= $(ps -o ppid= $PPID)"];
    let run = |password: &str, url: &str| {
        let options = ["-n", "-t", "2s", "-r", &unique("auth"), "-R", url, "--"];
        Leaderrun::new().env("REDISCLI_AUTH", password).args(options).args(command).output()
    };
    let output = run("secret", &url);
    is_good(&output);
    assert!(!output.stdout.contains("secret"), "{}", output.stdout);
    assert_eq!(run("other", &format!("redis://:secret@127.0.0.1:{}", server.port)).code(), 0, "the URL comes first");
    let output = run("other", &url);
    assert_eq!(output.code(), 69, "{}", output.stderr);
    assert!(output.stderr.contains("rejected the user name or password"), "{}", output.stderr);
}

#[test]
fn a_password_that_the_server_does_not_want_is_no_hindrance_whoever_connects() {
    let server = settled();
    let resource = unique("open");
    let ask = |words: &[&str]| {
        let url = format!("redis://:secret@127.0.0.1:{}", server.port);
        let run = Leaderrun::new().args(["-t", "2s", "-R", &url]).env("LEADERRUN_RESOURCE", &resource);
        let output = run.args(words).output();
        (output.code(), output.stderr)
    };
    assert_eq!(ask(&["-n", "true"]), (0, String::new()));
    assert_eq!(ask(&["true"]), (0, String::new()));
    assert_eq!(ask(&["--status"]), (1, String::new()));
    assert_eq!(ask(&["--check"]), (0, String::new()));
}

#[test]
fn the_command_line_takes_precedence_over_variables_that_it_excludes() {
    let server = settled();
    let (url, resource) = (server.url(), unique("first"));
    let nodes = ["-t", "2", "-R", &url];
    for (variable, value, options) in [
        ("LEADERRUN_REDIS_FILE", "/no/such/file", &nodes[..]),
        ("LEADERRUN_LOCAL", "1", &nodes),
        ("LEADERRUN_LOCAL", "0", &nodes),
        ("LEADERRUN_WAIT", "5", &["--local", "-n"]),
        ("LEADERRUN_TRY", "1", &["--local", "-w", "5"]),
        ("LEADERRUN_REDIS", &url, &["--local"]),
        ("LEADERRUN_TLS_CA", "/no/such/file", &["--local"]),
        ("LEADERRUN_VERBOSE", "1", &["--local", "-q"]),
        ("LEADERRUN_QUIET", "1", &["--local", "-v"]),
        ("LEADERRUN_COMMAND", "false", &["--local"]),
        ("LEADERRUN_ONCE_FOR", "monday", &["--local", "--once-per", "60"]),
        ("LEADERRUN_ONCE_PER", "60", &["--local", "--once-for", "tuesday"]),
    ] {
        let output = Leaderrun::new().env(variable, value).args(options).args(["-r", &resource, "true"]).output();
        assert_eq!(output.code(), 0, "{variable}={value} {options:?}: {}", output.stderr);
    }
    let both = local("both").env("LEADERRUN_TRY", "1").env("LEADERRUN_WAIT", "5").args(["true"]).output();
    assert_eq!(both.code(), 64, "neither comes first: {}", both.stderr);
    let output = local("flag").env("LEADERRUN_TRY", "maybe").args(["true"]).output();
    assert_eq!(output.code(), 64, "{}", output.stderr);
    assert!(output.stderr.contains("invalid value 'maybe' for 'LEADERRUN_TRY': write 1 or 0"), "{}", output.stderr);
}

#[test]
fn a_line_is_run_by_the_shell() {
    let output = local("line").args(["-c", "echo a; echo \"$LEADERRUN_HOLDER\" && exit 3", "--holder", "me"]).output();
    assert_eq!((output.code(), output.stdout.as_str()), (3, "a\nme\n"), "{}", output.stderr);
    let output = local("line").args(["echo a; echo b"]).output();
    let advice = "echo a; echo b: command not found; for a line of the shell, give it with -c";
    assert_eq!((output.code(), output.stderr.contains(advice)), (127, true), "{}", output.stderr);
    assert_eq!(local("line").args(["-c", "true", "true"]).output().code(), 64);
    assert_eq!(local("line").args(["-c", "true", "--status"]).output().code(), 64);
}

/// As with `grep -q`.
#[test]
fn quiet_leaves_the_answer_to_the_exit_status() {
    let resource = unique("quiet");
    let _leader = leader(Leaderrun::new().args(["--local", "-r", &resource]));
    let none = unique("none");
    for (resource, question, status) in [
        (&resource, &["--status"][..], 0),
        (&none, &["--status"], 1),
        (&resource, &["--status", "--json"], 0),
        (&none, &["--succeeded-within", "1d"], 1),
        (&resource, &["--history"], 0),
        (&resource, &["--forget"], 75),
        (&resource, &["--step-down", "--if-standby"], 75),
        (&none, &["--step-down"], 1),
    ] {
        let ask = || Leaderrun::new().args(["--local", "-r", resource]).args(question);
        let output = ask().args(["-q"]).output();
        let printed = (output.stdout.as_str(), output.stderr.as_str());
        assert_eq!((output.code(), printed), (status, ("", "")), "{question:?}");
        // The variable is for runs.
        let output = ask().env("LEADERRUN_QUIET", "1").output();
        assert_eq!((output.code(), output.stdout.is_empty() && output.stderr.is_empty()), (status, false));
    }
    let output = Leaderrun::new().args(["--local", "-q", "-r", &none, "--step-down", "--slot", "2"]).output();
    assert_eq!((output.code(), output.stderr.lines().count()), (64, 1), "{}", output.stderr);
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    for question in [&["--help"][..], &["-h"], &["--man"], &["--version"], &["--completions", "bash"]] {
        let mut leaderrun = Leaderrun::new().args(question).command;
        leaderrun.stdout(OpenOptions::new().write(true).open("/dev/full").expect("/dev/full")).stderr(Stdio::piped());
        let output = leaderrun.output().expect("leaderrun");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(74), "{question:?}: {stderr}");
        assert_eq!(stderr, "leaderrun: can't write to stdout: No space left on device (os error 28)\n");
    }
    let mut leaderrun = Leaderrun::new().args(["--local", "-r", "x", "--status"]).command;
    leaderrun.stdout(OpenOptions::new().write(true).open("/dev/full").expect("/dev/full"));
    assert_eq!(leaderrun.status().expect("leaderrun").code(), Some(74));
    let closed = ["sh", "-c", "exec \"$0\" \"$@\" >&-", env!("CARGO_BIN_EXE_leaderrun")].map(Into::into);
    for question in [&["--help"][..], &["--man"], &["--completions", "bash"], &["--local", "--list"]] {
        let output = Leaderrun::new().args(question).through(closed.to_vec()).output();
        assert_eq!(output.code(), 74, "{question:?}: {}", output.stderr);
        assert_eq!(output.stderr, "leaderrun: can't write to stdout: Bad file descriptor (os error 9)\n");
    }
    is_good(&local("closed").args(["true"]).through(closed.to_vec()).output());
    let output = Leaderrun::new().args(["--local", "-r", "x", "--leads", ""]).output();
    assert_eq!((output.code(), output.stderr.as_str()), (64, "leaderrun: --leads is empty; give it a name\n"));
}

#[test]
fn who_leads_is_said_on_a_terminal_and_elsewhere_with_verbose() {
    let resource = unique("who");
    let options = ["--local", "-r", &resource];
    let _leader = leader(Leaderrun::new().args(options).args(["--holder", "web-2"]));
    let mut terminal = Terminal::with(&[&[env!("CARGO_BIN_EXE_leaderrun")], &options[..], &["-n", "true"]].concat());
    terminal.shows("web-2 leads since ");
    terminal.shows("; the command was not started");
    let output = Leaderrun::new().args(options).args(["-n", "true"]).output();
    assert_eq!((output.code(), output.stderr.as_str()), (75, ""));
    let output = Leaderrun::new().args(options).args(["-n", "-v", "true"]).output();
    assert!(output.stderr.contains("web-2 leads since "), "{}", output.stderr);
}

/// Returns the messages of one event.
fn events(stderr: &str, event: &str) -> Vec<Value> {
    // The shell has messages of its own.
    let all = stderr
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    all.filter(|message| message["event"] == event).collect()
}

#[test]
fn the_commands_own_end_is_reported_with_the_name_of_its_signal() {
    for (line, end) in [("exit 76", "sh ended with exit status 76"), ("kill -9 $$", "sh was killed by SIGKILL")] {
        let output = local("end").args(["-v"]).shell(line).wait();
        assert!(output.stderr.lines().last().is_some_and(|last| last.ends_with(end)), "{}", output.stderr);
    }
    let json = ["-v", "--log-format", "json"];
    let output = local("end").args(json).shell("exit 7").wait();
    let ended = &events(&output.stderr, "ended")[0];
    assert_eq!((&ended["exit_status"], &ended["reason"]), (&7.into(), &"exited".into()), "{ended}");
    assert!(ended["duration_ms"].as_u64().is_some_and(|ms| ms < 60_000) && ended.get("signal").is_none(), "{ended}");

    let mut leader = local("end").args(json).shell("trap 'exit 5' TERM; echo up; while :; do sleep 0.01; done");
    leader.says("up");
    leader.signal(Signal::SIGTERM);
    let output = leader.wait();
    assert_eq!(events(&output.stderr, "signal_received")[0]["signal"], "SIGTERM");
    assert_eq!(events(&output.stderr, "ended")[0]["exit_status"], 5);

    let output = local("end").args(json).args(["--max-run", "0.1"]).shell("sleep 60").wait();
    assert_eq!((output.code(), events(&output.stderr, "timed_out").len()), (124, 1), "{}", output.stderr);
    assert_eq!(events(&output.stderr, "signal_sent")[0]["signal"], "SIGTERM");
    let ended = &events(&output.stderr, "ended")[0];
    assert_eq!((&ended["signal"], &ended["reason"]), (&"SIGTERM".into(), &"timed_out".into()), "{ended}");
    assert_eq!(ended["message"], "sh was killed by SIGTERM, after --max-run was over");
}

#[test]
fn a_lost_lease_is_reported_with_what_was_sent_to_the_command() {
    let (server, ttl) = (Server::start(), 2 * LONG_TTL);
    server.settle(ttl);
    // On a busy machine, what kills may not run between a moment to signal and one to kill that are close.
    let options = ["-v", "--log-format", "json", "-t", "6s", "-R", &server.url(), "-r", &unique("lost")];
    let mut leader = Leaderrun::new().args(options).shell("trap '' TERM; echo up; while :; do sleep 0.01; done");
    leader.says("up");
    server.freeze();
    let output = leader.wait();
    server.thaw();
    assert_eq!(output.code(), 76, "{}", output.stderr);
    assert_eq!(events(&output.stderr, "signal_sent")[0]["signal"], "SIGTERM");
    assert_eq!(events(&output.stderr, "killed").len(), 1);
    let ended = &events(&output.stderr, "ended")[0];
    assert_eq!((&ended["signal"], &ended["reason"]), (&"SIGKILL".into(), &"lease_lost".into()), "{ended}");
    assert!(ended["message"].as_str().is_some_and(|m| m == "sh was killed by SIGKILL, after the lease was lost"));
    assert!(events(&output.stderr, "lost")[0]["reason"].is_string());
}

#[test]
fn a_lock_file_is_shared_with_flock() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("job.lock");
    let option = format!("--local={}", file.display());
    let run = |more: &[&str]| Leaderrun::new().args([option.as_str(), "-r", "job"]).args(more);
    let flock = |more: &[&str]| Command::new("flock").args(more).arg(&file).arg("true").status().expect("flock");
    let leading = leader(run(&[]));
    assert_eq!(flock(&["-n"]).code(), Some(1), "flock leads beside us");
    leading.signal(Signal::SIGTERM);
    leading.wait();
    assert!(flock(&["-n"]).success());
    assert_eq!(fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o666);

    let mut held = Command::new("flock").arg(&file).args(["cat"]).stdin(Stdio::piped()).spawn().expect("flock");
    crate::support::eventually("flock's lock", || (!flock(&["-n"]).success()).then_some(()));
    let output = run(&["-n", "-v", "true"]).output();
    assert_eq!(output.code(), 75);
    assert!(output.stderr.contains("another leads"), "{}", output.stderr);
    let standby = run(&["-v", "echo", "ours"]).spawn();
    standby.reports("stands by");
    drop(held.stdin.take());
    assert!(held.wait().expect("flock").success());
    assert_eq!(standby.wait().stdout, "ours\n");

    let token = ["sh", "-c", "echo $LEADERRUN_FENCING_TOKEN"];
    let tokens = [run(&token), run(&token)].map(|run| run.output().stdout.trim().parse::<u64>().expect("a token"));
    assert!(tokens[0] < tokens[1], "{tokens:?}");
    fs::write(&file, "#!/bin/sh\n").expect("a script");
    let output = run(&["true"]).output();
    assert_eq!(output.code(), 125, "a file with other contents is overwritten");
    assert!(output.stderr.contains("has contents that aren't a lock's"), "{}", output.stderr);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path().join("none"), &link).expect("a link");
    let output = Leaderrun::new().args([&format!("--local={}", link.display()), "-r", "x", "true"]).output();
    assert_eq!(output.code(), 125, "{}", output.stderr);
    assert!(output.stderr.contains("is a link that leads nowhere"), "{}", output.stderr);
    assert_eq!(fs::read_to_string(&file).expect("the script"), "#!/bin/sh\n");
    for slots in [run(&["--slots", "2", "true"]), run(&["--status"]).env("LEADERRUN_SLOTS", "2")] {
        let output = slots.output();
        assert_eq!(output.code(), 64, "{}", output.stderr);
        assert!(output.stderr.contains("--slots can't be used with --local=FILE: "), "{}", output.stderr);
    }
    for question in [&["--history"][..], &["--succeeded-within", "60"]] {
        let output = run(question).output();
        assert_eq!(output.code(), 64, "{}", output.stderr);
        assert!(output.stderr.contains("can't be used with --local=FILE: runs aren't recorded there"), "{question:?}");
    }
    let output = Leaderrun::new().args(["--local=job", "-r", "job", "true"]).output();
    assert_eq!(output.code(), 64);
    assert!(output.stderr.contains("write a file as a path with a slash, such as ./job"), "{}", output.stderr);
}

#[test]
fn a_lock_file_is_for_all_users() {
    if !may_become_others() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    // As /run/lock is.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).expect("a mode");
    let option = format!("--local={}", folder.path().join("lock").display());
    let run = |user: Option<&str>, more: &[&str]| {
        let leaderrun = Leaderrun::new().args([option.as_str(), "-r", "x"]).args(more);
        let program = leaderrun.copy_for_all_users();
        match user {
            Some(user) => leaderrun.through(as_ordinary_user(user).into_iter().chain([program.into()]).collect()),
            None => leaderrun,
        }
    };
    for (first, second) in [(Some("1001"), None), (None, Some("1002"))] {
        let leading = leader(run(first, &[]));
        let output = run(second, &["-n", "true"]).output();
        assert_eq!(output.code(), 75, "{first:?} {second:?}: {}", output.stderr);
        leading.signal(Signal::SIGTERM);
        leading.wait();
        is_good(&run(second, &["true"]).output());
    }
}
