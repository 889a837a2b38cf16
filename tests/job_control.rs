//! A shell's job control works as without us: ^Z, fg, bg, and stops by whatever signal.

use std::time::Duration;

use crate::support::{
    Servers, Terminal, Tree, UP, children, eventually, leaderrun_of, local, namespaces, run, signal, state, unique,
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

#[test]
fn control_z_stops_and_fg_continues_a_command_that_reads_the_terminal() {
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("{} sh -c '{UP}; read x; echo go''t $x; exit 4'", run()));
    terminal.shows("up");
    let elector = children(terminal.pid())[0];
    for _ in 0..3 {
        terminal.type_in("\x1a");
        terminal.shows("Stopped");
        terminal.shows("ready> ");
        terminal.run("fg");
        // The shell ignores a ^Z that comes before it has given the terminal away.
        eventually("the elector to be continued", || (state(elector) != 'T').then_some(()));
    }
    terminal.type_in("a line\n");
    terminal.shows("got a line");
    terminal.run("echo status $?");
    terminal.shows("status 4");
}

/// What stops and continues all of a job within a moment leaves it running.
#[test]
fn a_job_that_is_stopped_and_continued_at_once_goes_on() {
    let resource = unique("moment");
    let tree = Tree::of(&resource);
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("{} sh -c '{UP}; exec sleep 1000'", local(&resource)));
    terminal.shows("up");
    let elector = children(terminal.pid())[0];
    let all = || [vec![elector], tree.alive()].concat();
    let goes_on = || all().iter().all(|&pid| state(pid) == 'S').then_some(());
    let group = |number| killpg(Pid::from_raw(elector), number).expect("a group");
    let command = *children(children(elector)[0]).first().expect("the command");
    for turn in 0..200 {
        if turn % 2 == 0 {
            group(Signal::SIGTSTP);
            group(Signal::SIGCONT);
        } else {
            signal(command, Signal::SIGSTOP);
            // Not to wait: the continuation is to come at each moment of leaderrun's own stop.
            std::thread::sleep(Duration::from_micros(10 * turn));
            signal(command, Signal::SIGCONT);
        }
        // The shell takes the terminal when it sees the stop.
        eventually("all to go on", goes_on);
    }
}

#[test]
fn bg_continues_it_in_the_background() {
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("{} bash -c '{UP}; while :; do sleep 0.01; echo tic''k; done'", run()));
    terminal.shows("tick");
    terminal.type_in("\x1a");
    terminal.shows("Stopped");
    terminal.shows("ready> ");
    terminal.run("echo qui''et");
    let quiet = terminal.shows("quiet");
    assert!(!quiet.contains("tick"), "{quiet}");
    terminal.run("bg");
    terminal.shows("tick");
    terminal.shows("tick");
    terminal.type_in("kill %1; wait %1; echo status $?\n");
    terminal.shows("status 143");
}

#[test]
fn started_in_the_background_it_is_stopped_when_it_reads_and_reads_after_fg() {
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("{} sh -c '{UP}; read x; echo go''t $x' &", run()));
    terminal.shows("up");
    crate::support::eventually("the shell's report", || {
        terminal.type_in("jobs\n");
        terminal.shows("ready> ").contains("Stopped").then_some(())
    });
    terminal.run("fg");
    terminal.type_in("a line\n");
    terminal.shows("got a line");
}

#[test]
fn started_in_the_background_it_runs_to_its_end() {
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("{} sh -c 'echo don''e; exit 3' & wait $!; echo status $?", run()));
    terminal.shows("done");
    terminal.shows("status 3");
}

#[test]
fn after_a_suspension_longer_than_the_lease_the_tree_is_dead_and_fg_says_why() {
    let servers = Servers::settled(3, Duration::from_secs(1));
    let resource = unique("suspended");
    let tree = Tree::of(&resource);
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("LEADERRUN_REDIS={}", servers.urls()));
    terminal.shows("ready> ");
    terminal.run("export LEADERRUN_REDIS");
    terminal.shows("ready> ");
    terminal.run(&format!("leaderrun -t 1s -r {resource} -- sh -c 'setsid sleep 100 & {UP}; wait'"));
    terminal.shows("up");
    tree.grows_to(2);
    terminal.type_in("\x1a");
    terminal.shows("Stopped");
    tree.is_gone();
    terminal.run("fg");
    terminal.shows("lost the lease: leaderrun did not run for ");
    terminal.shows("ready> ");
    terminal.run("echo status $?");
    terminal.shows("status 76");
}

#[test]
fn a_standby_is_suspended_and_continued_too() {
    let mut terminal = Terminal::with_shell();
    let resource = unique("standby");
    terminal.run(&format!("LEADERRUN_VERBOSE=1 {} sleep 100 &", local(&resource)));
    terminal.shows("started sleep");
    terminal.run(&format!("LEADERRUN_VERBOSE=1 {} echo le''d", local(&resource)));
    terminal.shows("stands by");
    terminal.type_in("\x1a");
    terminal.shows("Stopped");
    terminal.shows("ready> ");
    terminal.run("kill %1; wait %1; fg");
    terminal.shows("led");
}

#[test]
fn a_shell_that_suspends_itself_has_the_terminal_again_after_fg() {
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("{} bash --norc --noprofile --noediting -i", run()));
    terminal.type_in("PS1='inn''er> '\n");
    terminal.shows("inner> ");
    for _ in 0..2 {
        terminal.run("suspend");
        terminal.shows("Stopped");
        terminal.shows("ready> ");
        terminal.run("fg");
        terminal.type_in("echo al''ive\n");
        terminal.shows("alive");
    }
    terminal.type_in("exit 3\n");
    terminal.shows("ready> ");
    terminal.run("echo status $?");
    terminal.shows("status 3");
}

#[test]
fn control_z_is_ignored_where_no_shell_could_continue() {
    let as_pid_one: &[&str] = &["--pid", "--fork", "--mount-proc", "--kill-child"];
    let as_pid_one = [crate::support::unshare(), as_pid_one].concat();
    let first = if crate::support::may_make_namespaces() { vec![&[][..], &as_pid_one] } else { vec![&[][..]] };
    for (first, words) in first.iter().flat_map(|first| [(first, ""), (first, "timeout 1000")]) {
        let line = format!("{} {words} bash -c '{UP}; while :; do sleep 0.01; echo tic''k; done'", run());
        let mut terminal = Terminal::with(&[first, &["bash", "-c", line.as_str()][..]].concat());
        terminal.shows("up");
        terminal.type_in("\x1a");
        terminal.shows("^Z");
        for _ in 0..20 {
            terminal.shows("tick");
        }
        terminal.type_in("\x03");
        terminal.wait();
    }
}

#[test]
fn a_command_that_is_stopped_where_no_shell_could_continue_it_stays_stopped() {
    let resource = unique("stop");
    let tree = Tree::of(&resource);
    let line = format!("{} bash -c '{UP}; while :; do sleep 0.01; echo tic''k; done'", local(&resource));
    let mut terminal = Terminal::with(&["bash", "-c", &line]);
    terminal.shows("up");
    let (elector, guard) = (terminal.pid(), children(terminal.pid())[0]);
    let main = children(guard)[0];
    signal(main, Signal::SIGSTOP);
    eventually("its stop", || (state(main) == 'T').then_some(()));
    // The elector has handled the stop when it handles a later signal.
    signal(elector, Signal::SIGWINCH);
    eventually("the signal", || (state(elector) == 'S').then_some(()));
    assert_eq!(state(main), 'T');
    signal(main, Signal::SIGCONT);
    terminal.shows("tick");
    signal(elector, Signal::SIGTERM);
    tree.is_gone();
}

#[test]
fn a_command_that_others_stop_and_continue_goes_on_with_leaderrun() {
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("{} sleep 1000 &", run()));
    let (elector, guard) = leaderrun_of(&terminal);
    let main = eventually("the command", || children(guard).first().copied());
    for _ in 0..3 {
        signal(main, Signal::SIGSTOP);
        eventually("leaderrun's stop", || (state(elector) == 'T').then_some(()));
        terminal.run("jobs");
        terminal.shows("Stopped");
        signal(main, Signal::SIGCONT);
        eventually("leaderrun to go on", || (state(elector) == 'S').then_some(()));
        terminal.run("jobs");
        terminal.shows("Running");
    }
    terminal.run("kill %1; wait %1; echo status $?");
    terminal.shows("status 143");
}

#[test]
fn a_suspended_command_ends_with_its_shell() {
    for option in namespaces() {
        let resource = unique("orphan");
        let tree = Tree::of(&resource);
        let mut terminal = Terminal::with_shell();
        terminal.run(&format!("leaderrun {option} --local -r {resource} -- bash -c '{UP}; sleep 1000; true'"));
        terminal.shows("up");
        terminal.type_in("\x1a");
        terminal.shows("Stopped");
        terminal.shows("ready> ");
        signal(terminal.pid(), Signal::SIGKILL);
        tree.is_gone();
    }
}

#[test]
fn a_shell_sees_the_signal_that_stopped_the_command() {
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("{} bash -c 'kill -STOP $$; exit 6'", run()));
    terminal.shows("Stopped");
    terminal.shows("ready> ");
    terminal.run("echo status $?");
    terminal.shows("status 147");
    terminal.run("fg");
    terminal.shows("ready> ");
    terminal.run("echo status $?");
    terminal.shows("status 6");
}

/// Without us it would be the job's group: timeout(1) makes one of its own only where it leads none.
#[test]
fn a_command_in_a_group_of_its_own_is_stopped_and_continued_with_the_job() {
    for option in namespaces() {
        let resource = unique("apart");
        let tree = Tree::of(&resource);
        let mut terminal = Terminal::with_shell();
        let line = format!("leaderrun {option} --local -r {resource} -- timeout 1000 sh -c '{UP}; sleep 1000; true' &");
        terminal.run(&line);
        terminal.shows("up");
        tree.grows_to(3);
        let all_are = |wanted: char| {
            eventually(&format!("all to be {wanted}"), || {
                tree.alive().iter().all(|&pid| state(pid) == wanted).then_some(())
            })
        };
        for stop in ["kill -STOP %1", "kill -TSTP %1"] {
            terminal.run(stop);
            all_are('T');
            eventually("the shell's report", || {
                terminal.type_in("jobs\n");
                terminal.shows("ready> ").contains("Stopped").then_some(())
            });
            terminal.run("bg");
            all_are('S');
        }
        terminal.run("kill %1");
        tree.is_gone();
    }
}
