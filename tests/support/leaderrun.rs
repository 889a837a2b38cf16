//! leaderrun itself, as a user would start it.

use std::{
    ffi::OsStr,
    fs::File,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{LONG, Servers, children, eventually, heed_signals, is_root, name, signal, unshare};

/// The certificate of an authority that has signed nothing.
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/authority.pem");

/// A leaderrun to be started.
pub struct Leaderrun {
    pub command: Command,
    folder: TempDir,
}

/// A running leaderrun, which ends with its test.
pub struct Running {
    child: Child,
    folder: TempDir,
}

/// What an ended leaderrun has left.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Copies a program so that every user can run it, in a separate process. If the test itself wrote the file, a child that
/// another test has just forked might still have it open, and it could not be run (ETXTBSY).
pub fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").args([from, to]).status().expect("cp").success(), "a copy of {}", from.display());
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}

impl Output {
    /// Returns the exit status as a shell's $?.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().expect("a code or a signal"))
    }
}

impl Leaderrun {
    pub fn new() -> Self {
        heed_signals();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_leaderrun"));
        // In place of the machine's authorities, which it may lack.
        command.env("SSL_CERT_FILE", AUTHORITY).stdin(Stdio::null());
        Leaderrun { command, folder }
    }

    /// Runs for a resource on these nodes.
    pub fn on(servers: &Servers, resource: &str, ttl: Duration) -> Self {
        let ttl = format!("{}ms", ttl.as_millis());
        Self::new().args(["--redis", &servers.urls(), "--resource", resource, "--ttl", &ttl])
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts leaderrun through other programs: their words, with the path of leaderrun as the last one.
    pub fn through(mut self, words: Vec<std::ffi::OsString>) -> Self {
        if let [first, rest @ ..] = words.as_slice() {
            let mut command = Command::new(first);
            command.args(rest).args(self.command.get_args()).stdin(Stdio::null());
            for (name, value) in self.command.get_envs() {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            self.command = command;
        }
        self
    }

    /// Starts it through a user namespace if an ordinary user runs it: root of the namespace may read all that /proc
    /// shows of a process that isn't dumpable.
    pub fn readable(self) -> Self {
        if is_root() {
            return self;
        }
        let program = self.command.get_program().to_owned();
        let words = unshare().iter().map(Into::into).chain([program]).collect();
        self.through(words)
    }

    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Copies the program to where every user can run it, wherever the project is.
    pub fn copy_for_all_users(&self) -> PathBuf {
        std::fs::set_permissions(self.folder.path(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let path = self.folder.path().join("leaderrun");
        copy(env!("CARGO_BIN_EXE_leaderrun").as_ref(), &path);
        path
    }

    /// Starts it with a shell line as its command.
    pub fn shell(self, line: &str) -> Running {
        self.args(["--", "sh", "-c", line]).spawn()
    }

    pub fn spawn(mut self) -> Running {
        let file = |name| File::create(self.folder.path().join(name)).expect("a file");
        self.command.stdout(file("stdout")).stderr(file("stderr"));
        let child = self.command.spawn().expect("leaderrun");
        Running { child, folder: self.folder }
    }

    /// Runs it to its end.
    pub fn output(self) -> Output {
        self.spawn().wait()
    }
}

impl Running {
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Returns the guard's process.
    pub fn guard(&self) -> i32 {
        let is_guard = |pid: &i32| name(*pid) == "leaderrun-guard";
        eventually("the guard", || children(self.pid()).into_iter().find(is_guard))
    }

    pub fn signal(&self, number: Signal) {
        signal(self.pid(), number);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.path("stdout")).expect("its output")
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.path("stderr")).expect("its messages")
    }

    /// Waits for a text on stdout.
    pub fn says(&mut self, text: &str) {
        eventually(&format!("{text:?} on stdout"), || {
            let said = self.stdout().contains(text);
            assert!(said || !self.has_ended(), "ended without {text:?}: {}", self.stderr());
            said.then_some(())
        });
    }

    /// Waits for a text on stderr.
    pub fn reports(&self, text: &str) {
        eventually(&format!("{text:?} on stderr"), || self.stderr().contains(text).then_some(()));
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_some()
    }

    pub fn wait(mut self) -> Output {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                break status;
            }
            assert!(began.elapsed() < LONG, "leaderrun still runs: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(2));
        };
        Output { status, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("leaderrun {} said: {}", self.pid(), self.stderr());
        }
        if !self.has_ended() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
