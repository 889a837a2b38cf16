//! A real master with replicas and the Sentinels that watch it, which end with the test.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use redis::{Client, Value};
use tempfile::TempDir;

use super::{Server, connection::Kept, eventually, eventually_within, free_port, signal};

/// The name under which the Sentinels watch the master.
pub const NAME: &str = "mymaster";

/// The Sentinels check a server's role every ten seconds, and leave an old master as it is for eight more.
const DEMOTION: Duration = Duration::from_secs(60);

/// How long a server must be silent for the Sentinels to consider it down.
const DOWN_AFTER: &str = "300";

/// How long a Sentinel may take to answer.
const PATIENCE: Duration = Duration::from_millis(200);

pub struct Sentinel {
    pub port: u16,
    child: Child,
    kept: Kept,
    _folder: TempDir,
}

/// One node: a master, two replicas and three Sentinels.
pub struct Group {
    pub servers: Vec<Server>,
    pub sentinels: Vec<Sentinel>,
}

impl Sentinel {
    /// Starts a Sentinel for the server on this port, with additional lines in its configuration.
    pub fn start(master: u16, more: &[&str]) -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("a temporary folder"));
        let conf = folder.path().join("conf");
        let mut lines = vec![
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            format!("dir {:?}", folder.path()),
            format!("sentinel monitor {NAME} 127.0.0.1 {master} 2"),
            format!("sentinel down-after-milliseconds {NAME} {DOWN_AFTER}"),
            format!("sentinel failover-timeout {NAME} 1000"),
        ];
        lines.extend(more.iter().map(ToString::to_string));
        fs::write(&conf, lines.join("\n")).expect("a file");
        // The child dies with the test, even if the test is killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into()))
            .args([conf.as_os_str(), "--sentinel".as_ref()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("setpriv and redis-server (tests/run installs them)");
        Sentinel { port, child, kept: Kept::default(), _folder: folder }
    }

    fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn freeze(&self) {
        signal(self.pid(), Signal::SIGSTOP);
    }

    pub fn thaw(&self) {
        signal(self.pid(), Signal::SIGCONT);
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn ask(&self, args: &[&str]) -> Option<Value> {
        let open = || {
            let client = Client::open(format!("redis://127.0.0.1:{}", self.port))?;
            let connection = client.get_connection_with_timeout(PATIENCE)?;
            connection.set_read_timeout(Some(PATIENCE))?;
            Ok(connection)
        };
        self.kept.ask(redis::cmd("SENTINEL").arg(args), open).ok()
    }

    /// Returns one of the things that it knows about the master.
    fn knows(&self, what: &str) -> Option<String> {
        let pairs: Vec<(String, String)> = redis::from_redis_value(self.ask(&["MASTER", NAME])?).ok()?;
        pairs.into_iter().find(|(name, _)| name == what).map(|(_, value)| value)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Group {
    /// Starts a group and waits until its master is old enough to vote at this ttl.
    pub fn settled(ttl: Duration) -> Self {
        let master = Server::start();
        let port = master.port.to_string();
        let replica = || Server::start_with(&["--replicaof", "127.0.0.1", &port]);
        let servers = vec![master, replica(), replica()];
        let sentinels: Vec<_> = (0..3).map(|_| Sentinel::start(servers[0].port, &[])).collect();
        let group = Group { servers, sentinels };
        group.is_whole();
        group.servers.iter().for_each(|server| server.settle(ttl));
        group
    }

    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis-sentinel://{}/{NAME}", hosts.join(","))
    }

    /// Returns the server that two Sentinels take for the master.
    pub fn master(&self) -> Option<usize> {
        let named: Vec<u16> = self.sentinels.iter().filter_map(|s| s.knows("port")?.parse().ok()).collect();
        let twice = named.iter().find(|port| named.iter().filter(|other| other == port).count() >= 2)?;
        self.servers.iter().position(|server| server.port == *twice)
    }

    /// Waits until two Sentinels have another master.
    pub fn master_other_than(&self, old: usize) -> usize {
        eventually("another master", || self.master().filter(|master| *master != old))
    }

    /// Waits until each Sentinel knows all servers and Sentinels, and finds them well.
    pub fn is_whole(&self) {
        let well = |sentinel: &Sentinel| {
            let flags = |what: &str| -> Option<Vec<String>> {
                let all: Vec<Vec<(String, String)>> = redis::from_redis_value(sentinel.ask(&[what, NAME])?).ok()?;
                Some(all.into_iter().flatten().filter(|(name, _)| name == "flags").map(|(_, flags)| flags).collect())
            };
            let all_well = |flags: Vec<String>| flags.len() == 2 && !flags.iter().any(|f| f.contains("down"));
            Some(sentinel.knows("flags")? == "master" && all_well(flags("REPLICAS")?) && all_well(flags("SENTINELS")?))
        };
        eventually_within(DEMOTION, "a whole group", || {
            self.sentinels.iter().all(|s| well(s) == Some(true)).then_some(())
        });
        // Replication must work too: a replica that was never in sync isn't promoted.
        eventually_within(DEMOTION, "replicas in sync", || {
            // A server that becomes a replica closes its connections.
            let told = |server: &Server| server.try_query::<String>(&["INFO", "replication"]).unwrap_or_default();
            let replicas = self.servers.iter().filter(|s| s.is_up() && told(s).contains("master_link_status:up"));
            (replicas.count() == 2).then_some(())
        });
    }

    /// Requests a failover without a cause from a Sentinel, until one begins.
    pub fn fail_over(&self) {
        eventually("a failover", || self.sentinels.iter().find_map(|sentinel| sentinel.ask(&["FAILOVER", NAME])));
    }
}
