//! On a terminal everything works as without us: ^C, ^\, ^Z, fg, bg, reading, raw mode, the window's size.

mod support;

use std::{process::Command, time::Duration};

use support::{Servers, Terminal, Tree, unique};

/// Returns the beginning of a line that runs something under leaderrun on this machine.
fn local(resource: &str) -> String {
    format!("leaderrun --local -r {resource} --")
}

fn run() -> String {
    local(&unique("tty"))
}

const UP: &str = "echo u''p";

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
fn control_z_stops_and_fg_continues_a_command_that_reads_the_terminal() {
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("{} sh -c '{UP}; read x; echo go''t $x; exit 4'", run()));
    terminal.shows("up");
    for _ in 0..3 {
        terminal.type_in("\x1a");
        terminal.shows("Stopped");
        terminal.shows("ready> ");
        terminal.run("fg");
        terminal.shows("leaderrun");
    }
    terminal.type_in("a line\n");
    terminal.shows("got a line");
    terminal.run("echo status $?");
    terminal.shows("status 4");
}

#[test]
fn bg_continues_it_in_the_background() {
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("{} sh -c '{UP}; while :; do sleep 0.01; echo tic''k; done'", run()));
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
    support::eventually("the shell's report", || {
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
    let resized = Command::new("stty").args(["-F", &terminal.name, "rows", "33", "cols", "77"]).status();
    assert!(resized.expect("stty").success());
    terminal.shows("size 33 77");
    terminal.type_in("\x03");
    let shown = terminal.shows("ready> ");
    assert!(!shown.contains("size"), "{shown}");
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
