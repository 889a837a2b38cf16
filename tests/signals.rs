//! Every signal that can be caught: what leaderrun does with it as a standby, as a leader, and during shutdown.

use std::{
    io::{PipeWriter, Write},
    os::unix::process::CommandExt,
    time::Duration,
};

use crate::support::{Leaderrun, Running, Servers, Witnesses, children, eventually, example, state, unique};
use nix::{libc, sys::signal::Signal};

/// What happens to a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standby {
    Ends,
    Stops,
    GoesOn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leader {
    TellsGroup,
    TellsCommand,
    KeepsIt,
}

/// Returns all signals except SIGKILL, SIGSTOP and the two that the C library reserves.
fn table() -> Vec<(i32, Standby, Leader)> {
    let row = |signal: i32| {
        let standby = match signal {
            libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGWINCH => Standby::GoesOn,
            libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => Standby::Stops,
            _ => Standby::Ends,
        };
        let leader = match signal {
            libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGQUIT => Leader::TellsGroup,
            libc::SIGCHLD => Leader::KeepsIt,
            _ => Leader::TellsCommand,
        };
        (signal, standby, leader)
    };
    let catchable = |signal: &i32| ![libc::SIGKILL, libc::SIGSTOP, 32, 33].contains(signal);
    (1..=64).filter(catchable).map(row).collect()
}

fn send(running: &Running, signal: i32) {
    // The shell's kill also knows real-time signals.
    let sent = std::process::Command::new("sh").args(["-c", &format!("kill -{signal} {}", running.pid())]).status();
    assert!(sent.expect("a shell").success(), "signal {signal}");
}

fn local(resource: &str) -> Leaderrun {
    Leaderrun::new().args(["--local", "--resource", resource])
}

#[test]
fn a_standby_takes_each_signals_default_action_and_starts_nothing() {
    let resource = unique("standby");
    let mut leader = local(&resource).shell("echo up; exec sleep 1000");
    leader.says("up");
    let start = || {
        let mut standby = local(&resource).args(["-v", "echo", "led"]);
        // Its stops need a parent in another process group, as a shell with job control is (setpgid(2), orphaned groups).
        standby.command.process_group(0);
        let standby = standby.spawn();
        standby.reports("stands by");
        standby
    };
    let mut lasting = start();
    for (signal, does, _) in table() {
        match does {
            Standby::Ends => {
                let standby = start();
                send(&standby, signal);
                let output = standby.wait();
                assert_eq!((output.code(), output.stdout.as_str()), (128 + signal, ""), "signal {signal}");
            }
            Standby::Stops => {
                send(&lasting, signal);
                eventually("it to stop", || (state(lasting.pid()) == 'T').then_some(()));
                send(&lasting, libc::SIGCONT);
                eventually("it to go on", || (state(lasting.pid()) == 'S').then_some(()));
            }
            Standby::GoesOn => {
                send(&lasting, signal);
                eventually("it to sleep", || (state(lasting.pid()) == 'S').then_some(()));
                assert!(!lasting.has_ended(), "signal {signal}");
            }
        }
    }
}

/// Starts a leader whose command and its child print the signals that they get.
fn telling() -> Running {
    let program = example("sprout").into_os_string();
    let mut leader = local(&unique("leader")).args([program, "tell".into()]).spawn();
    leader.says("main up");
    leader.says("child up");
    leader
}

fn check_leader(leader: &mut Running, table: &[(i32, Standby, Leader)]) {
    for &(signal, _, does) in table {
        let got = format!(" got {signal}.");
        let count = |leader: &Running, who: &str| leader.stdout().matches(&format!("{who}{got}")).count();
        let before = (count(leader, "main"), count(leader, "child"));
        send(leader, signal);
        // A later signal shows that this one has been handled.
        let after = count_of(leader, "main got 12.");
        if does != Leader::KeepsIt {
            eventually(&format!("signal {signal} in the command"), || (count(leader, "main") > before.0).then_some(()));
        }
        if does == Leader::TellsGroup {
            eventually(&format!("signal {signal} in its child"), || (count(leader, "child") > before.1).then_some(()));
        }
        send(leader, libc::SIGUSR2);
        eventually("the next signal", || (count_of(leader, "main got 12.") > after).then_some(()));
        let told = (count(leader, "main") - before.0, count(leader, "child") - before.1);
        let expected = match does {
            Leader::TellsGroup => (1, 1),
            Leader::TellsCommand => (1, 0),
            Leader::KeepsIt => (0, 0),
        };
        assert_eq!(told, expected, "signal {signal}");
    }
}

fn count_of(leader: &Running, text: &str) -> usize {
    leader.stdout().matches(text).count()
}

#[test]
fn a_leader_passes_on_every_signal_to_the_group_or_to_the_command_alone() {
    let mut leader = telling();
    // SIGSEGV ends the command, and SIGUSR2 shows that another signal has been handled.
    let table: Vec<_> = table().into_iter().filter(|row| ![libc::SIGSEGV, libc::SIGUSR2].contains(&row.0)).collect();
    check_leader(&mut leader, &table);
    // TERM was among them: leaderrun is shutting down and still passes signals on.
    check_leader(&mut leader, &table);
    assert!(!leader.has_ended());
    send(&leader, libc::SIGSEGV);
    assert_eq!(leader.wait().code(), 0);
}

/// A service manager: a process that starts leaderrun and sends signals, as told through a pipe.
struct Manager {
    orders: PipeWriter,
    leader: Running,
    elector: i32,
    guard: i32,
    command: i32,
}

impl Manager {
    /// Starts leaderrun as systemd does, with a command that tells its signals.
    fn start(options: &[&str]) -> Self {
        let (orders, read) = std::io::pipe().map(|(read, write)| (write, read)).expect("a pipe");
        let leaderrun = local(&unique("unit")).env("INVOCATION_ID", "x").args(options);
        let program = leaderrun.command.get_program().to_owned();
        // leaderrun ends with the shell, also if the test fails.
        let script = "setpriv --pdeathsig KILL \"$0\" \"$@\" & while read -r line; do kill $line; done; wait $!";
        let words = ["sh", "-c", script].map(Into::into).into_iter().chain([program]).collect();
        let tell = [example("sprout").into_os_string(), "tell".into()];
        let mut leader = leaderrun.through(words).stdin(read).args(tell).spawn();
        leader.says("main up");
        leader.says("child up");
        let only_child = |pid| eventually("a child", || children(pid).first().copied());
        let elector = only_child(leader.pid());
        let guard = only_child(elector);
        Manager { orders, leader, elector, guard, command: only_child(guard) }
    }

    fn sends(&mut self, signal: i32, to: &[i32]) {
        let to: Vec<String> = to.iter().map(ToString::to_string).collect();
        writeln!(self.orders, "-{signal} {}", to.join(" ")).expect("a shell");
    }

    /// Returns how often the command has got a signal, once that is certain: of those that are pending, the one with the
    /// highest number is taken last.
    fn arrived(&mut self, signal: i32) -> usize {
        let before = count_of(&self.leader, "main got 64.");
        self.sends(libc::SIGRTMAX(), &[self.elector]);
        eventually("a later signal", || (count_of(&self.leader, "main got 64.") > before).then_some(()));
        count_of(&self.leader, &format!("main got {signal}."))
    }
}

/// As with KillMode=control-group.
#[test]
fn a_signal_that_a_service_manager_sends_to_all_processes_reaches_the_command_once() {
    let namespaces: &[&str] = if crate::support::may_make_namespaces() { &["--pid-namespace"] } else { &[] };
    for options in [&[], namespaces] {
        let mut manager = Manager::start(options);
        let all = [manager.elector, manager.guard, manager.command];
        // Not SIGINT: a shell starts what runs in its background with that ignored.
        for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1] {
            manager.sends(signal, &all);
            assert_eq!(manager.arrived(signal), 1, "signal {signal} to all: {options:?}");
            manager.sends(signal, &all[..1]);
            assert_eq!(manager.arrived(signal), 2, "signal {signal} to leaderrun: {options:?}");
        }
        manager.sends(libc::SIGSEGV, &[manager.command]);
        // The manager ends with its orders.
        drop(manager.orders);
        assert_eq!(manager.leader.wait().code(), 0);
    }
}

/// As pkill(1) does: the command hasn't got it.
#[test]
fn a_signal_that_others_send_to_both_processes_is_passed_on() {
    let mut manager = Manager::start(&[]);
    let (elector, guard) = (manager.elector.to_string(), manager.guard.to_string());
    let killed = std::process::Command::new("/bin/kill").args(["-TERM", &elector, &guard]).status();
    assert!(killed.expect("kill").success());
    eventually("the signal", || (count_of(&manager.leader, "main got 15.") == 1).then_some(()));
    assert_eq!(manager.arrived(libc::SIGTERM), 1);
}

/// A command that joins the process group of those who started leaderrun.
#[test]
fn a_signal_for_the_command_reaches_nobody_else_in_a_group_that_it_has_joined() {
    let joins = "import os, signal, sys, time\nos.setpgid(0, int(os.environ['GROUP']))\n\
                 signal.signal(signal.SIGTERM, lambda *_: print('term', flush=True))\n\
                 signal.signal(signal.SIGUSR1, lambda *_: sys.exit())\nprint('up', flush=True)\nwhile True: time.sleep(1)";
    let script = "trap 'echo shell' TERM; export GROUP=$$; sleep 1000 & bystander=$!; \"$0\" \"$@\" & leader=$!\n\
                  while read -r line; do kill $line $leader; done; kill -0 $bystander && echo alive; kill $bystander; wait";
    let run = local(&unique("join"));
    let program = run.command.get_program().to_owned();
    let words = ["setsid", "bash", "-c", script].map(Into::into).into_iter().chain([program]).collect();
    let (read, mut orders) = std::io::pipe().expect("a pipe");
    let mut outer = run.through(words).stdin(read).args(["--", "python3", "-c", joins]).spawn();
    outer.says("up");
    writeln!(orders, "-TERM").expect("a shell");
    outer.says("term");
    writeln!(orders, "-USR1").expect("a shell");
    drop(orders);
    outer.says("alive");
    assert_eq!(outer.stdout().matches("term").count(), 1, "{}", outer.stdout());
    assert!(!outer.stdout().contains("shell"), "{}", outer.stdout());
    outer.wait();
}

#[test]
fn a_second_term_and_an_int_after_it_reach_the_command_too() {
    let trap =
        "n=0; trap 'n=$((n+1)); echo term $n' TERM; trap 'echo int; exit 6' INT; echo up; while :; do sleep 0.01; done";
    let mut leader = local(&unique("again")).shell(trap);
    leader.says("up");
    for signal in [Signal::SIGTERM, Signal::SIGTERM, Signal::SIGINT] {
        leader.signal(signal);
        let said = if signal == Signal::SIGTERM { "term" } else { "int" };
        let before = leader.stdout().lines().count();
        eventually(said, || (leader.stdout().lines().count() >= before || leader.has_ended()).then_some(()));
        if signal == Signal::SIGTERM {
            let count = leader.stdout().matches("term").count().max(1);
            leader.says(&format!("term {count}"));
        }
    }
    let output = leader.wait();
    assert_eq!(output.code(), 6);
    assert!(output.stdout.ends_with("int\n"), "{}", output.stdout);
}

#[test]
fn a_command_that_drains_for_longer_than_a_ttl_keeps_its_leadership() {
    let ttl = Duration::from_secs(1);
    let servers = Servers::settled(3, ttl);
    let resource = unique("drain");
    let witnesses = Witnesses::new();
    let leader = Leaderrun::on(&servers, &resource, ttl).args(witnesses.command(&["drain", "3000"])).spawn();
    witnesses.started(1);
    let standby = Leaderrun::on(&servers, &resource, ttl).args(witnesses.command(&["for", "1"])).spawn();
    leader.signal(Signal::SIGTERM);
    assert_eq!(leader.wait().code(), 0);
    assert_eq!(standby.wait().code(), 0);
    let all = witnesses.check();
    assert!(all[0].status.is_some(), "{all:?}");
}

#[test]
fn a_command_that_ends_on_term_during_shutdown_has_its_own_status() {
    let mut leader = local(&unique("status")).shell("trap 'exit 9' TERM; echo up; while :; do sleep 0.01; done");
    leader.says("up");
    leader.signal(Signal::SIGTERM);
    assert_eq!(leader.wait().code(), 9);
}
