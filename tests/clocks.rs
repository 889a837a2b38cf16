//! An instance whose clock is off by an hour, either way, leads and stands by like any other.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{Leaderrun, Running, Server, Servers, Witnesses, example, given_variables, unique};

const TTL: Duration = Duration::from_secs(1);

/// A clock that is off.
#[derive(Clone, Copy, Debug)]
enum Clock {
    Right,
    /// The wall clock, shifted by libfaketime, which only works on dynamically linked programs.
    Wall(&'static str),
    /// The clock since boot, shifted by a time namespace.
    Boot(&'static str),
}

/// Builds leaderrun as it is, but linked dynamically. What the tests' own build has compiled is used again.
fn dynamic() -> PathBuf {
    let (root, folder) = (env!("CARGO_MANIFEST_DIR"), Path::new(env!("CARGO_TARGET_TMPDIR")).join("dynamic"));
    let profile = example("..").canonicalize().expect("the folder of this build");
    let target = profile.ancestors().nth(2).expect("the folder of all builds");
    let for_host = target.join(profile.file_name().expect("the profile's name"));
    let copy = |path: &Path| folder.join(path.strip_prefix(target).expect("a path of a build"));

    fs::create_dir_all(&folder).expect("a folder");
    let lock = File::create(folder.join("lock")).expect("a file");
    lock.lock().expect("a lock");
    for compiled in [&profile, &for_host].into_iter().filter(|compiled| !copy(compiled).exists()) {
        fs::create_dir_all(copy(compiled)).expect("a folder");
        for part in ["deps", "build", ".fingerprint"] {
            let copied = Command::new("cp").arg("-a").arg(compiled.join(part)).arg(copy(compiled)).status();
            assert!(copied.expect("cp").success());
        }
    }
    // Leases of other tests must not run out meanwhile.
    let mut cargo = Command::new("nice");
    cargo.args(["-n", "19", env!("CARGO")]);
    // What cargo has told this test would seem to be a change to a build script.
    let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "OUT_DIR"];
    let is_told = |name: &OsString| told.iter().any(|start| name.as_encoded_bytes().starts_with(start.as_bytes()));
    cargo.envs(given_variables().into_iter().filter(|(name, _)| !is_told(name)));
    let built = cargo
        // With an example, the features of the dependencies are those of the tests' build.
        .args(["build", "--quiet", "--locked", "--bin", "leaderrun", "--example", "confine", "--target-dir"])
        .arg(&folder)
        .env("RUSTC_WORKSPACE_WRAPPER", Path::new(root).join("tests/support/dynamically"))
        .current_dir(root)
        .status();
    assert!(built.expect("cargo").success());
    copy(&profile.join("leaderrun"))
}

fn start(clock: Clock, run: Leaderrun) -> Running {
    let words: Vec<OsString> = match clock {
        Clock::Right => Vec::new(),
        Clock::Wall(offset) => {
            ["faketime", "-f", offset].map(OsString::from).into_iter().chain([dynamic().into_os_string()]).collect()
        }
        Clock::Boot(offset) => {
            let program = run.command.get_program().to_owned();
            let namespace = ["--time", "--boottime", offset, "--fork", "--kill-child"];
            crate::support::unshare().iter().copied().chain(namespace).map(OsString::from).chain([program]).collect()
        }
    };
    run.through(words).env("FAKETIME_DONT_FAKE_MONOTONIC", "1").spawn()
}

/// Until then its uptime is negative.
#[test]
fn a_server_whose_clock_is_set_back_votes_for_who_has_known_it_for_the_startup_grace() {
    let mut server = Server::with_clock().expect("libfaketime (tests/run installs it)");
    server.set_clock(3_600_000);
    server.start_again();
    server.set_clock(0);
    let output =
        Leaderrun::on(&Servers(vec![server]), &unique("back"), TTL).args(["-w", "60s", "echo", "led"]).output();
    assert_eq!((output.code(), output.stdout.as_str()), (0, "led\n"), "{}", output.stderr);
}

fn in_turn(clocks: &[Clock]) {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("clocks"), Witnesses::new());
    let run = |job: &[&str]| Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(job));
    // Each leads for longer than a ttl while the next one stands by.
    let mut leader = start(clocks[0], run(&["drain", "1"]));
    for (number, &clock) in (1..).zip(&clocks[1..]) {
        witnesses.started(number);
        let standby = start(clock, run(&["drain", "1"]));
        servers.listened_to(&resource, 1);
        let began = Instant::now();
        crate::support::eventually("a ttl and a half", || (began.elapsed() > TTL * 3 / 2).then_some(()));
        witnesses.ticks_on();
        assert_eq!(witnesses.all().len(), number);
        witnesses.stop_last();
        assert_eq!(leader.wait().code(), 0);
        leader = standby;
    }
    witnesses.started(clocks.len());
    witnesses.stop_last();
    leader.wait();
    witnesses.check();
}

#[test]
fn a_wall_clock_that_is_off_by_an_hour_changes_nothing() {
    dynamic();
    in_turn(&[
        Clock::Right,
        Clock::Wall("+1h"),
        Clock::Right,
        Clock::Wall("-1h"),
        Clock::Wall("+1h"),
        Clock::Wall("-1h"),
    ]);
}

#[test]
fn a_clock_since_boot_that_is_off_by_an_hour_changes_nothing() {
    if !crate::support::may_make_namespaces() {
        return;
    }
    in_turn(&[Clock::Right, Clock::Boot("3600"), Clock::Right, Clock::Boot("3600")]);
}

#[test]
fn a_check_reports_a_clock_that_is_off() {
    dynamic();
    // Long enough for the round trips of a busy machine.
    let ttl = Duration::from_secs(6);
    let servers = Servers::settled(1, ttl);
    for (clock, told) in [
        (Clock::Wall("+1h"), Some("has a clock that is 1h behind this machine's")),
        (Clock::Wall("-1h"), Some("has a clock that is 1h ahead of this machine's")),
        (Clock::Right, None),
    ] {
        let output = start(clock, Leaderrun::new().args(["--check", "-t", "6s", "-R", &servers.urls()])).wait();
        assert_eq!(output.code(), i32::from(told.is_some()), "{}", output.stdout);
        assert!(told.is_none_or(|told| output.stdout.contains(told)), "{}", output.stdout);
    }
}

#[test]
fn one_success_per_period_whatever_the_clock() {
    if !crate::support::may_make_namespaces() {
        return;
    }
    dynamic();
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("period"), Witnesses::new());
    for clock in [Clock::Wall("+1h"), Clock::Right, Clock::Wall("-1h"), Clock::Boot("3600")] {
        let options = ["--once-per", "60s", "--hold", "100ms"];
        let job = witnesses.command(&["for", "10"]);
        let output = start(clock, Leaderrun::on(&servers, &resource, TTL).args(options).args(job)).wait();
        assert_eq!((output.code(), output.stderr.as_str()), (0, ""), "{clock:?}");
    }
    assert_eq!(witnesses.check().len(), 1);
}
