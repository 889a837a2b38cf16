//! On a terminal, each signal reaches whom it would have reached without us, once.

use std::{process::Command, time::Duration};

use crate::support::{
    Leaderrun, Servers, Terminal, Tree, UP, children, eventually, leaderrun_of, local, namespaces, quoted, run, signal,
    state, unique,
};
use nix::sys::signal::Signal;

/// bash execs its only command, which so leads the session, as under `ssh -t` or in a pane of tmux.
#[test]
fn a_closed_terminal_ends_a_command_whose_session_leaderrun_leads() {
    for option in namespaces() {
        let resource = unique("hang-up");
        let tree = Tree::of(&resource);
        let line = format!("leaderrun {option} --local -r {resource} -- sh -c 'sleep 1000 & sleep 1000'");
        let mut terminal = Terminal::with(&["bash", "-c", &line]);
        tree.grows_to(3);
        terminal.close();
        tree.is_gone();
        terminal.wait();
        assert_eq!(Leaderrun::new().args(["--local", "-r", &resource, "-w", "30s", "true"]).output().code(), 0);
    }
}

#[test]
fn a_closed_terminal_ends_a_shells_job() {
    let resource = unique("hang-up");
    let tree = Tree::of(&resource);
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("{} sh -c '{UP}; exec sleep 1000'", local(&resource)));
    terminal.shows("up");
    terminal.close();
    tree.is_gone();
}

/// What tells the signals that it gets. Not a shell: bash may put a trap off until the next signal if this one comes
/// while it leaves another.
const TELLS: &str = "\
import os, signal, sys, time
def tell(number, frame):
    os.write(1, b'got %s\\n' % signal.Signals(number).name[3:].encode())
    if number == signal.SIGHUP:
        sys.exit()
for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
    signal.signal(number, tell)
print('up', flush=True)
while True:
    time.sleep(0.01)
";

/// Starts a script in Python behind these words for leaderrun, in the foreground of a shell.
fn running(words: &str, text: &str) -> Terminal {
    started(words, text, "")
}

/// The same, in the background.
fn running_behind(words: &str, text: &str) -> Terminal {
    started(words, text, " &")
}

fn started(words: &str, text: &str, end: &str) -> Terminal {
    let script = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(script.path(), text).expect("a script");
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("leaderrun {words} python3 {}{end}", quoted(script.path())));
    terminal.shows("up");
    terminal
}

fn each_signal_arrives(words: &str) {
    let resource = unique("group");
    let tree = Tree::of(&resource);
    let mut terminal = running(&format!("--local -r {resource} {words}"), TELLS);
    let (elector, _) = leaderrun_of(&terminal);
    terminal.type_in("\x03");
    terminal.shows("got INT");
    signal(elector, Signal::SIGTERM);
    terminal.shows("got TERM");
    terminal.type_in("\x1a");
    terminal.shows("Stopped");
    terminal.shows("ready> ");
    let stopped = |pid: &i32| matches!(state(*pid), 'T' | 'Z');
    eventually("all to be stopped", || tree.alive().iter().all(stopped).then_some(()));
    terminal.run("fg");
    terminal.shows("leaderrun");
    signal(elector, Signal::SIGINT);
    terminal.shows("got INT");
    signal(elector, Signal::SIGHUP);
    terminal.shows("got HUP");
    tree.is_gone();
}

#[test]
fn a_command_in_a_group_of_its_own_gets_the_terminals_and_others_signals() {
    // timeout(1) makes a group of its own, whose signals it doesn't get from the terminal.
    each_signal_arrives("-- timeout 1000");
}

#[test]
fn a_command_in_a_pid_namespace_gets_the_terminals_and_others_signals() {
    if crate::support::may_make_namespaces() {
        each_signal_arrives("--pid-namespace --");
        each_signal_arrives("--pid-namespace -- timeout 1000");
    }
}

#[test]
fn a_lost_lease_asks_a_command_in_a_group_of_its_own_to_stop() {
    for option in namespaces() {
        let servers = Servers::settled(1, Duration::from_secs(1));
        let resource = unique("lost");
        let mut terminal =
            running(&format!("-R {} -t 1s -r {resource} {option} -- timeout 1000", servers.urls()), TELLS);
        servers.0[0].query::<()>(&["SET", &format!("leaderrun:{resource}"), "another", "PX", "1500"]);
        terminal.shows("got TERM");
        terminal.shows("ready> ");
    }
}

#[test]
fn a_signal_that_the_command_sends_to_its_group_arrives_once() {
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!(
        "{} sh -c 'n=0; trap \"n=\\$((n+1))\" USR1; trap \"echo n is \\$n\" USR2; kill -USR1 0; {UP}; while :; do sleep 0.01; done'",
        run()
    ));
    terminal.shows("up");
    let (elector, _) = leaderrun_of(&terminal);
    signal(elector, Signal::SIGUSR2);
    terminal.shows("n is 1");
    signal(elector, Signal::SIGUSR1);
    signal(elector, Signal::SIGUSR2);
    terminal.shows("n is 2");
    terminal.type_in("\x03");
    terminal.shows("ready> ");
}

#[test]
fn a_signal_that_the_command_sends_to_its_group_before_the_guard_has_left_that_arrives_once() {
    // strace(1) keeps the guard in the group for a while.
    let slow = "strace -qq -f -o /dev/null -e trace=setsid -e inject=setsid:delay_enter=300000";
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!(
        "{slow} {} sh -c 'n=0; trap \"n=\\$((n+1))\" TERM; kill -TERM 0; i=0; while [ $i -lt 100 ]; do sleep 0.01; i=$((i+1)); done; echo n is $n'",
        run()
    ));
    terminal.shows("n is 1");
    terminal.shows("ready> ");
}

/// The alarm of a process goes on when it execs.
#[test]
fn an_alarm_from_before_leaderrun_ends_the_command() {
    let mut terminal = Terminal::with_shell();
    let alarm = "import signal, os, sys; signal.alarm(1); os.execvp(sys.argv[1], sys.argv[1:])";
    terminal.run(&format!("python3 -c '{alarm}' {} sleep 1000", run()));
    terminal.shows("Alarm clock");
    terminal.shows("ready> ");
    terminal.run("echo status $?");
    terminal.shows("status 142");
}

/// As the kernel does: it tells the session's leader alone.
#[test]
fn a_hang_up_of_a_session_that_leaderrun_leads_reaches_the_command_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = |who: &str| folder.path().join(who);
    let tells = |who: &str| {
        format!("trap 'echo >{who}' HUP; trap 'echo >{who}.later' USR1; echo {who} u''p; while :; do sleep 0.01; done")
    };
    for who in ["main", "child"] {
        std::fs::write(told(&format!("{who}.sh")), tells(who)).expect("a script");
    }
    let resource = unique("hang-up");
    let tree = Tree::of(&resource);
    let line = format!("cd {}; exec {} bash -c 'bash child.sh & . ./main.sh'", quoted(folder.path()), local(&resource));
    let mut terminal = Terminal::with(&["bash", "-c", &line]);
    let elector = terminal.pid();
    terminal.shows("main up");
    eventually("the child", || terminal.screen().contains("child up").then_some(()));
    let main = children(children(elector)[0])[0];
    let child = eventually("the child", || {
        let bash = |pid: &i32| crate::support::name(*pid) == "bash";
        children(main).into_iter().find(bash)
    });
    terminal.close();
    eventually("the hang-up", || told("main").exists().then_some(()));
    // Pending signals arrive in the order of their numbers: a hang-up would be there first.
    signal(child, Signal::SIGUSR1);
    eventually("a later signal", || told("child.later").exists().then_some(()));
    assert!(!told("child").exists());
    signal(elector, Signal::SIGKILL);
    tree.is_gone();
}

/// Counts the signals that it gets, and prints how many on SIGUSR2.
const COUNTS: &str = "\
import os, signal
counted = {signal.SIGUSR1, signal.SIGRTMIN + 6}
signal.pthread_sigmask(signal.SIG_BLOCK, counted | {signal.SIGUSR2})
count = 0
print('up', flush=True)
while True:
    if signal.sigwaitinfo(counted | {signal.SIGUSR2}).si_signo == signal.SIGUSR2:
        print('count', count, flush=True)
    else:
        count += 1
";

/// Has children of its own send signals to its group, which are gone then, and counts those.
const SENDS: &str = "\
for sent in range(20):
    if os.fork() == 0:
        os.kill(0, signal.SIGUSR1)
        os._exit(0)
    os.wait()
    while signal.sigtimedwait(counted, 0.02):
        count += 1
";

#[test]
fn a_signal_to_the_group_of_a_sender_that_is_gone_arrives_once() {
    for option in namespaces() {
        let resource = unique("group");
        let tree = Tree::of(&resource);
        let sends_first = COUNTS.replace("print('up'", &format!("{SENDS}print('up'"));
        let mut terminal = running(&format!("{option} --local -r {resource} --"), &sends_first);
        let (elector, _) = leaderrun_of(&terminal);
        // Passed on after all that came before it.
        signal(elector, Signal::SIGUSR2);
        terminal.shows("count 20\r");
        signal(elector, Signal::SIGUSR1);
        signal(elector, Signal::SIGUSR2);
        terminal.shows("count 21\r");
        terminal.type_in("\x03");
        tree.is_gone();
    }
}

#[test]
fn a_signal_that_the_shell_sends_to_the_job_arrives_once() {
    for option in namespaces() {
        let resource = unique("group");
        let tree = Tree::of(&resource);
        let mut terminal = running_behind(&format!("{option} --local -r {resource}"), TELLS);
        let (elector, _) = leaderrun_of(&terminal);
        let from = terminal.screen().len();
        terminal.run("kill %1");
        terminal.shows("got TERM");
        signal(elector, Signal::SIGHUP);
        terminal.shows("got HUP");
        tree.is_gone();
        assert_eq!(terminal.screen()[from..].matches("got TERM").count(), 1);
    }
}

/// What takes note of signals to the group may be stopped with it, and holds nothing that its guard holds.
#[test]
fn what_listens_in_the_group_keeps_nothing_open_and_ends_with_its_guard() {
    for option in namespaces() {
        let resource = unique("group");
        let tree = Tree::of(&resource);
        let mut terminal = Terminal::with_shell();
        let line = "sh -c 'exec >&-; exec sleep 1000' | (cat; echo en''d of file)";
        terminal.run(&format!("leaderrun {option} --local -r {resource} -- {line}"));
        terminal.shows("end of file");
        let (_, guard) = leaderrun_of(&terminal);
        let listener = crate::support::bystander_of(guard);
        signal(listener, Signal::SIGSTOP);
        eventually("its stop", || (state(listener) == 'T').then_some(()));
        signal(guard, Signal::SIGKILL);
        tree.is_gone();
        eventually("its end", || (state(listener) == 'X').then_some(()));
        terminal.shows("ready> ");
        terminal.run("echo status ${PIPESTATUS[0]}");
        terminal.shows("status 125");
    }
}

/// As many as a process may have pending. The shell, which sends them, is not the command's group.
#[test]
fn many_signals_to_leaderrun_all_arrive() {
    for option in namespaces() {
        let resource = unique("many");
        let tree = Tree::of(&resource);
        let mut terminal = running(&format!("{option} --local -r {resource} --"), COUNTS);
        let (elector, _) = leaderrun_of(&terminal);
        let sends = format!("import os, signal\nfor sent in range(1000): os.kill({elector}, signal.SIGRTMIN + 6)");
        assert!(Command::new("python3").args(["-c", &sends]).status().expect("python3").success());
        // It is passed on before signals with larger numbers.
        eventually("all signals", || {
            signal(elector, Signal::SIGUSR2);
            terminal.shows("count ");
            terminal.screen().contains("count 1000\r").then_some(())
        });
        terminal.type_in("\x03");
        tree.is_gone();
    }
}

/// All processes of that name get it, one by one.
#[test]
fn a_signal_to_all_that_is_called_leaderrun_arrives_once() {
    for option in namespaces() {
        let resource = unique("name");
        let tree = Tree::of(&resource);
        let mut terminal = running(&format!("{option} --local -r {resource} --"), COUNTS);
        let (elector, guard) = leaderrun_of(&terminal);
        let all = [elector, guard, crate::support::bystander_of(guard)].map(|pid| pid.to_string());
        for round in 1..=20 {
            assert!(Command::new("kill").arg("-USR1").args(&all).status().expect("kill").success());
            signal(elector, Signal::SIGUSR2);
            terminal.shows(&format!("count {round}\r"));
        }
        terminal.type_in("\x03");
        tree.is_gone();
    }
}

/// Many children, which take time to be signalled one by one.
const CROWD: &str = "\
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for child in range(100):
    if os.fork() == 0:
        while True:
            signal.pause()
";

/// Each of the two passes on what it gets, but not what the job has got from the other one.
#[test]
fn a_signal_to_the_outer_of_two_leaderruns_arrives_once() {
    let (outer, inner) = (unique("outer"), unique("inner"));
    let tree = Tree::of(&inner);
    let mut terminal = running(
        &format!("--local -r {outer} -- {}", local(&inner)),
        &TELLS.replace("import os, signal, sys, time", CROWD),
    );
    let (elector, _) = leaderrun_of(&terminal);
    let from = terminal.screen().len();
    for _ in 0..10 {
        signal(elector, Signal::SIGTERM);
        terminal.shows("got TERM");
    }
    signal(elector, Signal::SIGHUP);
    terminal.shows("ready> ");
    tree.is_gone();
    assert_eq!(terminal.screen()[from..].matches("got TERM").count(), 10);
}

/// The shell may name the job or leaderrun, one after the other.
#[test]
fn signals_to_the_job_and_to_leaderrun_by_one_sender_both_arrive() {
    for option in namespaces() {
        let resource = unique("both");
        let tree = Tree::of(&resource);
        let mut terminal = running_behind(&format!("{option} --local -r {resource} --"), COUNTS);
        let mut counts = |line: &str, count: u32| {
            terminal.run(line);
            eventually("the signals", || {
                terminal.run("kill -USR2 $!");
                terminal.shows("count ");
                let screen = terminal.screen();
                screen.contains(&format!("count {count}\r")).then_some(())
            });
        };
        counts("kill -USR1 %1; sleep 0.2; kill -USR1 $!", 2);
        counts("kill -STOP $!; kill -USR1 %1; sleep 1.5; kill -CONT $!", 3);
        counts("export INVOCATION_ID=x; kill -USR1 %1", 4);
        terminal.run("kill -KILL %1");
        tree.is_gone();
    }
}
