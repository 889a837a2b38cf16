//! A variable sets its option as the option itself does: errors name it, an empty one counts as unset, and a mistyped one
//! doesn't pass unnoticed.

use std::{ffi::OsString, os::unix::ffi::OsStringExt};

use crate::support::{Leaderrun, Output, quoted, unique};

/// All variables of options, and that of the slots.
const ALL: [&str; 33] = [
    "RESOURCE",
    "REDIS",
    "REDIS_FILE",
    "REDIS_BEFORE",
    "TLS_CA",
    "TLS_CERT",
    "TLS_KEY",
    "SLOTS",
    "LOCAL",
    "KEY_PREFIX",
    "HOLDER",
    "COMMAND",
    "TRY",
    "WAIT",
    "TTL",
    "HOLD",
    "ONCE_FOR",
    "REMEMBER",
    "ONCE_PER",
    "ATTEMPTS",
    "MAX_RUN",
    "SIGNAL",
    "KILL_AFTER",
    "STOP_TIMEOUT",
    "PID_NAMESPACE",
    "CONFLICT_EXIT_CODE",
    "SKIP_EXIT_CODE",
    "REJOIN",
    "VERBOSE",
    "QUIET",
    "LOG_FORMAT",
    "SD_NOTIFY",
    "SLOT",
];

fn local(variables: &[(&str, &str)]) -> Leaderrun {
    with(Leaderrun::new().args(["--local", "-r", &unique("variables")]), variables)
}

fn with(leaderrun: Leaderrun, variables: &[(&str, &str)]) -> Leaderrun {
    variables.iter().fold(leaderrun, |leaderrun, (name, value)| leaderrun.env(&format!("LEADERRUN_{name}"), value))
}

#[track_caller]
fn is_refused(output: &Output, part: &str) {
    assert_eq!((output.code(), output.stderr.lines().count()), (64, 1), "{}", output.stderr);
    assert!(output.stderr.contains(part), "{}", output.stderr);
}

#[test]
fn an_error_names_the_variable_that_an_option_is_from() {
    for (name, value, part) in [
        ("TTL", "banana", "invalid value 'banana' for 'LEADERRUN_TTL': it is no duration"),
        ("LOG_FORMAT", "xml", "invalid value 'xml' for 'LEADERRUN_LOG_FORMAT', which takes text, json"),
        ("CONFLICT_EXIT_CODE", "x", "invalid value 'x' for 'LEADERRUN_CONFLICT_EXIT_CODE': it is no number"),
        ("TTL", "1ms", "--ttl 1ms is too short; give it 500ms or more, such as 15s (LEADERRUN_TTL sets --ttl)"),
        ("KILL_AFTER", "1h", "or a longer --ttl (LEADERRUN_KILL_AFTER sets --kill-after)"),
        ("HOLDER", "a\tb", "(LEADERRUN_HOLDER sets --holder)"),
        ("MAX_RUN", "0", "(LEADERRUN_MAX_RUN sets --max-run)"),
        ("SIGNAL", "FOO", "(LEADERRUN_SIGNAL sets --signal)"),
    ] {
        is_refused(&local(&[(name, value)]).args(["true"]).output(), part);
    }
    let both = with(Leaderrun::new(), &[("LOCAL", "1"), ("REDIS", "redis://a")]).args(["-r", "a", "true"]).output();
    is_refused(&both, "'LEADERRUN_REDIS' cannot be used with 'LEADERRUN_LOCAL'; leave out one of them");
    let file = with(Leaderrun::new(), &[("REDIS_FILE", "/no/such/file")]).args(["-r", "a", "true"]).output();
    is_refused(&file, "(LEADERRUN_REDIS_FILE sets --redis-file)");
}

#[test]
fn an_error_of_the_command_line_names_the_option_although_its_variable_is_set() {
    for (name, value, options, part) in [
        ("TTL", "banana", &["-t", "banana"][..], "invalid value 'banana' for '--ttl <DURATION>'"),
        ("HOLDER", "x", &["--holder", "y", "--holder", "z"], "'--holder <NAME>' is given more than once"),
        ("LOG_FORMAT", "xml", &["--log-format", "yml"], "invalid value 'yml' for '--log-format <FORMAT>'"),
    ] {
        is_refused(&local(&[(name, value)]).args(options).args(["true"]).output(), part);
    }
    let output = local(&[("TTL", "15s")]).args(["-t", "1ms", "true"]).output();
    is_refused(&output, "--ttl 1ms is too short");
    assert!(!output.stderr.contains("LEADERRUN_TTL"), "{}", output.stderr);
}

/// Compose and CI pass `${X:-}` on for what isn't set.
#[test]
fn an_empty_variable_counts_as_unset() {
    let output = local(&ALL.map(|name| (name, ""))).args(["echo", "done"]).output();
    assert_eq!((output.code(), output.stdout.as_str(), output.stderr.as_str()), (0, "done\n", ""));
    let environment = with(Leaderrun::new(), &ALL.map(|name| (name, "")));
    let places = [("LOCAL", "1"), ("RESOURCE", &unique("variables"))];
    let output = with(environment, &places).args(["true"]).output();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
    for name in ALL {
        let output = local(&[(name, "")]).args(["true"]).output();
        assert_eq!((output.code(), output.stderr.as_str()), (0, ""), "{name}");
    }
    is_refused(&with(Leaderrun::new().args(["--local"]), &[("RESOURCE", "")]).args(["true"]).output(), "--resource");
    let prefixed = with(Leaderrun::new(), &[("KEY_PREFIX", "")]).args(["-R", "redis://127.0.0.1:1", "-r", "fence"]);
    is_refused(&prefixed.args(["true"]).output(), "--key-prefix and --resource make leaderrun:fence");
}

#[test]
fn a_mistyped_variable_is_warned_of_with_the_one_that_may_be_meant() {
    for (name, meant) in [
        ("MAXRUN", "MAX_RUN"),
        ("WAITT", "WAIT"),
        ("ONCEFOR", "ONCE_FOR"),
        ("QUEIT", "QUIET"),
        ("RESORCE", "RESOURCE"),
        ("SLOTTS", "SLOTS"),
    ] {
        let output = local(&[(name, "1")]).args(["true"]).output();
        let warning =
            format!("warning: LEADERRUN_{name} is not a variable of leaderrun; did you mean LEADERRUN_{meant}?\n");
        assert_eq!((output.code(), output.stderr.lines().count()), (0, 1), "{}", output.stderr);
        assert!(output.stderr.ends_with(&warning), "{}", output.stderr);
    }
    for (name, value) in [("STATUS", "1"), ("LEADS", "x"), ("JSON", "1")] {
        let output = local(&[(name, value)]).args(["true"]).output();
        let warning =
            format!("warning: LEADERRUN_{name} is not a variable of leaderrun; questions are asked by options alone\n");
        assert_eq!(output.code(), 0);
        assert!(output.stderr.ends_with(&warning), "{}", output.stderr);
    }
    let output = local(&[("MAXRUN", "1")]).args(["-q", "true"]).output();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
}

#[test]
fn variables_that_are_near_none_of_ours_or_set_by_leaderrun_are_not_warned_of() {
    let foreign = ["BUILT", "URL", "KEY", "HOST", "LOCK", "LOG", "VERSION", "IMAGE", "SERVICE_PORT", "PORT_6379_TCP"];
    let output = local(&foreign.map(|name| (name, "1"))).args(["true"]).output();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
    let inner = [env!("CARGO_BIN_EXE_leaderrun"), "--local", "-r", &unique("inner"), "true"];
    let output = local(&[]).args(["--slots", "2", "--"]).args(inner).output();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
}

#[test]
fn a_value_that_is_not_utf8_is_refused_with_the_option_or_variable_that_has_it() {
    let raw = OsString::from_vec(b"a\xff".to_vec());
    for (option, name) in [("--resource", "--resource <NAME>"), ("--holder", "--holder <NAME>")] {
        let resource = ["-r", "x"].into_iter().filter(|_| option != "--resource");
        let output = Leaderrun::new().args(["--local", option]).args([&raw]).args(resource).args(["true"]).output();
        is_refused(&output, &format!("the value of '{name}' is not valid UTF-8; "));
    }
    let output = local(&[]).env("LEADERRUN_HOLDER", &raw).args(["true"]).output();
    is_refused(&output, "the value of 'LEADERRUN_HOLDER' is not valid UTF-8; ");
}

/// The name that leaderrun gives its command is that of the leader, not that of another leaderrun below it.
#[test]
fn a_leaderrun_below_another_has_a_name_of_its_own() {
    let program = quoted(env!("CARGO_BIN_EXE_leaderrun"));
    let (outer, inner) = (unique("outer"), unique("inner"));
    let line = format!("echo $LEADERRUN_HOLDER; {program} --local -r {inner} -c 'echo $LEADERRUN_HOLDER'");
    for holder in [None, Some("web-1")] {
        let options = holder.into_iter().flat_map(|name| ["--holder", name]);
        let output = Leaderrun::new().args(["--local", "-r", &outer]).args(options).args(["-c", &line]).output();
        let names: Vec<&str> = output.stdout.lines().collect();
        let [outer, inner] = names.as_slice() else { panic!("{output:?}") };
        assert!(outer != inner && inner.contains(':'), "{names:?}");
        assert!(holder.is_none_or(|holder| holder == *outer), "{names:?}");
    }
    let line = format!("{program} --local -r {inner} --holder web-2 -c 'echo $LEADERRUN_HOLDER'");
    let output = Leaderrun::new().args(["--local", "-r", &outer, "-c", &line]).output();
    assert_eq!(output.stdout, "web-2\n", "{}", output.stderr);
}
