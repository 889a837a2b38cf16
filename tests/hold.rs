//! `--hold`: the lock stays taken for the given time from the start of the command, even if everything has ended, and
//! no longer.

use std::time::{Duration, Instant};

use crate::support::{Leaderrun, Servers, Witnesses, eventually, quoted, unique};
use nix::sys::signal::Signal;
use tempfile::TempDir;

const TTL: Duration = Duration::from_secs(1);
const HOLD: Duration = Duration::from_secs(3);

/// The lock's place: the nodes, or this machine with a runtime directory of its own.
enum Place {
    Nodes(Servers),
    ThisMachine(TempDir),
}

impl Place {
    fn each() -> [Place; 2] {
        [Place::Nodes(Servers::settled(3, TTL)), Place::ThisMachine(tempfile::tempdir().expect("a folder"))]
    }

    fn run(&self, resource: &str) -> Leaderrun {
        match self {
            Place::Nodes(servers) => Leaderrun::on(servers, resource, TTL),
            Place::ThisMachine(folder) => {
                Leaderrun::new().args(["--local", "-r", resource]).env("XDG_RUNTIME_DIR", folder.path())
            }
        }
    }
}

#[test]
fn instances_whose_clock_is_late_find_the_lock_taken_until_the_hold_is_over() {
    for place in Place::each() {
        let (resource, witnesses) = (unique("late"), Witnesses::new());
        for status in ["0", "3"] {
            let job = witnesses.command(&["for", "500", "exit", status]);
            let began = Instant::now();
            assert_eq!(place.run(&resource).args(["--hold", "3s"]).args(job).output().code().to_string(), status);
            assert!(began.elapsed() < HOLD, "leaderrun itself did not wait");
            let output = place.run(&resource).args(["--try", "true"]).output();
            assert_eq!((output.code(), output.stderr.as_str()), (75, ""));
            let output = place.run(&resource).args(["-v", "--try", "true"]).output();
            assert!(output.stderr.contains("has led and keeps the lock (--hold)"), "{}", output.stderr);
            assert!(began.elapsed() < HOLD, "too late to be conclusive");
            // A waiting instance runs as soon as the hold is over, and not before.
            assert_eq!(place.run(&resource).args(witnesses.command(&["for", "1"])).output().code(), 0);
        }
        let all = witnesses.check();
        for pair in all.chunks(2) {
            let apart = Duration::from_nanos(pair[1].start - pair[0].start);
            assert!(apart >= HOLD - Duration::from_millis(50), "after {apart:?}");
            assert!(apart < HOLD + TTL, "after {apart:?}");
        }
    }
}

#[test]
fn a_waiting_standby_is_notified_how_long_the_lock_is_held() {
    // Without the notification, it would look when the votes that it saw expire.
    let ttl = Duration::from_secs(4);
    let servers = Servers::settled(3, ttl);
    let (resource, witnesses) = (unique("told"), Witnesses::new());
    let start = |job: &[&str]| {
        let options = ["--hold", "1s"];
        Leaderrun::on(&servers, &resource, ttl).args(options).args(witnesses.command(job)).spawn()
    };
    let leader = start(&["for", "700"]);
    witnesses.started(1);
    let standby = start(&["for", "1"]);
    servers.listened_to(&resource, 1);
    assert_eq!([leader.wait().code(), standby.wait().code()], [0, 0]);
    let all = witnesses.check();
    let apart = Duration::from_nanos(all[1].start - all[0].start);
    assert!(apart >= Duration::from_millis(950) && apart < ttl / 2, "after {apart:?}");
}

#[test]
fn a_command_that_outlasts_the_hold_is_followed_at_once() {
    for place in Place::each() {
        let (resource, witnesses) = (unique("longer"), Witnesses::new());
        let run = |job: &[&str]| place.run(&resource).args(["--hold", "500ms"]).args(witnesses.command(job)).output();
        assert_eq!(run(&["for", "800"]).code(), 0);
        assert_eq!(place.run(&resource).args(["--try", "true"]).output().code(), 0);
    }
}

#[test]
fn nodes_that_have_started_again_without_the_lock_keep_it_too() {
    // No extension restores it meanwhile.
    let ttl = Duration::from_secs(9);
    let mut servers = Servers::settled(3, ttl);
    let resource = unique("lost");
    let folder = tempfile::tempdir().expect("a folder");
    let urls = servers.urls();
    let run = || Leaderrun::new().args(["-R", &urls, "-r", &resource, "-t", "9s"]);
    let line = format!("echo up; cd {}; until [ -e ends ]; do sleep 0.01; done", quoted(folder.path()));
    let mut leader = run().args(["--hold", "60s"]).shell(&line);
    leader.says("up");
    servers.0[1..].iter_mut().for_each(crate::support::Server::start_again);
    std::fs::write(folder.path().join("ends"), "").expect("a file");
    let output = leader.wait();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
    let kept =
        |server: &crate::support::Server| server.lock(&resource).is_some_and(|value| value.contains("\"kept\":true"));
    assert!(servers.0.iter().all(kept));
    let output = run().args(["-v", "--try", "true"]).output();
    assert_eq!(output.code(), 75, "{}", output.stderr);
}

#[test]
fn a_crash_still_releases_the_lock() {
    for place in Place::each() {
        let (resource, witnesses) = (unique("crash"), Witnesses::new());
        let leader = place.run(&resource).args(["--hold", "1h"]).args(witnesses.command(&[])).spawn();
        witnesses.started(1);
        leader.signal(Signal::SIGKILL);
        leader.wait();
        assert_eq!(place.run(&resource).args(witnesses.command(&["for", "1"])).output().code(), 0);
        witnesses.check();
    }
}

#[test]
fn a_command_that_cannot_be_started_holds_nothing() {
    let servers = Servers::settled(1, TTL);
    let resource = unique("unstarted");
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script");
    std::fs::write(&script, "#!/does/not/exist\n").expect("a script");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let output = Leaderrun::on(&servers, &resource, TTL).args(["--hold", "1h", "--"]).args([&script]).output();
    assert_eq!(output.code(), 127, "{}", output.stderr);
    assert_eq!(servers.locked(&resource), 0);
}

#[test]
fn a_hold_without_a_quorum_is_reported() {
    let mut servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("unkept"), Witnesses::new());
    let job = witnesses.command(&["for", "200"]);
    let leader = Leaderrun::on(&servers, &resource, TTL).args(["--hold", "1h"]).args(job).spawn();
    witnesses.started(1);
    servers.0[1].kill();
    servers.0[2].kill();
    let output = leader.wait();
    assert_eq!(output.code(), 0);
    assert!(output.stderr.contains("the lock could not be kept for --hold: 1 of 3 nodes"), "{}", output.stderr);
    eventually("its minority", || servers.0[0].lock(&resource).is_some_and(|v| v.contains("kept")).then_some(()));
}

#[test]
fn a_hold_that_comes_after_another_has_led_keeps_nobody_out_and_is_reported() {
    const TTL: Duration = Duration::from_secs(3);
    let servers = Servers::settled(3, TTL);
    let resource = unique("stopped");
    let failing = |options: &[&str], command: &[&str]| {
        let counted = ["-v", "--once-per", "1h", "--attempts", "5"];
        Leaderrun::on(&servers, &resource, TTL).args(counted).args(options).args(command)
    };
    let stopped = failing(&["--hold", "1h"], &["sh", "-c", "sleep 0.6; exit 1"]).spawn();
    stopped.reports(": started sh");
    stopped.signal(Signal::SIGSTOP);
    // Its lease runs out.
    assert_eq!(failing(&[], &["false"]).output().code(), 1);
    stopped.signal(Signal::SIGCONT);
    let output = stopped.wait();
    assert!(output.stderr.contains("the lock could not be kept for --hold: 0 of 3 nodes"), "{}", output.stderr);
    assert_eq!(servers.locked(&resource), 0);
}

#[test]
fn with_once_per_a_failure_is_retried_after_the_hold() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("both"), Witnesses::new());
    let run = |job: &[&str]| {
        let options = ["--hold", "2s", "--once-per", "60s"];
        Leaderrun::on(&servers, &resource, TTL).args(options).args(witnesses.command(job)).output()
    };
    assert_eq!(
        [run(&["for", "1", "exit", "1"]).code(), run(&["for", "1"]).code(), run(&["for", "1"]).code()],
        [1, 0, 0]
    );
    let all = witnesses.check();
    assert_eq!(all.len(), 2);
    assert!(all[1].start - all[0].start > 1_900_000_000, "{all:?}");
}
