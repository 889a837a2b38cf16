//! Servers on free ports of the loopback that end with the benchmark: Redis, old enough to vote, and etcd.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

pub struct Servers {
    children: Vec<Child>,
    ports: Vec<u16>,
    _folder: TempDir,
}

fn start(program: &str, args: &[String]) -> Child {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", program])
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}"))
}

fn free_ports(number: usize) -> Vec<u16> {
    let held: Vec<_> = (0..number).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    held.iter().map(|l| l.local_addr().expect("its address").port()).collect()
}

impl Servers {
    /// Starts Redis servers and returns once they are old enough to vote at `ttl`, the longest lease measured.
    pub fn redis(number: usize, ttl: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ports = free_ports(number);
        let launch = |port: &u16| {
            let options =
                ["--bind", "127.0.0.1", "--save", "", "--maxclients", "20000", "--tcp-backlog", "4096", "--port"];
            let mut args: Vec<String> = options.map(String::from).to_vec();
            args.extend([port.to_string(), "--dir".into(), folder.path().display().to_string()]);
            start("redis-server", &args)
        };
        let children = ports.iter().map(launch).collect();
        std::thread::sleep(ttl + ttl / 50 + Duration::from_secs(2));
        Servers { children, ports, _folder: folder }
    }

    /// Starts a cluster of three.
    pub fn etcd() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ports = free_ports(6);
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let cluster = (0..3).map(|i| format!("n{i}={}", url(ports[3 + i]))).collect::<Vec<_>>().join(",");
        let launch = |i: usize| {
            let (client, peer) = (url(ports[i]), url(ports[3 + i]));
            let data = folder.path().join(format!("n{i}")).display().to_string();
            let args = [
                ("--name", format!("n{i}")),
                ("--data-dir", data),
                ("--listen-client-urls", client.clone()),
                ("--advertise-client-urls", client),
                ("--listen-peer-urls", peer.clone()),
                ("--initial-advertise-peer-urls", peer),
                ("--initial-cluster", cluster.clone()),
            ];
            let args: Vec<String> = args.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
            start("etcd", &args)
        };
        let children = (0..3).map(launch).collect();
        std::thread::sleep(Duration::from_secs(4));
        Servers { children, ports, _folder: folder }
    }

    /// Returns the Redis URLs of the first `number` servers.
    pub fn urls(&self, number: usize) -> String {
        self.ports[..number].iter().map(|p| format!("redis://127.0.0.1:{p}")).collect::<Vec<_>>().join(",")
    }

    pub fn endpoints(&self) -> String {
        self.ports[..3].iter().map(|p| format!("127.0.0.1:{p}")).collect::<Vec<_>>().join(",")
    }

    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    pub fn query<T: redis::FromRedisValue>(&self, node: usize, args: &[&str]) -> T {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.ports[node])).expect("a URL");
        let mut cmd = redis::cmd(args[0]);
        cmd.arg(&args[1..]);
        cmd.query(&mut client.get_connection().expect("a connection")).expect("an answer")
    }

    /// Returns how many scripts all nodes have run. Each command of leaderrun is one script.
    pub fn scripts_run(&self) -> u64 {
        self.calls("eval")
    }

    /// Returns how many campaigns all nodes have turned down because another holds the lock. Each of these counts the
    /// listeners.
    pub fn turned_down(&self) -> u64 {
        self.calls("pubsub|numsub")
    }

    fn calls(&self, command: &str) -> u64 {
        let prefix = format!("cmdstat_{command}:calls=");
        let calls = |node: usize| {
            let stats: String = self.query(node, &["INFO", "commandstats"]);
            let line = stats.lines().find_map(|l| l.strip_prefix(&prefix));
            line.and_then(|l| l.split(',').next()).map_or(0, |n| n.parse().expect("a number"))
        };
        (0..self.ports.len()).map(calls).sum()
    }

    pub fn signal(&self, signal: Signal) {
        for child in &self.children {
            kill(Pid::from_raw(child.id() as i32), signal).expect("our server");
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
