//! Real redis-servers on free ports of the loopback, in temporary folders. Each ends with its test, however the test
//! ends.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use redis::{Client, Connection, RedisResult};
use tempfile::TempDir;

use super::{connection::Kept, eventually, ports::free_port, signal};

/// The prefix of lock keys.
const PREFIX: &str = "leaderrun:";

pub struct Server {
    pub port: u16,
    extra: Vec<String>,
    /// What to load into it for a clock of its own.
    preload: Option<String>,
    folder: TempDir,
    child: Option<Child>,
    kept: Kept,
}

impl Server {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with additional options.
    pub fn start_with(extra: &[&str]) -> Self {
        let extra = extra.iter().map(ToString::to_string).collect();
        Self::new(extra, None).on_a_free_port()
    }

    /// Starts a server whose clock can be set while it runs. Returns `None` where there is no libfaketime.
    pub fn with_clock() -> Option<Self> {
        let shown = Command::new("faketime").args(["-f", "+0s", "printenv", "LD_PRELOAD"]).output().ok()?;
        let library = String::from_utf8(shown.stdout).ok()?;
        // An allocator that asks for the time while libfaketime allocates would never end: malloc is that of the C library.
        let preload = Some(format!("{} libc.so.6", library.trim()));
        let server = Self::new(Vec::new(), preload);
        server.set_clock(0);
        Some(server.on_a_free_port())
    }

    fn new(extra: Vec<String>, preload: Option<String>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Server { port: 0, extra, preload, folder, child: None, kept: Kept::default() }
    }

    fn on_a_free_port(mut self) -> Self {
        for _ in 0..10 {
            self.port = free_port();
            if self.launch() {
                return self;
            }
        }
        panic!("no redis-server starts:\n{}", self.log());
    }

    /// Sets the server's clock, if it has its own: so many milliseconds ahead of the machine's.
    pub fn set_clock(&self, ahead: i64) {
        let [new, clock] = ["clock.new", "clock"].map(|name| self.folder.path().join(name));
        std::fs::write(&new, format!("{:+}", ahead as f64 / 1000.0)).expect("a clock");
        std::fs::rename(new, clock).expect("a clock");
    }

    pub fn has_clock(&self) -> bool {
        self.preload.is_some()
    }

    /// Starts the process. Returns false if it ends at once: something else may have the port of its cluster's bus.
    fn launch(&mut self) -> bool {
        let log = File::create(self.folder.path().join("log")).expect("a log");
        // The server dies with the test, even if the test is killed.
        let mut command = Command::new("setpriv");
        if let Some(preload) = &self.preload {
            let clock = self.folder.path().join("clock");
            command.env("LD_PRELOAD", preload).env("FAKETIME_TIMESTAMP_FILE", clock);
            command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let child = command
            .args(["--pdeathsig", "KILL"])
            .arg(std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into()))
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &self.port.to_string(), "--unixsocket", "socket", "--dir"])
            .arg(self.folder.path())
            .args(&self.extra)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("setpriv and redis-server (tests/run installs them)");
        self.child = Some(child);
        eventually("a redis-server's answer", || {
            if self.child.as_mut().is_none_or(|c| c.try_wait().expect("our child").is_some()) {
                return Some(false);
            }
            // Any reply counts: the server may require a password.
            Client::open(self.url()).expect("a URL").get_connection().map_or_else(
                |e| (!e.is_io_error()).then_some(true),
                |mut c| {
                    redis::cmd("PING")
                        .query::<String>(&mut c)
                        .map_or_else(|e| !e.is_io_error(), |_| true)
                        .then_some(true)
                },
            )
        })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("socket")
    }

    pub fn pid(&self) -> i32 {
        self.child.as_ref().expect("a running server").id() as i32
    }

    /// Opens a connection for the test.
    pub fn connect(&self) -> Connection {
        let client = Client::open(self.url()).expect("a URL");
        let connection = eventually("a connection", || client.get_connection().ok());
        connection.set_read_timeout(Some(super::LONG)).expect("a time-out");
        connection
    }

    pub fn query<T: redis::FromRedisValue>(&self, args: &[&str]) -> T {
        self.try_query(args).expect("an answer")
    }

    pub fn try_query<T: redis::FromRedisValue>(&self, args: &[&str]) -> RedisResult<T> {
        let mut cmd = redis::cmd(args[0]);
        cmd.arg(&args[1..]);
        self.kept.ask(&cmd, || Ok(self.connect()))
    }

    pub fn lock(&self, resource: &str) -> Option<String> {
        self.get(resource)
    }

    /// Waits until the resource's lock is extended.
    pub fn is_extended(&self, resource: &str) {
        let left = || self.query::<i64>(&["PTTL", &format!("{PREFIX}{resource}")]);
        let mut before = left();
        eventually("an extension", || {
            let now = left();
            (now > std::mem::replace(&mut before, now)).then_some(())
        });
    }

    /// Returns the value of one of the resource's keys.
    pub fn get(&self, name: &str) -> Option<String> {
        self.query(&["GET", &format!("{PREFIX}{name}")])
    }

    pub fn is_up(&self) -> bool {
        self.child.is_some()
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our child");
            child.wait().expect("our child");
        }
        self.kept.close();
    }

    /// Restarts it on the same port, empty unless the test made it save.
    pub fn start_again(&mut self) {
        self.kill();
        assert!(self.launch(), "the port is free: {}", self.log());
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn freeze(&self) {
        signal(self.pid(), Signal::SIGSTOP);
    }

    pub fn thaw(&self) {
        signal(self.pid(), Signal::SIGCONT);
    }

    /// Waits until the server is old enough to vote at this ttl.
    pub fn settle(&self, ttl: Duration) {
        let needed = ttl.as_secs_f64() * 1.01 + 1.002;
        eventually("a server to be old enough", || {
            let info: String = self.query(&["INFO", "server"]);
            let uptime = info.lines().find_map(|l| l.strip_prefix("uptime_in_seconds:")).expect("an uptime");
            (uptime.parse::<f64>().expect("a number") >= needed).then_some(())
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The nodes of a test.
pub struct Servers(pub Vec<Server>);

impl Servers {
    pub fn start(number: usize) -> Self {
        Servers((0..number).map(|_| Server::start()).collect())
    }

    /// Starts servers and waits until they are old enough to vote at this ttl.
    pub fn settled(number: usize, ttl: Duration) -> Self {
        let servers = Self::start(number);
        for server in &servers.0 {
            server.settle(ttl);
        }
        servers
    }

    pub fn urls(&self) -> String {
        self.0.iter().map(Server::url).collect::<Vec<_>>().join(",")
    }

    /// Returns how many nodes have a lock of this resource.
    pub fn locked(&self, resource: &str) -> usize {
        self.0.iter().filter(|s| s.lock(resource).is_some()).count()
    }

    /// Waits until this many standbys listen on every node.
    pub fn listened_to(&self, resource: &str, standbys: usize) {
        let channel = format!("{PREFIX}{resource}");
        eventually("the standbys to listen", || {
            let listen = |s: &Server| s.query::<(String, usize)>(&["PUBSUB", "NUMSUB", &channel]).1 == standbys;
            self.0.iter().all(listen).then_some(())
        });
    }

    /// Returns all keys on all nodes.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.0.iter().flat_map(|s| s.query::<Vec<String>>(&["KEYS", "*"])).collect();
        keys.sort();
        keys.dedup();
        keys
    }
}
