//! On a terminal everything works as without us: ^C, ^\, reading, raw mode, the window's size.

use std::time::Duration;

use crate::support::{
    Leaderrun, Terminal, Tree, UP, children, eventually, leaderrun_of, local, may_make_namespaces, name, run, signal,
    signal_set, state, unique, unshare,
};
use nix::sys::signal::Signal;

#[test]
fn control_c_reaches_the_command_once_and_its_status_the_shell() {
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("{} sh -c 'trap \"echo in\"\"t; exit 5\" INT; {UP}; while :; do sleep 0.01; done'", run()));
    terminal.shows("up");
    terminal.type_in("\x03");
    let shown = terminal.shows("ready> ");
    assert_eq!(shown.matches("int").count(), 1, "{shown}");
    terminal.run("echo status $?");
    terminal.shows("status 5");
}

#[test]
fn control_c_breaks_off_the_shells_loop() {
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("for i in 1 2 3; do {} sh -c '{UP}; exec sleep 100'; echo ne''xt; done", run()));
    terminal.shows("up");
    terminal.type_in("\x03");
    let shown = terminal.shows("ready> ");
    assert!(!shown.contains("next"), "{shown}");
    terminal.run("echo status $?");
    terminal.shows("status 130");
}

#[test]
fn control_backslash_quits_the_command() {
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("{} sh -c '{UP}; ulimit -c 0; exec sleep 100'", run()));
    terminal.shows("up");
    terminal.type_in("\x1c");
    terminal.shows("ready> ");
    terminal.run("echo status $?");
    terminal.shows("status 131");
}

#[test]
fn control_c_before_there_is_a_guard_ends_it() {
    // strace(1) keeps the elector in the call by which it prepares for the guard.
    let slow = "strace -f -o /dev/null -e trace=prctl -e inject=prctl:delay_enter=600000:when=1";
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("{slow} {} sh -c '{UP}; exec sleep 1000'", run()));
    let shell = terminal.pid();
    let strace = eventually("strace", || children(shell).first().copied().filter(|&pid| name(pid) == "strace"));
    let blocks = |pid: i32| signal_set(pid, "SigBlk").is_some_and(|set| set != 0);
    let elector = || children(strace).into_iter().find(|pid| name(*pid) == "leaderrun" && blocks(*pid));
    eventually("leaderrun", elector);
    terminal.type_in("\x03");
    terminal.shows("ready> ");
    terminal.run("echo status $?");
    terminal.shows("status 130");
}

#[test]
fn in_a_pipeline_a_pager_can_read_the_terminal() {
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("{} echo hel''lo | sh -c 'read a; read b </dev/tty; echo \"$a an''d $b\"'", run()));
    std::thread::sleep(Duration::from_millis(20));
    terminal.type_in("me\n");
    terminal.shows("hello and me");
}

#[test]
fn raw_mode_of_a_killed_command_is_reset() {
    for kill in ["kill -9 $$", "kill -9 $(ps -o ppid= $PPID)", "kill -9 $PPID; sleep 100"] {
        let line = format!("{} sh -c '{UP}; stty raw -echo; {kill}'; sleep 0.2; stty -a; echo don''e", run());
        let mut terminal = Terminal::with(&["sh", "-c", &line]);
        terminal.shows("up");
        let shown = terminal.shows("done");
        assert!(shown.contains(" icanon") && shown.contains(" echo "), "{kill}: {shown}");
        terminal.wait();
    }
}

/// The kernel leaves the terminal to the process group of the command's own, which has ended.
#[test]
fn raw_mode_of_a_killed_command_that_had_the_terminal_for_itself_is_reset() {
    let job = "set -m; sh -c \"stty raw -echo; exec sleep 1000\"; true";
    let limits = "LEADERRUN_MAX_RUN=500ms LEADERRUN_KILL_AFTER=100ms";
    let line = format!("{limits} {} bash -c '{job}'; echo status $?; stty -a; echo don''e", run());
    let mut terminal = Terminal::with(&["sh", "-c", &line]);
    let shown = terminal.shows("done");
    assert!(shown.contains("status 124") && shown.contains(" icanon") && shown.contains(" echo "), "{shown}");
    terminal.wait();
}

#[test]
fn raw_mode_that_a_command_leaves_on_purpose_stays() {
    let line = format!("{} stty -echo; stty -a; echo don''e", run());
    let mut terminal = Terminal::with(&["sh", "-c", &line]);
    assert!(terminal.shows("done").contains(" -echo "));
}

#[test]
fn a_change_of_window_size_reaches_the_command_once() {
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!(
        "{} bash -c 'trap \"echo siz\"\"e \\$(stty size)\" WINCH; {UP}; while :; do sleep 0.01; done'",
        run()
    ));
    terminal.shows("up");
    terminal.resize(33, 77);
    terminal.shows("size 33 77");
    terminal.type_in("\x03");
    let shown = terminal.shows("ready> ");
    assert!(!shown.contains("size"), "{shown}");
}

#[test]
fn control_c_between_the_election_and_the_start_ends_the_command() {
    let resource = unique("between");
    let mut leader = Leaderrun::new().args(["--local", "-r", &resource]).shell("echo up; exec sleep 1000");
    leader.says("up");
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("LEADERRUN_VERBOSE=1 {} sleep 1000", local(&resource)));
    terminal.shows("stands by");
    let (elector, guard) = leaderrun_of(&terminal);
    signal(guard, Signal::SIGSTOP);
    leader.signal(Signal::SIGTERM);
    leader.wait();
    // The new leader tells its guard to start the command, which that can't do yet.
    let holder = format!(":{elector}");
    eventually("the election", || {
        let status = Leaderrun::new().args(["--local", "-r", &resource, "--status"]).output();
        status.stdout.contains(&holder).then_some(())
    });
    terminal.type_in("\x03");
    terminal.shows("^C");
    signal(guard, Signal::SIGCONT);
    terminal.shows("ready> ");
    terminal.run("echo status $?");
    terminal.shows("status 130");
}

#[test]
fn the_process_id_in_messages_is_that_outside_of_a_pid_namespace() {
    if !crate::support::may_make_namespaces() {
        return;
    }
    let resource = unique("number");
    let tree = Tree::of(&resource);
    let leader = Leaderrun::new().args(["--local", "-v", "--pid-namespace", "-r", &resource, "sleep", "1000"]).spawn();
    leader.reports("started sleep (pid ");
    let pid = tree.grows_to(1)[0];
    leader.reports(&format!("started sleep (pid {pid})"));
}

/// A container may have a terminal without the node that names it.
#[test]
fn without_dev_tty_the_command_has_the_terminal() {
    if !may_make_namespaces() {
        return;
    }
    for folder in ["mount -t tmpfs none /dev", "mount --bind /proc/self/stat /dev/tty"] {
        let mut terminal = Terminal::with_shell();
        let words = unshare().join(" ");
        let line =
            format!("{words} -m sh -c '{folder}; exec {} sh -c \"{UP}; read x; echo go''t \\$x; read x\"'", run());
        terminal.run(&line);
        terminal.shows("up");
        terminal.type_in("a line\n");
        terminal.shows("got a line");
        terminal.type_in("\x1a");
        terminal.shows("Stopped");
        terminal.run("fg");
        terminal.shows("unshare");
        eventually("the command to go on", || {
            let elector = children(terminal.pid()).first().copied()?;
            (state(elector) != 'T').then_some(())
        });
        terminal.type_in("\x03");
        terminal.shows("ready> ");
        terminal.run("echo status $?");
        terminal.shows("status 130");
    }
}
