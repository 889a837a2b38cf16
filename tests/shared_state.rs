//! What the fencing token is for: leaders change a counter that outlives them, and are paused between reading and writing
//! it, with leaderrun as well, which no lock can prevent. No addition is lost if the store compares tokens at each access.
//!
//! PAUSES=N pauses that many leaders with each rule, in place of the few of the everyday tests, and prints what was lost.

use std::{
    fs,
    process::{Child, Command},
    time::Duration,
};

use crate::support::{
    Counters, Leaderrun, Running, Servers, children, eventually, eventually_within, name, state, unique,
};
use nix::{
    sys::signal::{
        Signal::{self, SIGCONT, SIGKILL, SIGSTOP, SIGTERM},
        kill,
    },
    unistd::Pid,
};

const TTL: Duration = Duration::from_secs(2);
const INSTANCES: usize = 3;

/// Each leader starts an interpreter first.
const LIMIT: Duration = Duration::from_secs(60);

/// The processes of an instance that leads.
struct Leader {
    elector: i32,
    guard: i32,
    command: i32,
}

/// Stops a command while it is outside of the store: inside, it has the store's lock, and everybody waits.
fn pause_outside(command: i32, counters: &Counters) {
    let lock = fs::File::open(counters.path("lock")).expect("the store's lock");
    eventually("a command outside of the store", || {
        send(command, SIGSTOP);
        eventually("a stopped command", || (state(command) != 'R' && state(command) != 'S').then_some(()));
        let is_outside = lock.try_lock().is_ok_and(|()| lock.unlock().is_ok());
        if !is_outside {
            send(command, SIGCONT);
        }
        is_outside.then_some(())
    });
}

/// The instances that compete for leading. One that has ended is replaced.
struct Instances<'a> {
    servers: &'a Servers,
    resource: String,
    command: [String; 5],
    running: Vec<Running>,
}

impl<'a> Instances<'a> {
    fn start(servers: &'a Servers, command: [String; 5]) -> Self {
        let mut instances = Instances { servers, resource: unique("shared"), command, running: Vec::new() };
        instances.running = (0..INSTANCES).map(|_| instances.another()).collect();
        instances
    }

    fn another(&self) -> Running {
        Leaderrun::on(self.servers, &self.resource, TTL).args(["--"]).args(&self.command).spawn()
    }

    fn keep_up(&mut self) {
        for index in 0..INSTANCES {
            if self.running[index].has_ended() {
                self.running[index] = self.another();
            }
        }
    }

    /// Waits until the command of another one than the paused one runs.
    fn leader(&mut self, paused: Option<i32>) -> Leader {
        eventually_within(LIMIT, "a leader", || {
            self.keep_up();
            let others = self.running.iter().map(Running::pid).filter(|&elector| Some(elector) != paused);
            others.into_iter().find_map(|elector| {
                let guard = children(elector).into_iter().find(|&child| name(child) == "leaderrun-guard")?;
                Some(Leader { elector, guard, command: *children(guard).first()? })
            })
        })
    }
}

/// Sends a signal. On a busy host a leader may have lost its lease meanwhile, and its processes may be gone.
fn send(process: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(process), signal);
}

/// Pauses as many leaders, and kills the elector or the guard of each one's successor. Returns how many additions were made,
/// and how many were lost in the file and in the server.
fn count(rule: &str, pauses: usize) -> (usize, [usize; 2]) {
    let (servers, counters) = (Servers::settled(3, TTL), Counters::new());
    let mut instances = Instances::start(&servers, counters.command(rule));
    let grows = |instances: &mut Instances| {
        let before = [counters.added("file"), counters.added("redis")];
        eventually_within(LIMIT, "more additions", || {
            instances.keep_up();
            (counters.added("file") > before[0] + 2 && counters.added("redis") > before[1] + 2).then_some(())
        });
    };
    for pause in 0..pauses {
        grows(&mut instances);
        let old = instances.leader(None);
        [old.elector, old.guard].into_iter().for_each(|process| send(process, SIGSTOP));
        pause_outside(old.command, &counters);
        let new = instances.leader(Some(old.elector));
        grows(&mut instances);
        // Its command goes on alone until it has written: nobody is there to kill it.
        send(old.command, SIGCONT);
        std::thread::sleep(Duration::from_millis(50));
        [old.guard, old.elector].into_iter().for_each(|process| send(process, SIGCONT));
        send(if pause % 2 == 0 { new.elector } else { new.guard }, SIGKILL);
    }
    grows(&mut instances);
    for instance in &mut instances.running {
        instance.signal(SIGTERM);
        eventually("its end", || instance.has_ended().then_some(()));
    }
    (counters.added("file") + counters.added("redis"), counters.lost())
}

fn pauses(few: usize) -> usize {
    std::env::var("PAUSES").map_or(few, |n| n.parse().expect("a number of pauses"))
}

/// Returns how many additions are lost in the file and in the server.
fn lost(rule: &str, pauses: usize) -> [usize; 2] {
    let (added, lost) = count(rule, pauses);
    println!("token compared: {rule:<8} {pauses} pauses, {added} additions, lost in the file and in Redis: {lost:?}");
    assert!(added > 10, "{added}");
    lost
}

#[test]
fn no_addition_is_lost_if_the_token_is_compared_at_each_access() {
    assert_eq!(lost("accesses", pauses(2)), [0, 0]);
}

/// A pause may also come between two additions, and then nothing is lost.
#[test]
fn additions_are_lost_if_the_token_is_never_compared() {
    assert!((0..10).any(|_| lost("never", pauses(1)) != [0, 0]));
}

/// The new leader has read, and not yet written: if it didn't show its token then, the store takes what the old one writes.
#[test]
fn the_token_at_each_write_is_not_enough_for_what_was_read_before() {
    for (rule, taken) in [("writes", 2), ("accesses", 1)] {
        let counters = Counters::new();
        let mut leaders: Vec<Child> = ["1", "2"]
            .map(|token| {
                let command = counters.command(rule);
                let gated = [("LEADERRUN_FENCING_TOKEN", token), ("GATED", "1")];
                let leader = Command::new(&command[0]).args(&command[1..]).envs(gated).spawn().expect("python3");
                eventually("its read", || counters.path(&format!("read-{token}")).exists().then_some(()));
                leader
            })
            .into();
        for (leader, token) in leaders.iter_mut().zip(["1", "2"]) {
            fs::write(counters.path(&format!("go-{token}")), "").expect("a file");
            assert!(leader.wait().expect("our child").success());
        }
        assert_eq!((counters.added("file"), counters.lost()), (taken, [taken - 1, 0]), "{rule}");
    }
}
