//! A real terminal with a real shell, used the way a person would: by typing and reading.

use std::{
    fs::File,
    io::{PipeWriter, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use nix::{
    fcntl::OFlag,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt},
};

use super::{children, eventually, unique};

/// Returns the beginning of a line that runs something under leaderrun on this machine.
pub fn local(resource: &str) -> String {
    format!("leaderrun --local -r {resource} --")
}

pub fn run() -> String {
    local(&unique("tty"))
}

pub const UP: &str = "echo u''p";

/// Returns the pids of leaderrun's two processes, which this terminal's shell has started.
pub fn leaderrun_of(terminal: &Terminal) -> (i32, i32) {
    let only_child = |pid| eventually("a child", || children(pid).first().copied());
    let elector = only_child(terminal.pid());
    (elector, only_child(elector))
}

pub fn namespaces() -> &'static [&'static str] {
    if super::may_make_namespaces() { &["", "--pid-namespace"] } else { &[""] }
}

pub struct Terminal {
    /// Keyboard and screen in one; `None` once the terminal is closed.
    device: Option<File>,
    /// Copies the screen to `seen`, until the pipe is closed.
    reader: Option<(PipeWriter, JoinHandle<()>)>,
    seen: Arc<Mutex<String>>,
    /// How much of the output previous waits have consumed.
    read: usize,
    shell: Child,
}

impl Terminal {
    /// Starts an interactive bash with job control.
    pub fn with_shell() -> Self {
        let mut terminal = Self::with(&["bash", "--norc", "--noprofile", "--noediting", "-i"]);
        // The prompt says that it is ready; the echo of this line doesn't contain the text in one piece.
        terminal.type_in("PS1='rea''dy> '\n");
        terminal.shows("ready> ");
        terminal
    }

    /// Starts a program that has this as its controlling terminal.
    pub fn with(program: &[&str]) -> Self {
        super::heed_signals();
        let (master, slave) = pseudo_terminal();
        let slave = || Stdio::from(slave.try_clone().expect("a descriptor"));
        let shell = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .args(program)
            .env("TERM", "dumb")
            .env("LC_ALL", "C")
            .env("PATH", super::path())
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .expect("setsid");
        let device = master;
        let seen = Arc::new(Mutex::new(String::new()));
        let (screen, written) = (device.try_clone().expect("a descriptor"), seen.clone());
        let (closed, close) = std::io::pipe().expect("a pipe");
        let reader = std::thread::spawn(move || copy(screen, closed.as_fd(), &written));
        Terminal { device: Some(device), reader: Some((close, reader)), seen, read: 0, shell }
    }

    pub fn type_in(&mut self, text: &str) {
        self.device.as_mut().expect("an open terminal").write_all(text.as_bytes()).expect("a keyboard");
    }

    /// Changes the size of its window, at once.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let device = self.device.as_ref().expect("an open terminal").as_raw_fd();
        // SAFETY: TIOCSWINSZ reads a winsize, which lives through the call.
        assert_eq!(unsafe { libc::ioctl(device, libc::TIOCSWINSZ, &raw const size) }, 0);
    }

    /// Closes it, as a window that is closed or a broken connection does: the kernel hangs it up.
    pub fn close(&mut self) {
        self.device = None;
        if let Some((close, reader)) = self.reader.take() {
            drop(close);
            reader.join().expect("the screen's reader");
        }
    }

    /// Returns the process id of the program that it was started with.
    pub fn pid(&self) -> i32 {
        self.shell.id() as i32
    }

    /// Types a line for the shell. Later waits see only what appears from then on.
    pub fn run(&mut self, line: &str) {
        self.type_in(&format!("{line}\n"));
        self.shows(line.split('\n').next().expect("a line"));
    }

    /// Waits until this appears on the screen, after the previous wait.
    pub fn shows(&mut self, text: &str) -> String {
        let (seen, from) = (self.seen.clone(), self.read);
        let began = std::time::Instant::now();
        let end = loop {
            let screen = seen.lock().expect("the screen").clone();
            if let Some(at) = screen[from..].find(text) {
                break from + at + text.len();
            }
            let last = screen[from..].chars().rev().take(500).collect::<Vec<_>>().into_iter().rev().collect::<String>();
            assert!(began.elapsed() < super::LONG, "timed out waiting for {text:?} after {last:?}");
            std::thread::sleep(std::time::Duration::from_millis(2));
        };
        self.read = end;
        seen.lock().expect("the screen")[from..end].to_owned()
    }

    /// Returns everything shown so far.
    pub fn screen(&self) -> String {
        self.seen.lock().expect("the screen").clone()
    }

    pub fn wait(&mut self) {
        let shell = &mut self.shell;
        eventually("the end of the terminal's program", || shell.try_wait().expect("our child"));
    }
}

/// Returns both ends of a new pseudo-terminal. No program that another test starts may inherit an end: the
/// terminal would stay open.
fn pseudo_terminal() -> (File, File) {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).expect("a pseudo-terminal");
    grantpt(&master).expect("its rights");
    unlockpt(&master).expect("its other end");
    let name = ptsname_r(&master).expect("its name");
    let slave = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(&name).expect("its other end");
    (File::from(OwnedFd::from(master)), slave)
}

/// Copies what appears on the screen, until `closed` can be read.
fn copy(mut screen: File, closed: impl AsFd, seen: &Mutex<String>) {
    let mut bytes = [0; 4096];
    loop {
        let mut ready = [screen.as_fd(), closed.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        poll(&mut ready, PollTimeout::NONE).expect("poll");
        if ready[1].any().unwrap_or(true) {
            return;
        }
        let Ok(length @ 1..) = screen.read(&mut bytes) else { return };
        seen.lock().expect("the screen").push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
