//! Servers on free ports of the loopback that end with the benchmark: Redis, old enough to vote, and etcd.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// Files in the folder of servers with TLS.
const AUTHORITY: &str = "authority.pem";
const CERTIFICATE: &str = "server.pem";
const KEY: &str = "server.key";

pub struct Servers {
    children: Vec<Child>,
    ports: Vec<u16>,
    /// Of those that have TLS.
    tls_ports: Vec<u16>,
    folder: TempDir,
}

fn spawn(program: &str, args: &[String]) -> Child {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", program])
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}"))
}

pub fn free_ports(number: usize) -> Vec<u16> {
    let held: Vec<_> = (0..number).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    held.iter().map(|l| l.local_addr().expect("its address").port()).collect()
}

/// Makes a certificate for 127.0.0.1 and the authority that signs it. Returns whether that works here.
fn make_certificate(folder: &TempDir) -> bool {
    let extensions = "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
    fs::write(folder.path().join("extensions"), extensions).expect("a file");
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let authority = ["req", "-x509", "-subj", "/CN=authority", "-keyout", "authority.key", "-out", AUTHORITY];
    let request = ["req", "-subj", "/CN=server", "-keyout", KEY, "-out", "request"];
    let sign = ["x509", "-req", "-in", "request", "-CA", AUTHORITY, "-CAkey", "authority.key", "-CAcreateserial"];
    let signed = ["-extfile", "extensions", "-out", CERTIFICATE];
    let calls = [[&authority[..], &key].concat(), [&request[..], &key].concat(), [&sign[..], &signed].concat()];
    calls.iter().all(|args| {
        let mut openssl = Command::new("openssl");
        openssl.args(args).current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        openssl.status().is_ok_and(|status| status.success())
    })
}

impl Servers {
    /// Starts a server with each list of arguments. Returns after `settle`.
    pub fn start(program: &str, args: Vec<Vec<String>>, ports: Vec<u16>, folder: TempDir, settle: Duration) -> Self {
        let children = args.iter().map(|args| spawn(program, args)).collect();
        std::thread::sleep(settle);
        Servers { children, ports, tls_ports: Vec::new(), folder }
    }

    /// Starts Redis servers and returns once they are old enough to vote at `ttl`, the longest lease measured. They have a
    /// port for TLS each, if this machine has openssl(1).
    pub fn redis(number: usize, ttl: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ports = free_ports(2 * number);
        let (ports, tls_ports) = ports.split_at(number);
        let has_tls = make_certificate(&folder);
        let launch = |(port, tls_port): (&u16, &u16)| {
            let options =
                ["--bind", "127.0.0.1", "--save", "", "--maxclients", "20000", "--tcp-backlog", "4096", "--port"];
            let mut args: Vec<String> = options.map(String::from).to_vec();
            args.extend([port.to_string(), "--dir".into(), folder.path().display().to_string()]);
            if has_tls {
                args.extend(["--tls-port".into(), tls_port.to_string(), "--tls-auth-clients".into(), "no".into()]);
                let file = |name: &str| folder.path().join(name).display().to_string();
                args.extend(["--tls-cert-file".into(), file(CERTIFICATE), "--tls-key-file".into(), file(KEY)]);
            }
            args
        };
        let args = ports.iter().zip(tls_ports).map(launch).collect();
        let settle = ttl + ttl / 50 + Duration::from_secs(2);
        let mut servers = Self::start("redis-server", args, ports.to_vec(), folder, settle);
        if has_tls {
            servers.tls_ports = tls_ports.to_vec();
        }
        servers
    }

    /// Starts a cluster of three.
    pub fn etcd() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ports = free_ports(6);
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let cluster = (0..3).map(|i| format!("n{i}={}", url(ports[3 + i]))).collect::<Vec<_>>().join(",");
        let launch = |i: usize| -> Vec<String> {
            let (client, peer) = (url(ports[i]), url(ports[3 + i]));
            let data = format!("{}/n{i}", folder.path().display());
            let args = [
                ("--name", format!("n{i}")),
                ("--data-dir", data),
                ("--listen-client-urls", client.clone()),
                ("--advertise-client-urls", client),
                ("--listen-peer-urls", peer.clone()),
                ("--initial-advertise-peer-urls", peer),
                ("--initial-cluster", cluster.clone()),
            ];
            args.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
        };
        let args = (0..3).map(launch).collect();
        Self::start("etcd", args, ports, folder, Duration::from_secs(4))
    }

    /// Returns the Redis URLs of the first `number` servers.
    pub fn urls(&self, number: usize) -> String {
        self.ports[..number].iter().map(|p| format!("redis://127.0.0.1:{p}")).collect::<Vec<_>>().join(",")
    }

    /// The same with TLS, if they have it.
    pub fn tls_urls(&self, number: usize) -> Option<String> {
        let ports = self.tls_ports.get(..number)?;
        Some(ports.iter().map(|p| format!("rediss://127.0.0.1:{p}")).collect::<Vec<_>>().join(","))
    }

    /// Returns the certificate that their own are signed with.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join(AUTHORITY)
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
