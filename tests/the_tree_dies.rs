//! Nothing that the command started outlives leadership: each kind of tree, and each way in which leadership ends.

mod support;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::{Leaderrun, Running, Servers, Tree, children, eventually, example, signal, unique};
use tempfile::TempDir;

const TTL: Duration = Duration::from_secs(1);

/// How leadership ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    ElectorKilled,
    ElectorStopped,
    GuardKilled,
    GuardStopped,
    LeaseLost,
    MainEnded,
    TermFromOutside,
    BothKilled,
}

const ENDS: [End; 7] = [
    End::ElectorKilled,
    End::ElectorStopped,
    End::GuardKilled,
    End::GuardStopped,
    End::LeaseLost,
    End::MainEnded,
    End::TermFromOutside,
];

/// A kind of tree.
struct Shape {
    command: Vec<String>,
    /// How many processes it has when it is grown.
    size: usize,
}

fn shell(line: &str, size: usize) -> Shape {
    Shape { command: ["sh", "-c", line].map(Into::into).to_vec(), size }
}

fn sprout(shape: &str, size: usize) -> Shape {
    Shape { command: vec![program("sprout"), shape.into()], size }
}

fn program(name: &str) -> String {
    example(name).into_os_string().into_string().expect("a path in UTF-8")
}

struct Stage {
    servers: Servers,
    more: Vec<&'static str>,
    runtime: TempDir,
}

impl Stage {
    fn new(more: &[&'static str]) -> Self {
        let runtime = tempfile::tempdir().expect("a folder");
        Stage { servers: Servers::settled(1, TTL), more: more.to_vec(), runtime }
    }

    fn run(&self, resource: &str) -> Leaderrun {
        Leaderrun::on(&self.servers, resource, TTL).env("XDG_RUNTIME_DIR", self.runtime.path()).args(&self.more)
    }

    /// Grows a tree, ends its leadership, and has the next leader look whether anything is alive.
    fn play(&self, shape: &Shape, end: End) {
        let resource = unique("tree");
        let mark = format!("TREE={resource}");
        let tree = Tree(mark.clone());
        let command = ["--", "env", &mark].map(String::from).into_iter().chain(shape.command.iter().cloned());
        let leader = self.run(&resource).args(command).spawn();
        tree.grows_to(shape.size);
        let (elector, guard) = (leader.pid(), leader.guard());
        let main = eventually("the command", || children(guard).first().copied());
        let standby = self.run(&resource).args(["-v", "--", &program("sprout"), "alive", &mark]).spawn();
        standby.reports("stands by");
        if shape.command.last().is_some_and(|s| s == "forker") {
            signal(main, Signal::SIGUSR1);
        }
        let began = Instant::now();
        match end {
            End::ElectorKilled => signal(elector, Signal::SIGKILL),
            End::ElectorStopped => signal(elector, Signal::SIGSTOP),
            End::GuardKilled => signal(guard, Signal::SIGKILL),
            End::GuardStopped => {
                signal(guard, Signal::SIGSTOP);
                self.take_lock(&resource);
            }
            End::LeaseLost => self.take_lock(&resource),
            End::MainEnded => signal(main, Signal::SIGKILL),
            End::TermFromOutside => {
                signal(elector, Signal::SIGTERM);
                // What ignores it goes on, and we with it.
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
        assert_eq!((output.code(), output.stdout.trim()), (0, ""), "alive under the next leader ({end:?})");
        tree.is_gone();
        if [End::ElectorKilled, End::GuardKilled].contains(&end) {
            assert!(took < TTL / 2, "no ttl has to pass after {end:?}: {took:?}");
        }
        check_leader(leader, end);
    }

    /// Another holder, for a moment.
    fn take_lock(&self, resource: &str) {
        self.servers.0[0].query::<()>(&["SET", &format!("leaderrun:{resource}"), "another", "PX", "1500"]);
    }
}

/// What the leader says, and its status.
fn check_leader(leader: Running, end: End) {
    let (status, message) = match end {
        End::ElectorKilled => (137, "main process died; its guard killed"),
        End::GuardKilled => (125, "guard died; killing"),
        End::ElectorStopped => {
            leader.signal(Signal::SIGCONT);
            (76, "leaderrun did not run for")
        }
        End::GuardStopped | End::LeaseLost => (76, "lost the lease: 0 of 1 nodes extended it"),
        _ => return,
    };
    leader.reports(message);
    let output = leader.wait();
    assert_eq!(output.code(), status, "{end:?}: {}", output.stderr);
}

fn dies(shape: &Shape) {
    let stage = Stage::new(&[]);
    for end in ENDS {
        stage.play(shape, end);
    }
}

fn dies_in_a_namespace(shape: &Shape) {
    if !support::may_make_namespaces() {
        return;
    }
    let stage = Stage::new(&["--pid-namespace"]);
    for end in ENDS.into_iter().chain([End::BothKilled]) {
        stage.play(shape, end);
    }
}

fn background_jobs() -> Shape {
    shell("sleep 1000 & sleep 1000 & wait", 3)
}

fn own_session() -> Shape {
    shell("setsid sleep 1000 & wait", 2)
}

fn double_fork() -> Shape {
    shell("setsid sh -c 'sleep 1000 & sleep 1000 &'; sleep 1000", 4)
}

fn nohup() -> Shape {
    shell("nohup sleep 1000 >/dev/null 2>&1 & wait", 2)
}

/// The two processes of the inner leaderrun are for root alone to see, since they are not dumpable.
fn nested() -> Shape {
    let leaderrun = env!("CARGO_BIN_EXE_leaderrun");
    let inner = unique("inner");
    let line = format!("'{leaderrun}' --local -r {inner} -- sh -c 'setsid sleep 1000 & wait' & wait");
    shell(&line, if support::is_root() { 5 } else { 3 })
}

fn other_user() -> Shape {
    shell("setpriv --reuid 65534 --clear-groups setsid sleep 1000 & wait", 2)
}

#[test]
fn a_shell_with_background_jobs() {
    dies(&background_jobs());
}

#[test]
fn a_session_of_its_own() {
    dies(&own_session());
}

#[test]
fn a_double_fork() {
    dies(&double_fork());
}

#[test]
fn nohup_in_the_background() {
    dies(&nohup());
}

#[test]
fn a_process_that_ignores_term_hup_and_int() {
    dies(&sprout("ignores", 2));
}

#[test]
fn stopped_processes() {
    dies(&sprout("stopped", 2));
}

#[test]
fn a_process_that_forks_while_it_is_killed() {
    dies(&sprout("forker", 1));
}

#[test]
fn a_subreaper() {
    dies(&sprout("subreaper", 2));
}

#[test]
fn a_nested_leaderrun() {
    dies(&nested());
}

#[test]
fn a_child_of_another_user() {
    if support::may_become_others() {
        dies(&other_user());
    }
}

#[test]
fn in_a_namespace_a_double_fork() {
    dies_in_a_namespace(&double_fork());
}

#[test]
fn in_a_namespace_a_process_that_ignores_term_hup_and_int() {
    dies_in_a_namespace(&sprout("ignores", 2));
}

#[test]
fn in_a_namespace_stopped_processes() {
    dies_in_a_namespace(&sprout("stopped", 2));
}

#[test]
fn in_a_namespace_a_subreaper() {
    dies_in_a_namespace(&sprout("subreaper", 2));
}

#[test]
fn in_a_namespace_a_nested_leaderrun() {
    dies_in_a_namespace(&nested());
}

#[test]
fn in_a_namespace_a_shell_with_background_jobs() {
    dies_in_a_namespace(&background_jobs());
}

#[test]
fn in_a_namespace_a_session_of_its_own() {
    dies_in_a_namespace(&own_session());
}

#[test]
fn in_a_namespace_nohup_in_the_background() {
    dies_in_a_namespace(&nohup());
}

#[test]
fn in_a_namespace_a_process_that_forks_while_it_is_killed() {
    dies_in_a_namespace(&sprout("forker", 1));
}

#[test]
fn in_a_namespace_a_child_of_another_user() {
    if support::may_become_others() {
        dies_in_a_namespace(&other_user());
    }
}

/// Without a namespace the command itself dies with its parent, and what it has detached may live on, as README says.
#[test]
fn both_killed_in_the_same_instant_takes_the_command_with_it() {
    let stage = Stage::new(&[]);
    let resource = unique("both");
    let mark = format!("TREE={resource}");
    let tree = Tree(mark.clone());
    let leader = stage.run(&resource).args(["--", "env", &mark, "sh", "-c", "setsid sleep 1000 & wait"]).spawn();
    tree.grows_to(2);
    let (elector, guard) = (leader.pid(), leader.guard());
    let main = children(guard)[0];
    signal(elector, Signal::SIGSTOP);
    signal(guard, Signal::SIGSTOP);
    signal(guard, Signal::SIGKILL);
    signal(elector, Signal::SIGKILL);
    eventually("the command's death", || (!tree.alive().contains(&main)).then_some(()));
    let left = tree.alive();
    assert_eq!(left.len(), 1, "what README says may live on");
    signal(left[0], Signal::SIGKILL);
}
