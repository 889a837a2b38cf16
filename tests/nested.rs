//! A leaderrun within the command of another leads on its own, or says that it would wait for itself.

use std::time::Duration;

use crate::support::{Leaderrun, Output, Server, quoted, unique};

const PROGRAM: &str = env!("CARGO_BIN_EXE_leaderrun");

const WITHIN_ITSELF: &str = "has started this leaderrun, which would wait for itself";

fn settled() -> Server {
    let server = Server::start();
    server.settle(Duration::from_secs(2));
    server
}

#[track_caller]
fn is_good(output: &Output) {
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
}

#[track_caller]
fn is_refused(output: &Output) {
    assert_eq!(output.code(), 64, "{}", output.stderr);
    assert!(output.stderr.contains(WITHIN_ITSELF), "{}", output.stderr);
}

#[test]
fn the_same_resource_within_itself_is_refused() {
    let (server, resource) = (settled(), unique("within"));
    let url = server.url();
    for place in [&["--local"][..], &["-t", "2s", "-R", &url]] {
        let run = || Leaderrun::new().args(place).args(["-r", &resource, "--"]).args([PROGRAM]);
        let output = run().args(place).args(["-r", &resource, "true"]).output();
        is_refused(&output);
        let other = unique("other");
        is_good(&run().args(place).args(["-r", &other, "true"]).output());
        let unplaced = run().env("LEADERRUN_REDIS", &url).args(["-r", &other, "true"]).output();
        assert_eq!(unplaced.code(), 64, "{}", unplaced.stderr);
        assert!(
            unplaced.stderr.contains(" doesn't get LEADERRUN_REDIS, which may hold passwords"),
            "{}",
            unplaced.stderr
        );
        assert_eq!(run().args(place).args(["-n", "-r", &resource, "true"]).output().code(), 75);
    }
    // Not the same lock, although it has the same name.
    let inner = [PROGRAM, "-t", "2s", "-R", &url, "-r", &resource, "true"];
    is_good(&Leaderrun::new().args(["--local", "-r", &resource, "--"]).args(inner).output());
}

#[test]
fn a_leader_further_out_is_found_as_well() {
    let (server, [outer, between]) = (settled(), ["outer", "between"].map(unique));
    let url = server.url();
    for place in [&["--local"][..], &["-t", "2s", "-R", &url]] {
        let nested = |resource| [&[PROGRAM], place, &["-r", resource]].concat();
        let run = |inner: &[&str]| {
            let commands = [&nested(&between), inner, &["true"]].concat();
            Leaderrun::new().args(place).args(["-r", &outer]).args(commands).output()
        };
        is_refused(&run(&[&nested(&outer)[..], &["-w", "30"]].concat()));
        is_refused(&run(&nested(&between)));
        is_good(&run(&nested(&unique("inner"))));
    }
}

#[test]
fn a_file_is_one_lock_whatever_its_resource_is_called() {
    let folder = tempfile::tempdir().expect("a folder");
    let lock = |name: &str| format!("--local={}", folder.path().join(name).display());
    let run = |inner: &[&str]| Leaderrun::new().args([&lock("a"), "-r", "o"]).args(inner).output();
    is_refused(&run(&[PROGRAM, &lock("a"), "-r", "p", "true"]));
    is_good(&run(&[PROGRAM, &lock("b"), "-r", "o", "true"]));
}

/// A script may give the next leaderrun a name or a resource by the variables that also name the leader around it.
#[test]
fn what_a_script_sets_for_the_inner_one_hides_no_leader() {
    let resource = unique("set");
    let line = format!("LEADERRUN_HOLDER=another exec {} --local -r {resource} true", quoted(PROGRAM));
    is_refused(&Leaderrun::new().args(["--local", "-r", &resource, "-c", &line]).output());
}

/// All of one machine may have its name.
#[test]
fn another_leader_of_the_same_name_is_waited_for() {
    let ([outer, other], folder) = (["outer", "other"].map(unique), tempfile::tempdir().expect("a folder"));
    let run = |resource: &str| Leaderrun::new().args(["--local", "--holder", "host", "-r", resource]);
    let go = folder.path().join("go");
    let inner = format!("exec {} --local --holder host -w 0.1 -r {other} true", quoted(PROGRAM));
    let line = format!("echo up; until [ -e {} ]; do sleep 0.01; done; {inner}", quoted(&go));
    let mut outer = run(&outer).shell(&line);
    outer.says("up");
    let mut younger = run(&other).shell("echo up; sleep 60");
    younger.says("up");
    std::fs::write(go, "").expect("a file");
    let output = outer.wait();
    assert_eq!((output.code(), output.stderr.as_str()), (75, ""));
}
