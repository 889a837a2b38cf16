//! Exit statuses, help, usage errors and the environment, as the shell sees them.

use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::support::{Leaderrun, unique};

fn local(name: &str) -> Leaderrun {
    Leaderrun::new().args(["--local", "--resource", &unique(name)])
}

#[test]
fn the_commands_exit_status_is_passed_on() {
    for status in [0, 1, 2, 75, 76, 125, 255] {
        let output = local("status").shell(&format!("exit {status}")).wait();
        assert_eq!((output.status.code(), output.stderr.as_str()), (Some(status), ""));
    }
}

#[test]
fn a_signal_that_ended_the_command_gives_128_plus_its_number() {
    for (signal, status) in [("TERM", 143), ("KILL", 137), ("PIPE", 141), ("SEGV", 139), ("34", 162), ("64", 192)] {
        let output = local("signal").shell(&format!("kill -{signal} $$")).wait();
        assert_eq!((output.code(), output.stderr.as_str()), (status, ""), "{signal}");
    }
}

#[test]
fn a_command_that_is_not_found_gives_127_at_once_without_a_campaign() {
    let never = "redis://192.0.2.1:6379";
    let empty = Leaderrun::new().args(["-R", never, "-r", "x", "--", ""]).output();
    assert_eq!(empty.code(), 127);
    assert_eq!(empty.stderr, "leaderrun: x: the command is an empty word: command not found\n");
    for command in ["no-such-command", "/no/such/command"] {
        let output = Leaderrun::new().args(["-R", never, "-r", "x", "--", command]).output();
        assert_eq!(output.code(), 127, "{command}");
        assert_eq!(output.stderr, format!("leaderrun: x: {command}: command not found\n"));
    }
}

#[test]
fn a_command_that_cannot_be_run_gives_126() {
    let output = Leaderrun::new().args(["--local", "-r", "passwd", "/etc/passwd"]).output();
    assert_eq!(output.code(), 126);
    assert_eq!(output.stderr, "leaderrun: passwd: /etc/passwd: it can't be run: it is not an executable file\n");
    let output = local("folder").args(["/etc"]).output();
    assert_eq!(output.code(), 126);

    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script");
    for (line, status, why) in [
        ("#!/no/such/interpreter", 127, "\"/no/such/interpreter\": No such file or directory"),
        ("#! /bin/sh\r", 127, "\"/bin/sh\\r\": No such file or directory"),
        ("#!/etc/passwd -e", 126, "\"/etc/passwd\": Permission denied"),
    ] {
        std::fs::write(&script, format!("{line}\n")).expect("a script");
        make_executable(&script);
        let output = Leaderrun::new().args(["--local", "-r", "bad"]).args([&script]).output();
        assert_eq!(output.code(), status, "{}", output.stderr);
        let script = script.display();
        assert_eq!(output.stderr, format!("leaderrun: bad: {script} can't be run: bad interpreter {why}\n"));
    }
}

#[test]
fn a_script_without_an_interpreter_line_is_run_by_the_shell() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script");
    std::fs::write(&script, "echo \"$#: $1 $2\"\n").expect("a script");
    make_executable(&script);
    let output = local("script").args([script.as_os_str(), "a".as_ref(), "b".as_ref()]).output();
    assert_eq!((output.code(), output.stdout.as_str()), (0, "2: a b\n"), "{}", output.stderr);
}

fn make_executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}

#[test]
fn options_after_the_command_belong_to_it() {
    let output = local("options").args(["echo", "-n", "--ttl", "-v"]).output();
    assert_eq!(output.stdout, "--ttl -v");
}

#[test]
fn short_help_fits_a_screen_and_long_help_says_more() {
    let help = |option| Leaderrun::new().env("COLUMNS", "80").args([option]).output();
    let (short, long) = (help("-h"), help("--help"));
    assert_eq!((short.code(), long.code()), (0, 0));
    assert!(short.stdout.lines().count() <= 24, "{}", short.stdout);
    assert!(short.stdout.lines().all(|l| l.chars().count() <= 80), "{}", short.stdout);
    assert!(long.stdout.lines().count() > 2 * short.stdout.lines().count());
    assert_eq!(Leaderrun::new().args(["--local", "-n", "-h"]).output().stdout, short.stdout);
    for option in ["--key-prefix", "--log-format", "--redis-file"] {
        assert!(long.stdout.contains(option), "{option}");
    }
}

/// The second text is part of the message, which says what is wrong and what to do.
#[test]
fn bad_input_gives_one_clear_line_and_status_64() {
    let long = "x".repeat(513);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let empty = file.path().to_str().expect("UTF-8");
    let cases: &[(&[&str], &str)] = &[
        (&["-r", "x", "true"], "use --redis URL,... for many machines or --local for this one"),
        (&["--local", "true"], "--resource <NAME>"),
        (&["--local", "-r", "x", "-c", ""], "invalid value '' for '--command <LINE>': it is empty"),
        (&["--local", "-r", "x", "--leads", "y", "--json"], "--json is for --check, "),
        (&["--local", "-r", "x", "--step-down", "--json"], "--json is for --check, "),
        (
            &["--local", "-r", "x", "--status", "--slot", "2"],
            "--slot is for --step-down and --succeeded-within; leave it out",
        ),
        (&["--local", "-r", "x", "--openmetrics", "y"], "--openmetrics is for --status and --list; add one of them"),
        (&["--local", "-r", "x", "--succeeded-within", "1d", "--once-for", "y"], "'--once-for <KEY>'"),
        (&["--local", "-r", "x", "-w", "forever", "true"], "it is no duration; write it as 5"),
        (&["--local", "-r", "x"], "<COMMAND>"),
        (&["--local", "/run/x.lock", "true"], "--resource <NAME>; a lock file is given as --local=FILE"),
        (&["--local=", "-r", "x", "true"], "it is empty; write a file as a path, or --local alone"),
        (&["--local", "-r", "x", "-c", "echo $1", "y"], "write the command sh -c LINE sh ARG..."),
        (&["--local", "-r", "", "true"], "--resource is empty; give it a name"),
        (&["--local", "-r", &long, "true"], "--resource is longer than 512 bytes; give it a shorter name"),
        (&["--local", "-r", "a\nb", "true"], "--resource has a control character"),
        (&["--local", "-r", "x", "--holder", "a\tb", "true"], "--holder has a control character"),
        (&["--local", "-r", "x", "-t", "100ms", "true"], "--ttl 100ms is too short; give it 500ms or more"),
        (&["--local", "-r", "x", "-t", "x", "true"], "write it as 5, 0.5, 500ms, 15s or 2m"),
        (&["--local", "-r", "x", "-t", "15s", "-k", "14s", "true"], "--kill-after 14s doesn't fit --ttl 15s; give it"),
        (&["--local", "-r", "x", "-s", "FOO", "true"], "--signal FOO is not a signal; give it a name such as TERM"),
        (&["--local", "-r", "x", "-n", "-w", "1s", "true"], "'--try' cannot be used with '--wait <DURATION>'"),
        (&["--local", "-r", "x", "-R", "redis://h", "true"], "cannot be used with '--redis <URL,...>'"),
        (&["--local", "-r", "x", "-E", "256", "true"], "256 is not in 0..=255"),
        (&["-r", "x", "--bogus", "true"], "unknown option '--bogus'"),
        (&["--local", "--resorce", "x", "true"], "unknown option '--resorce'; did you mean '--resource'?"),
        (&["--local", "--onceper", "1h", "-r", "x", "true"], "unknown option '--onceper'; did you mean '--once-per'?"),
        (&["--local", "-r", "x", "--status", "--step-down"], "'--status' cannot be used with '--step-down'"),
        (&["--local", "--status"], "--resource <NAME>"),
        (&["-r", "x", "-R", "redis://u:secret@h:99999", "true"], "the port is not a number"),
        (&["-r", "x", "-R", "redis://u:secret@h:0", "true"], "the port is not a number"),
        (&["-r", "x", "-R", "redis://u:secret@h/two", "true"], "invalid database number"),
        (&["-r", "x", "-R", "redis://h,http://u:secret@h", "true"], "URL 2 of 2 is wrong: it doesn't begin with"),
        (
            &["-r", "x", "-R", "u:secret@h", "true"],
            "it doesn't begin with redis://, rediss://, redis-sentinel:// or unix://",
        ),
        (&["-r", "x", "-R", "redis://u:sec/ret@h", "true"], "written as %XX"),
        (&["-r", "x", "-R", "redis://", "true"], "missing hostname"),
        (&["-r", "x", "-R", "redis://a,redis://b,redis://a:6379/2", "true"], "URLs 1 and 3 are the same server"),
        (
            &["-r", "x", "-R", "redis://a", "--redis-before", "redis://b,redis://u:secret@b", "true"],
            "--redis-before: URLs 1 and 2 are the same server",
        ),
        (
            &["-r", "x", "-R", "redis://a", "--redis-before", "redis://u:secret@a/1", "true"],
            "--redis and --redis-before give redis://a:6379 different databases",
        ),
        (&["-r", "x", "--redis-before", "redis://a", "true"], "use --redis URL,... for many machines"),
        (
            &["-r", "x", "--redis-file", "/no/such/file", "true"],
            "--redis-file /no/such/file can't be read: No such file",
        ),
        (&["-r", "x", "--redis-file", empty, "true"], "names no server; write a URL"),
    ];
    for (args, part) in cases {
        let output = Leaderrun::new().args(*args).output();
        assert_eq!((output.code(), output.stdout.as_str()), (64, ""), "{args:?}: {}", output.stderr);
        assert!(
            output.stderr.starts_with("leaderrun: ") && output.stderr.contains(part),
            "{args:?}: {}",
            output.stderr
        );
        assert_eq!(output.stderr.lines().count(), 1, "{args:?}: {}", output.stderr);
        assert!(!output.stderr.contains("secret") && !output.stderr.contains("ret@"), "{}", output.stderr);
    }
}

#[test]
fn each_option_can_be_given_in_the_environment() {
    let output = Leaderrun::new()
        .env("LEADERRUN_LOCAL", "1")
        .env("LEADERRUN_RESOURCE", unique("env"))
        .env("LEADERRUN_HOLDER", "me")
        .env("LEADERRUN_VERBOSE", "1")
        .env("LEADERRUN_LOG_FORMAT", "json")
        .env("LEADERRUN_KILL_AFTER", "1s")
        .args(["sh", "-c", "echo $LEADERRUN_HOLDER"])
        .output();
    assert_eq!((output.code(), output.stdout.as_str()), (0, "me\n"), "{}", output.stderr);
    let message = |line| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    let leads = output.stderr.lines().map(message).find(|message| message["event"] == "leads").expect("a message");
    assert!(leads["message"].as_str().is_some_and(|m| m.starts_with("leads with fencing token")), "{leads}");

    for (name, value, part) in [
        ("LEADERRUN_TTL", "1ms", "--ttl 1ms is too short"),
        ("LEADERRUN_SIGNAL", "x", "--signal x"),
        ("LEADERRUN_WAIT", "x", "LEADERRUN_WAIT"),
        ("LEADERRUN_CONFLICT_EXIT_CODE", "x", "LEADERRUN_CONFLICT_EXIT_CODE"),
    ] {
        let output = local("env").env(name, value).args(["true"]).output();
        assert_eq!(output.code(), 64, "{name}");
        assert!(output.stderr.contains(part), "{name}: {}", output.stderr);
    }
    let output = Leaderrun::new().env("LEADERRUN_REDIS", "redis://:secret@h:0").args(["-r", "x", "true"]).output();
    assert!(output.stderr.contains("the port") && !output.stderr.contains("secret"), "{}", output.stderr);
}

#[test]
fn the_command_sees_who_leads_and_never_the_servers() {
    let output = local("sees").env("LEADERRUN_FENCING_TOKEN", "1").args(["--holder", "here", "--", "env"]).output();
    let seen: Vec<&str> = output.stdout.lines().filter(|l| l.starts_with("LEADERRUN_")).collect();
    assert!(seen.iter().any(|l| l.starts_with("LEADERRUN_RESOURCE=sees-")), "{seen:?}");
    assert!(seen.contains(&"LEADERRUN_HOLDER=here"), "{seen:?}");
    let token = seen.iter().find_map(|l| l.strip_prefix("LEADERRUN_FENCING_TOKEN=")).expect("a token");
    assert!(token.parse::<u64>().expect("a number") > 1_700_000_000_000_000, "{token}");
    assert_eq!(seen.iter().filter(|l| l.starts_with("LEADERRUN_FENCING_TOKEN=")).count(), 1);

    let servers = crate::support::Servers::settled(1, std::time::Duration::from_secs(1));
    let output = Leaderrun::new()
        .env("LEADERRUN_REDIS", servers.urls())
        .env("LEADERRUN_REDIS_BEFORE", servers.urls())
        .args(["-r", &unique("sees"), "--ttl", "1s", "env"])
        .output();
    assert!(!output.stdout.contains("LEADERRUN_REDIS"), "{}", output.stdout);
}

#[test]
fn arguments_and_variables_that_are_not_utf8_reach_the_command_unchanged() {
    let raw = std::ffi::OsString::from_vec(b"a\xff\xfeb".to_vec());
    let output = local("bytes")
        .env("RAW", &raw)
        .args(["sh", "-c", "printf %s \"$RAW$1\" | od -An -tx1", "sh"])
        .args([&raw])
        .output();
    let hex: String = raw.as_bytes().iter().map(|b| format!(" {b:02x}")).collect();
    assert_eq!(output.stdout.trim_end(), format!("{hex}{hex}"));
}

#[test]
fn servers_can_be_kept_in_a_file() {
    let servers = crate::support::Servers::settled(3, std::time::Duration::from_secs(1));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("nodes");
    std::fs::write(&file, format!("# our nodes\n\n{}\n", servers.urls().replace(',', "\n"))).expect("a file");
    let output = Leaderrun::new()
        .args(["--redis-file", file.to_str().expect("a path"), "-r", &unique("file"), "--ttl", "1s", "echo", "led"])
        .output();
    assert_eq!((output.code(), output.stdout.as_str(), output.stderr.as_str()), (0, "led\n", ""));
}

#[test]
fn a_password_on_the_command_line_is_not_shown_by_ps() {
    let servers = crate::support::Servers::settled(1, std::time::Duration::from_secs(1));
    servers.0[0].query::<()>(&["ACL", "SETUSER", "job", "on", ">secret", "~*", "&*", "+@all"]);
    let url = format!("redis://job:secret@127.0.0.1:{}", servers.0[0].port);
    let command = ["sh", "-c", "tr '\\0' ' ' </proc/$PPID/cmdline; ps -ww -o args= $(ps -o ppid= $PPID)"];
    let output = Leaderrun::new().args(["-R", &url, "-t", "1s", "-r", &unique("ps"), "--"]).args(command).output();
    let shown = format!("redis://**********@127.0.0.1:{}", servers.0[0].port);
    assert_eq!(output.stdout.matches(&shown).count(), 2, "{}{}", output.stdout, output.stderr);
    assert!(!output.stdout.contains("secret"), "{}", output.stdout);
}

#[test]
fn quiet_prints_nothing_not_even_errors() {
    let output = Leaderrun::new().args(["-q", "-R", "redis://127.0.0.1:1", "-r", "x", "--try", "true"]).output();
    assert_eq!((output.code(), output.stderr.as_str()), (69, ""));
}

/// Opening a FIFO waits for its other end; a device may never end.
#[test]
fn a_file_that_is_none_is_an_error_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let fifo = fifo.to_str().expect("UTF-8");
    for path in [fifo, "/dev/zero"] {
        for options in [
            &["--redis-file", path][..],
            &["-R", "rediss://host", "--tls-ca", path],
            &["-R", "rediss://host", "--tls-cert", path, "--tls-key", path],
        ] {
            let output = Leaderrun::new().args(options).args(["-r", "x", "true"]).output();
            assert_eq!(output.code(), 64, "{options:?}");
            let said = format!("{path} can't be read: it isn't a regular file");
            assert!(output.stderr.contains(&said), "{options:?}: {}", output.stderr);
        }
    }
}

/// `leaderrun:col:` and `fence` would be the key of the fence of `leaderrun:col`.
#[test]
fn a_lock_cannot_have_the_name_of_another_locks_key() {
    for (prefix, resource) in [
        ("leaderrun:col:", "fence"),
        ("x", ":done"),
        ("a:step", "-down"),
        ("", "x:failures"),
        ("x:", "watchers"),
        ("x", ":7:wake"),
    ] {
        for question in [&["true"][..], &["--status"], &["--step-down"]] {
            let names = [format!("--key-prefix={prefix}"), format!("--resource={resource}")];
            let output = Leaderrun::new().args(["-R", "redis://127.0.0.1:1"]).args(names).args(question).output();
            assert_eq!(output.code(), 64, "{prefix}{resource}: {}", output.stderr);
            assert!(output.stderr.contains("ends with :"), "{}", output.stderr);
        }
    }
}
