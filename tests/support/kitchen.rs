//! A folder in which recipes of the documents run as they stand: the machines and files that they name are this machine's.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use tempfile::TempDir;

use super::{Servers, heed_signals, quoted};

/// The files that recipes name. They are below the folder, in which they run, instead.
const FILES: [&str; 4] = ["/etc/leaderrun", "/opt/nightly.sh", "/run/lock/nightly", "/app/consumer"];

pub struct Kitchen {
    folder: TempDir,
    ttl: Duration,
    /// The addresses of redis-1, redis-2 and so on.
    nodes: Vec<String>,
}

impl Kitchen {
    pub fn new(servers: &Servers, ttl: Duration) -> Self {
        heed_signals();
        let folder =
            tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().expect("a folder");
        let nodes = servers.0.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        let kitchen = Kitchen { folder, ttl, nodes };
        for name in
            ["job.sh", "part.sh", "migrate.sh", "work", "opt/nightly.sh", "app/consumer", "bin/a", "bin/b", "tests/run"]
        {
            kitchen.put(name, "#!/bin/sh\necho \"${0##*/}\" \"$@\"\n");
        }
        for folder in ["etc", "run/lock"] {
            fs::create_dir_all(kitchen.path(folder)).expect("a folder");
        }
        kitchen.put("bin/leaderrun", &format!("#!/bin/sh\nexec {} \"$@\"\n", quoted(env!("CARGO_BIN_EXE_leaderrun"))));
        kitchen
            .put("bin/cargo", "#!/bin/sh\n[ \"$1 $2 $3\" = 'run --release --' ] && shift 3 && exec leaderrun \"$@\"\n");
        kitchen.put("bin/redis-cli", "#!/bin/sh\nPATH=${PATH#*:}; exec redis-cli -p $NODE \"$@\"\n");
        kitchen
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a program, in a separate process. If the test itself wrote it, a child that another test has just forked might
    /// still have it open, and it could not be run (ETXTBSY).
    pub fn put(&self, name: &str, text: &str) {
        let write = "mkdir -p \"${1%/*}\" && printf %s \"$2\" >\"$1\" && chmod 700 \"$1\"";
        let written = Command::new("sh").args(["-c", write, "sh"]).arg(self.path(name)).arg(text).status();
        assert!(written.expect("sh").success(), "{name}");
    }

    /// Returns a shell's command for a recipe.
    pub fn command(&self, recipe: &str) -> Command {
        let mut recipe = recipe.to_owned();
        for file in FILES {
            recipe = recipe.replace(file, &file[1..]);
        }
        for (number, node) in (1..).zip(&self.nodes) {
            recipe = recipe.replace(&format!("redis-{number}"), node);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &recipe]).current_dir(self.folder.path());
        shell.env("PATH", format!("{}:{path}", self.path("bin").display()));
        shell.env("XDG_RUNTIME_DIR", self.folder.path()).env("LEADERRUN_TTL", format!("{}ms", self.ttl.as_millis()));
        shell
    }

    /// Runs a recipe with these variables. Returns its status and what it printed.
    pub fn run(&self, recipe: &str, variables: &[(&str, &str)]) -> (i32, String) {
        let run = self.command(recipe).envs(variables.iter().copied()).output().expect("bash");
        let Output { status, stdout, stderr } = run;
        let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        (status.code().expect("a status"), said)
    }
}
