//! A real terminal with a real shell, used the way a person would: by typing and reading.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use super::eventually;

pub struct Terminal {
    keyboard: File,
    seen: Arc<Mutex<String>>,
    /// How much of the output previous waits have consumed.
    read: usize,
    shell: Child,
    pub name: String,
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
        let pair = nix::pty::openpty(None, None).expect("a pseudo-terminal");
        let name = nix::unistd::ttyname(&pair.slave).expect("its name").display().to_string();
        let slave = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("a descriptor"));
        let shell = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .args(program)
            .env("TERM", "dumb")
            .env("LC_ALL", "C")
            .env_remove("NO_COLOR")
            .env("PATH", super::path())
            .stdin(slave(&pair.slave))
            .stdout(slave(&pair.slave))
            .stderr(slave(&pair.slave))
            .spawn()
            .expect("setsid");
        drop(pair.slave);
        let keyboard = File::from(pair.master);
        let seen = Arc::new(Mutex::new(String::new()));
        let (mut screen, written) = (keyboard.try_clone().expect("a descriptor"), seen.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut bytes) {
                written.lock().expect("the screen").push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        Terminal { keyboard, seen, read: 0, shell, name }
    }

    pub fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("a keyboard");
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

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
