//! Confines itself, then execs the rest of its command line, so that a test can run any program confined.
//!
//! confine deny SYSCALL[,SYSCALL...] ERRNO -- COMMAND...: the kernel answers these system calls with this error (seccomp(2))
//! confine deny SYSCALL:ARGUMENT ERRNO -- COMMAND...: the same where the first argument is this number
//! confine expect SYSCALL[,SYSCALL...] ERRNO -- COMMAND...: execs only if the kernel does so
//! confine files N -- COMMAND...: at most N descriptors (RLIMIT_NOFILE, soft and hard)

use std::os::unix::process::CommandExt;

use nix::{errno::Errno, libc, sys::prctl::set_no_new_privs};

/// System calls by name; the numbers differ between architectures.
const SYSCALLS: [(&str, libc::c_long); 13] = [
    ("pidfd_open", libc::SYS_pidfd_open),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("clone3", libc::SYS_clone3),
    ("close_range", libc::SYS_close_range),
    ("openat2", libc::SYS_openat2),
    ("faccessat2", libc::SYS_faccessat2),
    ("epoll_pwait2", libc::SYS_epoll_pwait2),
    ("waitid", libc::SYS_waitid),
    ("wait4", libc::SYS_wait4),
    ("timerfd_settime", libc::SYS_timerfd_settime),
    ("prctl", libc::SYS_prctl),
    ("fcntl", libc::SYS_fcntl),
];

const ERRNOS: [(&str, Errno); 3] = [("EPERM", Errno::EPERM), ("ENOSYS", Errno::ENOSYS), ("EINVAL", Errno::EINVAL)];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let separator = args.iter().position(|arg| arg == "--").expect("-- before the command");
    let (what, command) = (&args[..separator], &args[separator + 1..]);
    match what.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["deny", names, errno] => {
            let (names, argument) = names.split_once(':').map_or((*names, None), |(name, number)| (name, Some(number)));
            deny(&numbers(names), argument.map(|number| number.parse().expect("a number")), named(errno));
        }
        ["expect", names, errno] => {
            for number in numbers(names) {
                assert_eq!(answer(number), named(errno), "system call {number} is not denied");
            }
        }
        ["files", number] => {
            let number = number.parse().expect("a number");
            let limit = libc::rlimit { rlim_cur: number, rlim_max: number };
            // SAFETY: `limit` outlives the call, which reads it.
            Errno::result(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }).expect("a lower limit");
        }
        other => panic!("what is {other:?}?"),
    }
    let error = std::process::Command::new(&command[0]).args(&command[1..]).exec();
    panic!("{command:?}: {error}");
}

fn numbers(names: &str) -> Vec<libc::c_long> {
    let number = |name: &str| SYSCALLS.iter().find(|(n, _)| *n == name).expect("a system call that we know").1;
    names.split(',').map(number).collect()
}

fn named(errno: &str) -> Errno {
    ERRNOS.iter().find(|(name, _)| *name == errno).expect("an error that we know").1
}

/// Returns the kernel's error for a call with arguments that no system call accepts.
fn answer(number: libc::c_long) -> Errno {
    // SAFETY: the descriptors and flags don't exist, and the pointers are null: each call fails before it does
    // anything.
    Errno::result(unsafe { libc::syscall(number, -1, 0, 0, -1, 0, -1) }).expect_err("a call that fails")
}

/// Installs a filter in classic BPF: load the call's number, compare it with each, and return the error or allow it. With an
/// argument, first allows all calls with another.
fn deny(numbers: &[libc::c_long], argument: Option<u32>, errno: Errno) {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let give = |what: u32| statement(libc::BPF_RET | libc::BPF_K, what);
    let load = |offset: usize| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset as u32);
    let mut filter = Vec::new();
    if let Some(argument) = argument {
        let half = if cfg!(target_endian = "big") { 4 } else { 0 };
        filter.push(load(std::mem::offset_of!(libc::seccomp_data, args) + half));
        let equal = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, argument);
        filter.push(libc::sock_filter { jt: 1, ..equal });
        filter.push(give(libc::SECCOMP_RET_ALLOW));
    }
    filter.push(load(std::mem::offset_of!(libc::seccomp_data, nr)));
    for &number in numbers {
        let equal = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number as u32);
        filter.push(libc::sock_filter { jf: 1, ..equal });
        filter.push(give(libc::SECCOMP_RET_ERRNO | errno as u32));
    }
    filter.push(give(libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    set_no_new_privs().expect("no new privileges");
    // SAFETY: `program` and the filter that it points to outlive the call, which copies them.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    Errno::result(set).expect("a filter");
}
