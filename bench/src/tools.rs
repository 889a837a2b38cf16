//! The tools that run a command under a lock, each called as a user would call it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A tool and the place of its lock.
#[derive(Clone)]
pub enum Tool {
    Leaderrun {
        program: PathBuf,
        urls: String,
        ttl: &'static str,
    },
    /// What no lock on several servers can be faster than (see limit.c).
    Limit {
        program: PathBuf,
        ports: Vec<u16>,
    },
    Flock {
        folder: PathBuf,
    },
    Etcdctl {
        endpoints: String,
        ttl: &'static str,
    },
    /// Wraps the crate's `using` around a command (see rslock.rs).
    Rslock {
        urls: String,
        ttl: &'static str,
    },
}

impl Tool {
    pub fn name(&self) -> String {
        match self {
            Tool::Leaderrun { .. } => format!("leaderrun, {} nodes", self.nodes()),
            Tool::Limit { .. } => format!("the limit, {} nodes", self.nodes()),
            Tool::Flock { .. } => "`flock`".into(),
            Tool::Etcdctl { .. } => format!("`etcdctl lock`, {} nodes", self.nodes()),
            Tool::Rslock { .. } => format!("rslock `using`, {} nodes", self.nodes()),
        }
    }

    /// Returns the number of servers that the lock is on.
    pub fn nodes(&self) -> usize {
        match self {
            Tool::Leaderrun { urls, .. } | Tool::Rslock { urls, .. } => urls.split(',').count(),
            Tool::Limit { ports, .. } => ports.len(),
            Tool::Etcdctl { endpoints, .. } => endpoints.split(',').count(),
            Tool::Flock { .. } => 0,
        }
    }

    /// Returns a call of the tool that runs `command` once it has the lock.
    pub fn command(&self, resource: &str, command: &[String]) -> Command {
        let mut run;
        match self {
            Tool::Leaderrun { program, urls, ttl } => {
                run = Command::new(program);
                run.args(["-R", urls, "-r", resource, "--ttl", ttl, "--"]);
            }
            Tool::Limit { program, ports } => {
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                run = Command::new(program);
                run.args([&ports.join(","), resource]);
            }
            Tool::Flock { folder } => {
                run = Command::new("flock");
                run.arg(folder.join(resource));
            }
            Tool::Etcdctl { endpoints, ttl } => {
                run = Command::new("etcdctl");
                run.env("ETCDCTL_API", "3");
                run.args(["--endpoints", endpoints, "lock", "--ttl", ttl, resource]);
            }
            Tool::Rslock { urls, ttl } => {
                run = Command::new(ourselves());
                run.args(["rslock", urls, resource, ttl]);
            }
        }
        run.args(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        run
    }
}

/// Returns whether a program is in one of the folders of PATH.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

pub fn ourselves() -> PathBuf {
    std::env::current_exe().expect("our own path")
}

/// Returns a command that writes its start and, after `milliseconds`, its end (see events.rs).
pub fn child(log: &Path, milliseconds: u64) -> Vec<String> {
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    vec![text(&ourselves()), "child".into(), text(log), milliseconds.to_string()]
}
