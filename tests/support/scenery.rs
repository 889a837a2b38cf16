//! Grows a tree of processes under a leader, ends the leadership in one way or another, and has the next leader check
//! whether any process of the tree is alive.

use std::{
    ffi::OsString,
    os::unix::fs::PermissionsExt,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::geteuid};
use tempfile::TempDir;

use super::{Leaderrun, Running, Servers, Tree, children, eventually, example, leaderrun::copy, signal, unique};

pub const TTL: Duration = Duration::from_secs(1);
/// A ttl long enough to keep the lease on a busy host.
pub const LONG_TTL: Duration = Duration::from_secs(3);

/// How leadership ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    ElectorKilled,
    ElectorStopped,
    GuardKilled,
    GuardStopped,
    LeaseLost,
    MainEnded,
    TermFromOutside,
    BothKilled,
}

/// Tries the ends that have nothing in common, each even if another fails.
pub fn each_end(play: impl Fn(End)) {
    let failed = failing_ends(play);
    assert!(failed.is_empty(), "failed, see above: {failed:?}");
}

pub fn failing_ends(play: impl Fn(End)) -> Vec<End> {
    let ends = [End::LeaseLost, End::ElectorKilled, End::GuardKilled, End::MainEnded];
    let fails = |end: &End| std::panic::catch_unwind(AssertUnwindSafe(|| play(*end))).is_err();
    ends.into_iter().filter(fails).collect()
}

/// A kind of tree.
pub struct Shape {
    pub command: Vec<String>,
    /// The number of processes in the full-grown tree.
    pub size: usize,
}

impl Shape {
    pub fn shell(line: &str, size: usize) -> Self {
        Shape { command: ["sh", "-c", line].map(Into::into).to_vec(), size }
    }

    pub fn plain() -> Self {
        Shape { command: ["sleep", "1000"].map(Into::into).to_vec(), size: 1 }
    }

    pub fn double_fork() -> Self {
        Self::shell("setsid sh -c 'sleep 1000 & sleep 1000 &'; sleep 1000", 4)
    }

    pub fn sprout(shape: &str, size: usize) -> Self {
        Shape { command: vec![program("sprout"), shape.into()], size }
    }
}

/// Returns an example's path as a word of a command line.
pub fn program(name: &str) -> String {
    example(name).into_os_string().into_string().expect("a path in UTF-8")
}

/// A leader and the tree of its command.
pub struct Leading {
    // The order matters: what a failed test leaves of the tree is killed after its leader.
    pub leader: Running,
    pub tree: Tree,
    pub resource: String,
}

impl Leading {
    /// Waits until the tree has this many processes that count. Checks that nobody prints anything until then.
    pub fn grows_to(&self, size: usize, counts: impl Fn(i32) -> bool) {
        eventually("a grown tree", || {
            assert_eq!(self.leader.stderr(), "");
            (self.tree.alive().into_iter().filter(|&pid| counts(pid)).count() >= size).then_some(())
        });
    }
}

/// What is done to a leader.
type Hardship = Box<dyn Fn(&Leading)>;

pub struct Stage {
    pub servers: Servers,
    urls: String,
    ttl: Duration,
    options: Vec<String>,
    runtime: TempDir,
    /// The words through which the leader is started.
    confined_by: Vec<String>,
    /// The words through which its command is started.
    probed_by: Vec<String>,
    /// What is done to the leader before its leadership ends.
    hardship: Option<Hardship>,
    spare_user: bool,
}

impl Stage {
    pub fn new() -> Self {
        Self::with_ttl(TTL)
    }

    pub fn with_ttl(ttl: Duration) -> Self {
        let runtime = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(runtime.path(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let servers = Servers::settled(1, ttl);
        Stage {
            urls: servers.urls(),
            servers,
            ttl,
            options: Vec::new(),
            runtime,
            confined_by: Vec::new(),
            probed_by: Vec::new(),
            hardship: None,
            spare_user: false,
        }
    }

    /// Adds options for all instances.
    pub fn with(mut self, options: &[&str]) -> Self {
        self.options = options.iter().map(ToString::to_string).collect();
        self
    }

    /// Starts the leader through these words, but not the next one.
    pub fn confined_by(mut self, words: &[&str]) -> Self {
        self.confined_by = words.iter().map(ToString::to_string).collect();
        self
    }

    /// Starts the command through these words.
    pub fn probed_by(mut self, words: &[&str]) -> Self {
        self.probed_by = words.iter().map(ToString::to_string).collect();
        self
    }

    /// Does something to the leader once the tree is grown.
    pub fn hardship(mut self, hardship: impl Fn(&Leading) + 'static) -> Self {
        self.hardship = Some(Box::new(hardship));
        self
    }

    /// Runs the leader as a user without other processes if the tests run as root, whom some limits don't bind.
    pub fn led_by_spare_user(mut self) -> Self {
        self.spare_user = geteuid().is_root();
        self
    }

    /// Returns the words that start a program as the leader's user.
    pub fn as_user(&self) -> Vec<String> {
        let user = (300_000 + std::process::id() % 100_000).to_string();
        let words = ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"];
        if self.spare_user { words.map(Into::into).to_vec() } else { Vec::new() }
    }

    /// Gives the server a name, to be looked up in /etc/hosts.
    pub fn by_name(mut self) -> Self {
        self.urls = self.urls.replace("127.0.0.1", "localhost");
        self
    }

    /// Copies a program to where every user can run it.
    pub fn for_all_users(&self, name: &str) -> String {
        let path = self.runtime.path().join(name);
        copy(&example(name), &path);
        path.into_os_string().into_string().expect("a path in UTF-8")
    }

    pub fn run(&self, resource: &str) -> Leaderrun {
        let ttl = format!("{}ms", self.ttl.as_millis());
        let leaderrun = Leaderrun::new().args(["--redis", &self.urls, "--resource", resource, "--ttl", &ttl]);
        leaderrun.env("XDG_RUNTIME_DIR", self.runtime.path()).args(&self.options)
    }

    /// Does the same, confined.
    pub fn run_confined(&self, resource: &str) -> Leaderrun {
        let leaderrun = self.run(resource);
        let mut words: Vec<OsString> = self.confined_by.iter().map(Into::into).collect();
        words.extend(self.as_user().iter().map(Into::into));
        if self.spare_user {
            words.push(leaderrun.copy_for_all_users().into());
        } else {
            words.push(leaderrun.command.get_program().to_owned());
        }
        leaderrun.through(words)
    }

    /// Grows a tree, ends its leadership, and has the next leader check whether any process is alive. Returns how long
    /// the change took.
    pub fn play(&self, shape: &Shape, end: End) -> Duration {
        let leading = self.lead(shape);
        leading.grows_to(shape.size, |_| true);
        self.end(leading, shape, end)
    }

    /// Starts a leader whose command grows a tree.
    pub fn lead(&self, shape: &Shape) -> Leading {
        let resource = unique("tree");
        let mark = format!("TREE={resource}");
        let tree = Tree(mark.clone());
        let command = ["--".to_owned(), "env".to_owned(), mark];
        let command = command.iter().chain(&self.probed_by).chain(&shape.command);
        let leader = self.run_confined(&resource).args(command).spawn();
        Leading { leader, tree, resource }
    }

    /// Plays the second half of [`Stage::play`].
    pub fn end(&self, leading: Leading, shape: &Shape, end: End) -> Duration {
        let Leading { leader, tree, resource } = &leading;
        let (elector, guard) = (leader.pid(), leader.guard());
        let main = eventually("the command", || children(guard).first().copied());
        let standby = self.run(resource).args(["-v", "--", &program("sprout"), "alive", &tree.0]).spawn();
        standby.reports("stands by");
        if shape.command.last().is_some_and(|s| s == "forker") {
            signal(main, Signal::SIGUSR1);
        }
        self.be_hard_on(&leading);
        let began = Instant::now();
        match end {
            End::ElectorKilled => signal(elector, Signal::SIGKILL),
            End::ElectorStopped => signal(elector, Signal::SIGSTOP),
            End::GuardKilled => signal(guard, Signal::SIGKILL),
            End::GuardStopped => {
                signal(guard, Signal::SIGSTOP);
                self.take_lock(resource);
            }
            End::LeaseLost => self.take_lock(resource),
            End::MainEnded => signal(main, Signal::SIGKILL),
            End::TermFromOutside => {
                signal(elector, Signal::SIGTERM);
                // A command that ignores it continues, and so does leaderrun.
                std::thread::sleep(Duration::from_millis(20));
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(elector), Signal::SIGKILL);
            }
            End::BothKilled => {
                signal(elector, Signal::SIGSTOP);
                signal(guard, Signal::SIGSTOP);
                signal(guard, Signal::SIGKILL);
                signal(elector, Signal::SIGKILL);
            }
        }
        standby.reports("started");
        let took = began.elapsed();
        let output = standby.wait();
        let alive = output.stdout.split_whitespace().count();
        assert_eq!((output.code(), alive), (0, 0), "alive under the next leader ({end:?}): {}", leader.stderr());
        tree.is_gone();
        check_leader(leading.leader, end);
        took
    }

    /// Does to the leader what the stage holds for it.
    pub fn be_hard_on(&self, leading: &Leading) {
        if let Some(hardship) = &self.hardship {
            hardship(leading);
        }
    }

    /// Gives the lock to another holder, for longer than the lease that is lost.
    fn take_lock(&self, resource: &str) {
        let lasting = (self.ttl * 3 / 2).as_millis().to_string();
        self.servers.0[0].query::<()>(&["SET", &format!("leaderrun:{resource}"), "another", "PX", &lasting]);
    }
}

/// Checks the leader's messages and status.
fn check_leader(leader: Running, end: End) {
    let (status, message) = match end {
        End::ElectorKilled => (137, "main process died; its guard killed"),
        End::GuardKilled => (125, "guard died; killing"),
        End::ElectorStopped => {
            leader.signal(Signal::SIGCONT);
            (76, "leaderrun did not run for")
        }
        End::GuardStopped | End::LeaseLost => (76, "lost the lease: 0 of 1 node extended it"),
        _ => return,
    };
    leader.reports(message);
    let output = leader.wait();
    assert_eq!(output.code(), status, "{end:?}: {}", output.stderr);
}
