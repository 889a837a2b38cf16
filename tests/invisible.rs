//! The command can't tell that leaderrun is there: pipes, descriptors, limits, signals and all else are as without us.

use std::process::{Command, Stdio};

use crate::support::{Leaderrun, path, quoted, unique};

/// Runs a shell line, with `$L` for leaderrun and its options. Returns status, stdout and stderr.
fn bash(line: &str) -> (i32, String, String) {
    let line = format!("L='leaderrun --local -r {} --'\n{line}", unique("pipe"));
    let mut bash = Command::new("bash");
    let output = bash.args(["-c", &line]).env("PATH", path()).stdin(Stdio::null()).output().expect("bash");
    let text = |bytes: &[u8]| without_numbers(&String::from_utf8_lossy(bytes));
    (output.status.code().expect("a status"), text(&output.stdout), text(&output.stderr))
}

/// Removes the numbers of pipes, which differ each time.
fn without_numbers(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines.map(|l| l.split_once("pipe:[").map_or(l.to_owned(), |(before, _)| format!("{before}pipe\n"))).collect()
}

fn is_as_without_us(line: &str) {
    let with = bash(line);
    let without = bash(&line.replace("$L", "env"));
    assert_eq!(with, without, "{line}");
    assert_eq!(with.2, "", "{line}");
}

#[test]
fn pipes_end_as_they_do_without_us() {
    for line in [
        "yes | $L head -1; echo ${PIPESTATUS[@]}",
        "$L yes | head -1; echo ${PIPESTATUS[@]}",
        "echo hello | $L cat",
        "$L cat <(echo x) <(echo y)",
        "$L sh -c 'echo out; echo err >&2' 2>&1 | sort",
        "seq 1000000 | $L cat | md5sum",
        "$L seq 1000000 | md5sum",
        "exec 7<<<seven; $L sh -c 'cat <&7'",
    ] {
        is_as_without_us(line);
    }
}

/// The other end of a pipe sees it closed when the command closes it, not when leaderrun ends.
#[test]
fn what_the_command_closes_is_closed() {
    is_as_without_us("($L sh -c 'exec >&-; read x <&7' 7< <(sleep 0.3; echo)) | (cat; echo end of file)");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let (_, stdout, _) = bash(&format!(
        "export F={}; (trap '' PIPE; while echo y 2>/dev/null; do :; done; echo broken pipe >\"$F\") |
        $L sh -c 'exec <&-; until [ -s \"$F\" ]; do sleep 0.01; done; cat \"$F\"'",
        quoted(file.path())
    ));
    assert_eq!(stdout, "broken pipe\n");
}

#[test]
fn closed_standard_descriptors_stay_closed() {
    for closed in ["<&-", ">&-", "2>&-", "<&- 2>&-"] {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let at = quoted(file.path());
        // Print the descriptors to a separate file.
        let line = format!("export F={at}; $L sh -c 'sprout print | grep ^fd >\"$F\"' {closed}; cat \"$F\"");
        let with = bash(&line);
        let without = bash(&line.replace("$L", "env"));
        assert_eq!(with, without, "{closed}");
    }
    let (status, stdout, _) = bash("$L sh -c 'ls /proc/$$/fd' <&- ");
    assert_eq!(status, 0);
    assert!(!stdout.lines().any(|fd| fd == "0"), "{stdout}");
    assert_eq!(bash("$L true >&- 2>&- <&-").0, 0);
    assert_eq!(bash("$L no-such-command 2>&-").0, 127);
}

#[test]
fn directory_umask_limits_niceness_signals_and_descriptors_are_inherited() {
    for setting in [
        "cd /usr",
        "umask 027",
        "ulimit -n 100; ulimit -c 0; ulimit -s 4096",
        "renice -n $(($(nice) < 15 ? $(nice) + 5 : 19)) $$ >/dev/null",
        "trap '' HUP",
        "trap '' PIPE",
        "trap '' INT QUIT TERM USR1 TSTP TTIN TTOU",
        "trap '' CHLD",
        "taskset -p 1 $$ >/dev/null",
        "exec 5</dev/null 9>/dev/null",
    ] {
        is_as_without_us(&format!("{setting}; $L sprout print"));
    }
}

#[test]
fn a_blocked_signal_mask_is_inherited() {
    let blocked = |program: &str| {
        let line = format!(
            "import os,signal,shlex\nsignal.pthread_sigmask(signal.SIG_BLOCK,[10,12,15,17,34,64])\na=shlex.split('{program} sprout print')\nos.execvp(a[0],a)"
        );
        let output = Command::new("python3").args(["-c", &line]).env("PATH", path()).output().expect("python3");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let with = blocked(&format!("leaderrun --local -r {} --", unique("mask")));
    let without = blocked("env");
    let line = |text: &str| text.lines().find(|l| l.starts_with("SigBlk")).map(ToOwned::to_owned);
    assert_eq!(line(&with), line(&without));
    assert!(line(&with).is_some_and(|l| !l.ends_with("0000000000000000")), "{with}");
}

#[test]
fn the_environment_is_unchanged_and_in_order_except_for_our_variables() {
    let line = "export Z=1 A=2; $L env | grep -v -e ^LEADERRUN_ -e ^_=";
    is_as_without_us(line);
}

/// As under a shell without job control, the command leads no process group.
#[test]
fn the_command_can_become_a_session_leader() {
    for line in [
        "$L setsid sh -c 'sleep 0.2; echo done; exit 7'",
        "$L python3 -c 'import os; os.setsid(); print(os.getsid(0) == os.getpid())'",
        "$L sh -c '[ $(ps -o pgid= $$) != $$ ]; echo $?'",
    ] {
        is_as_without_us(line);
    }
}

/// Socket activation: systemd names the process that it has started, which would be the command.
#[test]
fn variables_that_name_our_process_name_the_commands() {
    for name in ["LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"] {
        is_as_without_us(&format!("export {name}=$$; exec $L sh -c '[ ${{{name}}} = $$ ]; echo $?'"));
        is_as_without_us(&format!("export {name}=1; exec $L sh -c 'echo ${{{name}}}'"));
    }
    if crate::support::may_make_namespaces() {
        let (_, stdout, _) =
            bash("export LISTEN_PID=$$; exec ${L% --} --pid-namespace -- sh -c '[ $LISTEN_PID = $$ ]; echo $?'");
        assert_eq!(stdout, "0\n");
    }
}

#[test]
fn entries_of_the_environment_that_are_no_variables_are_passed_on() {
    let start = "import ctypes, sys\nfrom ctypes import c_char_p\nwords = [w.encode() for w in sys.argv[1:]]\n\
                 pointers = lambda l: (c_char_p * (len(l) + 1))(*l, None)\n\
                 ctypes.CDLL(None).execvpe(words[0], pointers(words), pointers([b\"odd\", b\"A=1\", b\"=x\", b\"\", b\"A=2\"]))";
    let line = format!(
        "python3 -c '{start}' \"$(command -v ${{L%% *}})\" ${{L#* }} cat /proc/self/environ | tr '\\0' '\\n' | grep -v ^LEADERRUN_"
    );
    let (_, stdout, _) = bash(&line);
    assert_eq!(stdout, "odd\nA=1\n=x\n\nA=2\n");
}

#[test]
fn makes_job_server_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let makefile = "all: a b\na b:\n\t+@$(L) $(MAKE) -s sub\nsub: c d\nc d:\n\t@true\n";
    std::fs::write(folder.path().join("Makefile"), makefile).expect("a file");
    is_as_without_us(&format!("cd {}; make -s -j2 L=\"${{L/-r /-r \\$@}}\"", quoted(folder.path())));
}

#[test]
fn xargs_runs_several_at_once() {
    is_as_without_us("seq 8 | xargs -P 4 -I{} ${L/-r /-r {\\}} sh -c 'exit 0'; echo $?");
}

#[test]
fn a_descriptor_that_does_not_block_stays_so() {
    let flags = "import fcntl; print([fcntl.fcntl(fd, fcntl.F_GETFL) & 0o4000 for fd in (0, 1)])";
    let set =
        "import fcntl, os, sys; fcntl.fcntl(0, fcntl.F_SETFL, os.O_NONBLOCK); os.execvp(sys.argv[1], sys.argv[1:])";
    is_as_without_us(&format!("sleep 0.1 | python3 -c '{set}' $L python3 -c '{flags}'; true"));
}

#[test]
fn it_runs_under_strace() {
    is_as_without_us("strace -f -qq -o /dev/null $L sh -c 'setsid true; echo x | cat; exit 3'");
}

#[test]
fn nohup_still_works() {
    let (status, stdout, _) = bash("nohup $L sh -c 'kill -HUP $PPID; kill -HUP $$; echo alive' 2>/dev/null");
    assert_eq!((status, stdout.as_str()), (0, "alive\n"));
}

#[test]
fn messages_that_nobody_reads_block_nothing() {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
    // Fill the pipe, which nobody reads.
    nix::fcntl::fcntl(&write, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).expect("a flag");
    while nix::unistd::write(&write, &[0; 4096]).is_ok() {}
    while nix::unistd::write(&write, &[0; 1]).is_ok() {}
    nix::fcntl::fcntl(&write, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty())).expect("a flag");
    let mut leaderrun = Command::new(env!("CARGO_BIN_EXE_leaderrun"));
    leaderrun.args(["--local", "-vv", "-r", &unique("full"), "true"]).stderr(Stdio::from(write));
    let mut child = leaderrun.spawn().expect("leaderrun");
    let status = crate::support::eventually("its end", || child.try_wait().expect("our child"));
    assert!(status.success());
    drop(read);
}

#[test]
fn a_command_with_a_million_bytes_of_arguments_and_environment_runs() {
    let long = "x".repeat(100_000);
    let output = Leaderrun::new()
        .args(["--local", "-r", &unique("long"), "sh", "-c", "echo ${#LONG} $#"])
        .env("LONG", &long)
        .args(vec![long.as_str(); 10])
        .output();
    assert_eq!(output.stdout, "100000 9\n", "{}", output.stderr);
}
