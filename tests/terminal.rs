//! On a terminal everything works as without us: ^C, ^\, ^Z, fg, bg, reading, raw mode, the window's size.

mod support;

use std::time::Duration;

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use support::{Leaderrun, Servers, Terminal, Tree, children, eventually, name, signal, state, unique};

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

#[test]
fn control_c_before_there_is_a_guard_ends_it() {
    // strace(1) keeps the elector in the call by which it prepares for the guard.
    let slow = "strace -f -o /dev/null -e trace=prctl -e inject=prctl:delay_enter=600000:when=1";
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("{slow} {} sh -c '{UP}; exec sleep 1000'", run()));
    let shell = terminal.pid();
    let strace = eventually("strace", || children(shell).first().copied().filter(|&pid| name(pid) == "strace"));
    let blocks = |pid: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("SigBlk:\t").is_some_and(|set| set.contains(|c| c != '0')))
    };
    let elector = || children(strace).into_iter().find(|pid| name(*pid) == "leaderrun" && blocks(pid));
    eventually("leaderrun", elector);
    terminal.type_in("\x03");
    terminal.shows("ready> ");
    terminal.run("echo status $?");
    terminal.shows("status 130");
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
    terminal.resize(33, 77);
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

/// Returns the pids of leaderrun's two processes, which this terminal's shell has started.
fn leaderrun_of(terminal: &Terminal) -> (i32, i32) {
    let only_child = |pid| eventually("a child", || children(pid).first().copied());
    let elector = only_child(terminal.pid());
    (elector, only_child(elector))
}

fn namespaces() -> &'static [&'static str] {
    if support::may_make_namespaces() { &["", "--pid-namespace"] } else { &[""] }
}

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

/// Starts what tells its signals, behind these words, in the foreground of a shell.
fn telling(words: &str) -> Terminal {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), TELLS).expect("a script");
    let mut terminal = Terminal::with_shell();
    terminal.run(&format!("leaderrun {words} python3 {}", file.path().display()));
    terminal.shows("up");
    terminal
}

fn each_signal_arrives(words: &str) {
    let resource = unique("group");
    let tree = Tree::of(&resource);
    let mut terminal = telling(&format!("--local -r {resource} {words}"));
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
    if support::may_make_namespaces() {
        each_signal_arrives("--pid-namespace --");
        each_signal_arrives("--pid-namespace -- timeout 1000");
    }
}

#[test]
fn a_lost_lease_asks_a_command_in_a_group_of_its_own_to_stop() {
    for option in namespaces() {
        let servers = Servers::settled(1, Duration::from_secs(1));
        let resource = unique("lost");
        let mut terminal = telling(&format!("-R {} -t 1s -r {resource} {option} -- timeout 1000", servers.urls()));
        servers.0[0].query::<()>(&["SET", &format!("leaderrun:{resource}"), "another", "PX", "1500"]);
        terminal.shows("got TERM");
        terminal.shows("ready> ");
    }
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
    let as_pid_one = [support::unshare(), as_pid_one].concat();
    let first = if support::may_make_namespaces() { vec![&[][..], &as_pid_one] } else { vec![&[][..]] };
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

#[test]
fn the_process_id_in_messages_is_that_outside_of_a_pid_namespace() {
    if !support::may_make_namespaces() {
        return;
    }
    let resource = unique("number");
    let tree = Tree::of(&resource);
    let leader = Leaderrun::new().args(["--local", "-v", "--pid-namespace", "-r", &resource, "sleep", "1000"]).spawn();
    leader.reports("started sleep (pid ");
    let pid = tree.grows_to(1)[0];
    leader.reports(&format!("started sleep (pid {pid})"));
}

/// As the kernel does: it tells the session's leader alone.
#[test]
fn a_hang_up_of_a_session_that_leaderrun_leads_reaches_the_command_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = |who: &str| folder.path().join(who);
    let tells = |who: &str| {
        let file = told(who);
        let file = file.display();
        format!(
            "trap 'echo >{file}' HUP; trap 'echo >{file}.later' USR1; echo {who} u''p; while :; do sleep 0.01; done"
        )
    };
    for who in ["main", "child"] {
        std::fs::write(told(&format!("{who}.sh")), tells(who)).expect("a script");
    }
    let resource = unique("hang-up");
    let tree = Tree::of(&resource);
    let line =
        format!("{} bash -c 'bash {} & . {}'", local(&resource), told("child.sh").display(), told("main.sh").display());
    let mut terminal = Terminal::with(&["bash", "-c", &line]);
    let elector = terminal.pid();
    terminal.shows("main up");
    eventually("the child", || terminal.screen().contains("child up").then_some(()));
    let main = children(children(elector)[0])[0];
    let child = eventually("the child", || {
        let bash = |pid: &i32| support::name(*pid) == "bash";
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
