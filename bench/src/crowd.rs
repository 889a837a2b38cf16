//! Many instances of one tool, all after the same resource.

use std::{
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{
    events::{Run, runs},
    tools::{Tool, child},
};

pub struct Crowd {
    tool: Tool,
    resource: String,
    milliseconds: u64,
    folder: TempDir,
    members: Vec<Child>,
}

impl Crowd {
    /// Creates a crowd whose members each run a command for `milliseconds` when they lead.
    pub fn new(tool: &Tool, resource: &str, milliseconds: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("log"), "").expect("a log");
        Crowd { tool: tool.clone(), resource: resource.into(), milliseconds, folder, members: Vec::new() }
    }

    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub fn join(&mut self, number: usize) {
        for _ in 0..number {
            let command = child(&self.log(), self.milliseconds);
            self.members.push(self.tool.command(&self.resource, &command).spawn().expect("a member"));
        }
    }

    pub fn runs(&self) -> Vec<Run> {
        runs(&self.log())
    }

    /// Waits for `starts` starts. Replaces members that end meanwhile if `replace` is set.
    pub fn wait_for(&mut self, starts: usize, replace: bool) -> Vec<Run> {
        let began = Instant::now();
        loop {
            let runs = self.runs();
            if runs.len() >= starts {
                return runs;
            }
            if replace {
                let before = self.members.len();
                self.members.retain_mut(|m| m.try_wait().expect("our child").is_none());
                self.join(before - self.members.len());
            }
            assert!(began.elapsed() < Duration::from_secs(180), "{} of {starts} starts", runs.len());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the pid of the member whose command is running now.
    pub fn leader(&self) -> i32 {
        let descends = |pid: i32| descendants(pid).into_iter().any(is_child_command);
        self.members.iter().map(|m| m.id() as i32).find(|&pid| descends(pid)).expect("a leader")
    }

    /// Returns how many of the started commands are alive now.
    pub fn commands_alive(&self) -> usize {
        let log = self.log();
        let mine = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            is_child_command(*pid) && line.split(|&b| b == 0).any(|arg| arg == log.as_os_str().as_encoded_bytes())
        };
        let all = std::fs::read_dir("/proc").expect("/proc").flatten();
        all.filter_map(|e| e.file_name().to_str().and_then(|n| n.parse().ok())).filter(mine).count()
    }

    pub fn members(&self) -> Vec<i32> {
        self.members.iter().map(|m| m.id() as i32).collect()
    }
}

pub fn descendants(pid: i32) -> Vec<i32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<i32> =
        lists.flat_map(|l| l.split_whitespace().flat_map(str::parse).collect::<Vec<_>>()).collect();
    children.into_iter().flat_map(|c| [vec![c], descendants(c)].concat()).collect()
}

fn is_child_command(pid: i32) -> bool {
    let line = std::fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).unwrap_or_default();
    line.split(|&b| b == 0).nth(1) == Some(b"child")
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for member in &mut self.members {
            let pid = member.id() as i32;
            let all = [vec![pid], descendants(pid)].concat();
            for pid in all {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            let _ = member.wait();
        }
    }
}
