//! leaderrun as a systemd service of Type=notify, on a real notify socket: ready, status, watchdog, stopping.

use std::{os::unix::net::UnixDatagram, time::Duration};

use crate::support::{Leaderrun, Running, Servers, Witnesses, unique};
use nix::sys::signal::Signal;
use tempfile::TempDir;

const TTL: Duration = Duration::from_secs(1);

/// The socket that systemd would listen on.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(crate::support::LONG)).expect("a time-out");
        Manager { socket, folder }
    }

    fn start(&self, resource: &str, when: &str, command: &[String]) -> Running {
        let options = ["--local", "-r", resource, "--holder", when, "--sd-notify", when];
        let socket = self.folder.path().join("notify");
        Leaderrun::new().env("NOTIFY_SOCKET", socket).args(options).args(command).spawn()
    }

    /// Returns the next notification that isn't a watchdog ping.
    fn hears(&self) -> String {
        loop {
            let mut bytes = [0; 4096];
            let length = self.socket.recv(&mut bytes).expect("a word");
            let word = String::from_utf8_lossy(&bytes[..length]).trim_end().to_owned();
            if word != "WATCHDOG=1" {
                return word;
            }
        }
    }

    /// Checks that the next notification begins with this.
    fn hears_of(&self, beginning: &str) {
        let word = self.hears();
        assert!(word.starts_with(beginning), "{word:?} in place of {beginning:?}");
    }
}

#[test]
fn ready_as_a_standby_then_a_leader_then_stopping() {
    let (resource, witnesses) = (unique("ready"), Witnesses::new());
    let leader = Leaderrun::new().args(["--local", "-r", &resource, "--holder", "web-1"]);
    let leader = leader.args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    let manager = Manager::new();
    let standby = manager.start(&resource, "standby", &witnesses.command(&["drain", "1"]));
    assert_eq!(manager.hears(), "READY=1");
    let status = manager.hears();
    assert!(status.starts_with("STATUS=stands by: web-1 leads since "), "{status}");
    leader.signal(Signal::SIGTERM);
    leader.wait();
    manager.hears_of("STATUS=leads with fencing token ");
    assert_eq!(manager.hears(), "READY=1");
    manager.hears_of("STATUS=started ");
    witnesses.started(2);
    standby.signal(Signal::SIGTERM);
    assert!(manager.hears().ends_with("ended with exit status 0"));
    assert_eq!(manager.hears(), "STOPPING=1");
    assert_eq!(standby.wait().code(), 0);
}

/// A line of a notification of its own could name another main process.
#[test]
fn a_holder_with_a_newline_adds_no_line_to_a_notification() {
    let (servers, resource, manager) = (Servers::settled(1, TTL), unique("forged"), Manager::new());
    let holder = serde_json::json!({ "id": "a", "holder": "web\nMAINPID=1\u{1b}[2J" }).to_string();
    servers.0[0].query::<()>(&["SET", &format!("leaderrun:{resource}"), &holder]);
    let standby = Leaderrun::on(&servers, &resource, TTL).args(["--sd-notify", "leader", "true"]);
    let _standby = standby.env("NOTIFY_SOCKET", manager.folder.path().join("notify")).spawn();
    assert!(manager.hears().starts_with("STATUS=stands by: web?MAINPID=1?[2J leads"));
}

#[test]
fn ready_only_as_a_leader_on_request() {
    let (resource, witnesses) = (unique("leads"), Witnesses::new());
    let leader = Leaderrun::new().args(["--local", "-r", &resource]).args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    let manager = Manager::new();
    let standby = manager.start(&resource, "leader", &witnesses.command(&["drain", "1"]));
    manager.hears_of("STATUS=stands by: ");
    standby.signal(Signal::SIGTERM);
    assert_eq!(manager.hears(), "STOPPING=1");
    assert_eq!(standby.wait().code(), 143);
    leader.signal(Signal::SIGTERM);
    leader.wait();
    let _next = manager.start(&resource, "leader", &witnesses.command(&["drain", "1"]));
    manager.hears_of("STATUS=leads with ");
    assert_eq!(manager.hears(), "READY=1");
}

#[test]
fn the_watchdog_is_fed_while_the_elector_runs_and_not_while_it_is_stopped() {
    let (manager, resource, witnesses) = (Manager::new(), unique("watchdog"), Witnesses::new());
    let options = ["--local", "-r", &resource, "--sd-notify", "leader"];
    let leader = Leaderrun::new()
        .env("NOTIFY_SOCKET", manager.folder.path().join("notify"))
        .env("WATCHDOG_USEC", "100000")
        .args(options)
        .args(witnesses.command(&[]))
        .spawn();
    witnesses.started(1);
    manager.socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a time-out");
    let mut fed = 0;
    while fed < 5 {
        let mut bytes = [0; 4096];
        let length = manager.socket.recv(&mut bytes).expect("a sign of life");
        fed += usize::from(&bytes[..length] == b"WATCHDOG=1\n");
    }
    leader.signal(Signal::SIGSTOP);
    manager.socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a time-out");
    let mut bytes = [0; 4096];
    let mut more = 0;
    while manager.socket.recv(&mut bytes).is_ok() {
        more += 1;
        assert!(more < 5, "a stopped elector feeds the watchdog");
    }
    leader.signal(Signal::SIGCONT);
}

/// Runs the unit's own command line, with other paths for its files.
#[test]
fn the_example_unit_reports_ready_as_a_standby() {
    let unit = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/systemd/consumer.service"));
    let unit = unit.expect("the example");
    assert!(unit.contains("\nType=notify\n") && unit.contains("\nWatchdogSec="), "{unit}");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/leaderrun ")).expect("its command");
    let (manager, servers) = (Manager::new(), Servers::start(3));
    let urls = manager.folder.path().join("redis");
    std::fs::write(&urls, servers.urls().replace(',', "\n")).expect("a file");
    let word =
        |word: &str| word.replace("%d/redis", urls.to_str().expect("a path")).replace("/opt/consumer", "/bin/true");
    let instance = Leaderrun::new()
        .env("NOTIFY_SOCKET", manager.folder.path().join("notify"))
        .env("WATCHDOG_USEC", "30000000")
        .args(line.split_whitespace().map(word))
        .spawn();
    // The servers are in their startup grace and elect nobody.
    assert_eq!(manager.hears(), "READY=1");
    manager.hears_of("STATUS=stands by: ");
    instance.signal(Signal::SIGTERM);
    assert_eq!(manager.hears(), "STOPPING=1");
    assert_eq!(instance.wait().code(), 143);
}

#[test]
fn the_command_gets_the_socket_unless_we_use_it() {
    let manager = Manager::new();
    let run = |options: &[&str]| {
        let run = Leaderrun::new().env("NOTIFY_SOCKET", manager.folder.path().join("notify"));
        let command = ["sh", "-c", "echo ${NOTIFY_SOCKET:-none}"];
        run.args(["--local", "-r", &unique("socket")]).args(options).args(command).output().stdout
    };
    assert_eq!(run(&["--sd-notify", "leader"]), "none\n");
    assert!(run(&[]).ends_with("/notify\n"));
}

#[test]
fn a_manager_that_does_not_read_blocks_nothing() {
    let (manager, resource, witnesses) = (Manager::new(), unique("deaf"), Witnesses::new());
    // Fill the socket.
    let full = UnixDatagram::unbound().expect("a socket");
    full.set_nonblocking(true).expect("a mode");
    full.connect(manager.folder.path().join("notify")).expect("a connection");
    while full.send(b"X").is_ok() {}
    let leader = manager.start(&resource, "leader", &witnesses.command(&["drain", "1"]));
    witnesses.started(1);
    leader.signal(Signal::SIGTERM);
    assert_eq!(leader.wait().code(), 0);
}
