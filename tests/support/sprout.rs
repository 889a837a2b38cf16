//! Grows trees of processes that are hard to kill, and checks whether any process of one is alive.
//!
//! sprout SHAPE: `ignores` every signal that can be ignored · `stopped` stops itself and a child · `forker` forks and exits
//! 500 times in a row once it gets SIGUSR1 · `subreaper` keeps its orphans for itself
//! sprout many N: N children, all ignoring SIGTERM · late N: the same, once it gets SIGTERM · nest N: a child of a child
//! and so on, N deep · deep N: the same, each in a session of its own · bomb N: N processes that fork and exit as fast as
//! they can · sibling: a child that clone(2), CLONE_PARENT, makes a child of its parent
//! sprout tiny many | nest N: the same trees, of processes that have become a program of one page
//! sprout fell [tiny] SHAPE N: grows such a tree, kills and reaps it, and prints how many milliseconds that took
//! sprout trace PID: attaches to all threads of a process as a debugger that never looks at them, and prints a line
//! sprout follow PID: traces a process and those that it forks from then on, lets all of them run, and reaps none
//! sprout alive VARIABLE: prints the ids of the processes with this variable, NAME=VALUE, in their environment
//! sprout tell: prints the signals that it and its child get; SIGSEGV ends them
//! sprout print: prints what this process was started with: signals, mask, group, limits
//! sprout orphans N: creates N orphans that end at once
//! sprout forks: forks a child that ends at once, again and again, and prints a line when that is refused

use std::{
    fs,
    io::{Read, Write},
    time::{Duration, Instant},
};

use nix::{
    libc,
    sys::{
        prctl::set_child_subreaper,
        ptrace::{self, Options},
        signal::{SigHandler, SigSet, Signal, kill, killpg, raise, signal},
        signalfd::SignalFd,
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::{ForkResult, Pid, fork, setpgid, setsid},
};

mod tiny_program;

use tiny_program::TinyProgram;

/// What the processes of a tree are while they wait for their end.
enum Kind {
    /// Copies of this program.
    Copies,
    Tiny(TinyProgram),
}

impl Kind {
    fn wait(&self) {
        match self {
            Kind::Copies => sleep_on(),
            Kind::Tiny(program) => program.exec(),
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["ignores"] => {
            for number in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1] {
                ignore(number);
            }
            in_child(sleep_on);
            sleep_on();
        }
        ["stopped"] => {
            let child = in_child(sleep_on);
            kill(child, Signal::SIGSTOP).expect("our child");
            raise(Signal::SIGSTOP).expect("ourselves");
            sleep_on();
        }
        ["forker"] => {
            ignore(Signal::SIGTERM);
            let start = SigSet::from(Signal::SIGUSR1);
            start.thread_block().expect("a blocked signal");
            start.wait().expect("the signal");
            in_child(|| chain(500));
            sleep_on();
        }
        ["subreaper"] => {
            set_child_subreaper(true).expect("a subreaper");
            in_child(|| {
                setsid().expect("a session");
                in_child(sleep_on);
            });
            sleep_on();
        }
        ["many" | "nest" | "deep", _] | ["tiny", "many" | "nest", _] => grow(&args),
        ["late", number] => {
            let term = SigSet::from(Signal::SIGTERM);
            term.thread_block().expect("a blocked signal");
            term.wait().expect("the signal");
            many(&Kind::Copies, number.parse().expect("a number"));
        }
        ["fell", ..] => fell(&args[1..]),
        ["bomb", number] => {
            ignore(Signal::SIGTERM);
            for _ in 0..number.parse().expect("a number") {
                in_child(bomb);
            }
            sleep_on();
        }
        ["sibling"] => {
            sibling();
            sleep_on();
        }
        ["trace", pid] => {
            for thread in fs::read_dir(format!("/proc/{pid}/task")).expect("a process to trace") {
                let thread = thread.expect("a thread").file_name().into_string().expect("a number");
                ptrace::attach(Pid::from_raw(thread.parse().expect("a number"))).expect("a thread to trace");
            }
            say("attached");
            sleep_on();
        }
        ["follow", pid] => follow(Pid::from_raw(pid.parse().expect("a number"))),
        ["alive", variable] => {
            let found = alive(variable);
            println!("{}", found.join(" "));
        }
        ["orphans", number] => {
            for _ in 0..number.parse().expect("a number") {
                in_child(|| {
                    in_child(|| ());
                });
                nix::sys::wait::wait().expect("our child");
            }
        }
        ["forks"] => {
            while forks() {
                std::thread::sleep(Duration::from_millis(2));
            }
            say("no process");
            sleep_on();
        }
        ["tell"] => {
            in_child(|| tell("child"));
            tell("main");
        }
        ["print"] => print(),
        other => panic!("what is {other:?}?"),
    }
}

fn ignore(number: Signal) {
    // SAFETY: ignoring a signal runs no code.
    unsafe { signal(number, SigHandler::SigIgn) }.expect("a signal that can be ignored");
}

fn sleep_on() {
    loop {
        std::thread::sleep(Duration::MAX);
    }
}

/// Runs this in a child, which then exits.
fn in_child(what: impl FnOnce()) -> Pid {
    // SAFETY: this program has one thread.
    match unsafe { fork() }.expect("a child") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            what();
            std::process::exit(0);
        }
    }
}

/// Returns whether a fork succeeds.
fn forks() -> bool {
    // SAFETY: this program has one thread.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { child }) => nix::sys::wait::waitpid(child, None).is_ok(),
        Ok(ForkResult::Child) => std::process::exit(0),
        Err(errno) => {
            assert_eq!(errno, nix::errno::Errno::EAGAIN);
            false
        }
    }
}

/// Grows a tree that lasts.
fn grow(shape: &[String]) {
    let (kind, shape) = match shape {
        [tiny, shape @ ..] if tiny == "tiny" => (Kind::Tiny(TinyProgram::new()), shape),
        shape => (Kind::Copies, shape),
    };
    let number = shape[1].parse().expect("a number");
    match shape[0].as_str() {
        "many" => many(&kind, number),
        "nest" => nest(&kind, number),
        _ => deep(number),
    }
}

fn many(kind: &Kind, number: u32) {
    ignore(Signal::SIGTERM);
    for _ in 0..number {
        in_child(|| kind.wait());
    }
    say("grown");
    kind.wait();
}

/// Grows a tree in a group of its own, kills the group, and reaps everything. Prints how many milliseconds that took: no
/// program that kills a tree can be faster.
fn fell(shape: &[String]) {
    set_child_subreaper(true).expect("a subreaper");
    let (read, write) = std::io::pipe().expect("a pipe");
    let root = in_child(|| {
        setpgid(Pid::from_raw(0), Pid::from_raw(0)).expect("a group");
        nix::unistd::dup2_stdout(&write).expect("a descriptor");
        grow(shape);
    });
    let mut grown = [0; 6];
    (&read).read_exact(&mut grown).expect("a grown tree");
    std::thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    killpg(root, Signal::SIGKILL).expect("a group");
    while nix::sys::wait::wait().is_ok() {}
    say(&format!("{:.1}", began.elapsed().as_secs_f64() * 1000.0));
}

/// Forks a child that forks a child and so on, each of which lasts.
fn nest(kind: &Kind, depth: u32) {
    if depth > 0 {
        in_child(|| nest(kind, depth - 1));
    } else {
        say("grown");
    }
    kind.wait();
}

/// The same, each in a session of its own and ignoring SIGTERM.
fn deep(depth: u32) {
    ignore(Signal::SIGTERM);
    // The first one may lead a group.
    let _ = setsid();
    if depth > 0 {
        in_child(|| deep(depth - 1));
    } else {
        say("grown");
    }
    sleep_on();
}

/// Is a new process all the time; for 10 s at most, since nothing but its end may stop it.
fn bomb() {
    let began = Instant::now();
    // SAFETY: this program has one thread.
    while began.elapsed() < Duration::from_secs(10) && matches!(unsafe { fork() }, Ok(ForkResult::Child) | Err(_)) {}
}

/// Forks a child of our parent.
fn sibling() {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without a stack and CLONE_VM, clone(2) is a fork; this program has one thread.
    if unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } == 0 {
        sleep_on();
    }
}

/// Forks a chain in which each link forks the next one and exits, so that none lives long.
fn chain(links: u32) {
    if links == 0 {
        sleep_on();
    }
    std::thread::sleep(Duration::from_micros(200));
    in_child(|| chain(links - 1));
}

/// Traces as a debugger that is interested in stops, and not yet in ends.
fn follow(pid: Pid) {
    let forks = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACECLONE;
    ptrace::seize(pid, forks).expect("a process to trace");
    say("attached");
    loop {
        match waitid(Id::All, WaitPidFlag::WSTOPPED | WaitPidFlag::__WALL).expect("a traced process") {
            WaitStatus::Stopped(pid, number) => ptrace::cont(pid, number).expect("a stopped process"),
            WaitStatus::PtraceEvent(pid, ..) => ptrace::cont(pid, None).expect("a stopped process"),
            _ => {}
        }
    }
}

fn alive(variable: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environ.split(|&b| b == 0).any(|v| v == variable.as_bytes()) {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            if !stat.contains(") Z ") && !stat.is_empty() {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    found
}

/// Prints each signal on stdout, until SIGSEGV.
fn tell(who: &str) {
    let all = SigSet::all();
    all.thread_block().expect("blocked signals");
    let signals = SignalFd::new(&all).expect("a signalfd");
    say(&format!("{who} up"));
    while let Ok(Some(info)) = signals.read_signal() {
        say(&format!("{who} got {}.", info.ssi_signo));
        if info.ssi_signo == Signal::SIGSEGV as u32 {
            return;
        }
    }
}

/// Writes a line in one piece.
fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).expect("stdout");
}

fn print() {
    let status = fs::read_to_string("/proc/self/status").expect("our status");
    let told = ["SigBlk", "SigIgn", "SigCgt", "Umask", "Groups", "NoNewPrivs", "Cpus_allowed:"];
    for line in status.lines().filter(|l| told.iter().any(|t| l.starts_with(t))) {
        println!("{line}");
    }
    println!("{}", fs::read_to_string("/proc/self/limits").expect("our limits"));
    let stat = fs::read_to_string("/proc/self/stat").expect("our stat");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_ascii_whitespace().collect();
    println!("nice {}", fields[16]);
    println!("in {}", std::env::current_dir().expect("a directory").display());
    for entry in fs::read_dir("/proc/self/fd").expect("our descriptors").flatten() {
        let name = entry.file_name();
        let to = fs::read_link(entry.path()).unwrap_or_default();
        if !to.starts_with("/proc") {
            println!("fd {} {}", name.to_string_lossy(), to.display());
        }
    }
}
