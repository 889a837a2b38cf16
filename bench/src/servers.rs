//! Redis servers on free ports of the loopback, old enough to vote.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

pub struct Servers {
    children: Vec<Child>,
    ports: Vec<u16>,
    _folder: TempDir,
}

impl Servers {
    /// `ttl`: the longest lease that is measured; the servers are as old as that before this returns.
    pub fn start(number: usize, ttl: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut servers = Servers { children: Vec::new(), ports: Vec::new(), _folder: folder };
        for _ in 0..number {
            let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
            let child = Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "redis-server", "--bind", "127.0.0.1", "--save", ""])
                .args(["--maxclients", "20000", "--port", &port.to_string(), "--dir"])
                .arg(servers._folder.path())
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server");
            servers.children.push(child);
            servers.ports.push(port);
        }
        std::thread::sleep(ttl + ttl / 50 + Duration::from_secs(2));
        servers
    }

    /// The URLs of the first so many.
    pub fn urls(&self, number: usize) -> String {
        self.ports[..number].iter().map(|p| format!("redis://127.0.0.1:{p}")).collect::<Vec<_>>().join(",")
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
