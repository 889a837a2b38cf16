//! Where the kernel refuses system calls that leaderrun makes, as a container's profile does, leaderrun keeps every
//! promise, or starts nothing and reports the reason.

use crate::support::{LONG_TTL, Leaderrun, Shape, Stage, Tree, each_end, program, unique, unshare_and};
use nix::unistd::geteuid;

/// The system calls that Docker 19.03's default profile doesn't know and therefore refuses.
const UNKNOWN_TO_DOCKER: &str =
    "pidfd_open,pidfd_send_signal,pidfd_getfd,clone3,close_range,openat2,faccessat2,epoll_pwait2";

/// Returns a stage whose leader is refused these system calls. The leader's command verifies that.
fn without(calls: &str, errno: &str) -> Stage {
    let confine = program("confine");
    Stage::with_ttl(LONG_TTL)
        .confined_by(&[&confine, "deny", calls, errno, "--"])
        .probed_by(&[&confine, "expect", calls, errno, "--"])
}

fn dies_without_new_calls(shape: &Shape, errno: &str) {
    let stage = without(UNKNOWN_TO_DOCKER, errno);
    each_end(|end| _ = stage.play(shape, end));
}

#[test]
fn with_the_system_calls_of_docker_19_a_plain_command() {
    dies_without_new_calls(&Shape::plain(), "EPERM");
}

#[test]
fn with_the_system_calls_of_docker_19_detached_processes() {
    dies_without_new_calls(&Shape::double_fork(), "EPERM");
}

#[test]
fn with_the_system_calls_of_docker_19_processes_that_ignore_term() {
    dies_without_new_calls(&Shape::sprout("ignores", 2), "EPERM");
}

#[test]
fn with_the_system_calls_of_an_old_kernel_a_plain_command() {
    dies_without_new_calls(&Shape::plain(), "ENOSYS");
}

#[test]
fn with_the_system_calls_of_an_old_kernel_detached_processes() {
    dies_without_new_calls(&Shape::double_fork(), "ENOSYS");
}

#[test]
fn with_the_system_calls_of_an_old_kernel_processes_that_ignore_term() {
    dies_without_new_calls(&Shape::sprout("ignores", 2), "ENOSYS");
}

/// In a namespace the kernel kills the tree when the guard dies.
#[test]
fn with_the_system_calls_of_docker_19_in_a_namespace_detached_processes() {
    let stage = without(UNKNOWN_TO_DOCKER, "EPERM").with(&["--pid-namespace"]);
    each_end(|end| _ = stage.play(&Shape::double_fork(), end));
}

/// A deadline is useless if nothing can wake the guard for it.
#[test]
fn without_a_timer_no_command_survives_and_the_reason_is_reported() {
    let stage = without("timerfd_settime", "EINVAL");
    let resource = unique("timer");
    let mark = format!("TREE={resource}");
    for shape in [Shape::plain(), Shape::double_fork(), Shape::sprout("ignores", 2)] {
        let tree = Tree(mark.clone());
        let command = ["--", "env", &mark].into_iter().chain(shape.command.iter().map(String::as_str));
        let output = stage.run_confined(&resource).args(command).output();
        assert_eq!(tree.alive(), [0; 0], "{}", output.stderr);
        assert_eq!(output.code(), 125, "{}", output.stderr);
        assert!(output.stderr.lines().any(|line| line.contains("timer")), "{}", output.stderr);
        assert_eq!(stage.servers.locked(&resource), 0, "the lock is released: nothing is left");
    }
}

/// A child's end would never be seen.
#[test]
fn without_a_call_to_wait_for_children_nothing_starts_and_the_reason_is_reported() {
    for call in ["waitid", "wait4"] {
        for errno in ["EPERM", "ENOSYS"] {
            let stage = without(call, errno);
            let output = stage.run_confined(&unique("wait")).args(["--", "echo", "started"]).output();
            assert_eq!((output.code(), output.stdout.as_str()), (125, ""), "{call} {errno}: {}", output.stderr);
            assert!(output.stderr.contains("can't see children end"), "{}", output.stderr);
            assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
            assert_eq!(stage.servers.keys(), [""; 0], "a server was asked");
        }
    }
}

/// prctl(2), PR_SET_DUMPABLE: the command could read what leaderrun's processes have of passwords.
#[test]
fn where_memory_cannot_be_sealed_nothing_starts_and_the_reason_is_reported() {
    let confine = program("confine");
    let stage = Stage::with_ttl(LONG_TTL).confined_by(&[&confine, "deny", "prctl:4", "EPERM", "--"]);
    for question in [&["--", "echo", "started"][..], &["--status"]] {
        let output = stage.run_confined(&unique("sealed")).args(question).output();
        assert_eq!((output.code(), output.stdout.as_str()), (125, ""), "{question:?}: {}", output.stderr);
        assert!(output.stderr.contains("can't keep our memory from other processes"), "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        assert_eq!(stage.servers.keys(), [""; 0], "a server was asked");
    }
}

#[test]
fn where_descriptors_cannot_be_copied_their_number_is_not_said_to_be_the_reason() {
    let stage = Stage::with_ttl(LONG_TTL).confined_by(&[&program("confine"), "deny", "fcntl", "EPERM", "--"]);
    let output = stage.run_confined(&unique("copied")).args(["--", "echo", "started"]).output();
    assert_eq!((output.code(), output.stdout.as_str()), (125, ""), "{}", output.stderr);
    assert!(output.stderr.contains("can't copy a descriptor: Operation not permitted"), "{}", output.stderr);
    assert!(!output.stderr.contains("ulimit"), "{}", output.stderr);
}

/// A thread needs clone3(2) unless the C library treats EPERM as its absence. Files with names and servers are read on
/// a thread if possible, otherwise in place.
#[test]
fn with_the_system_calls_of_docker_19_a_name_is_resolved() {
    let stage = without(UNKNOWN_TO_DOCKER, "EPERM").by_name();
    let output = stage.run_confined(&unique("name")).args(["--try", "--", "echo", "led"]).output();
    assert_eq!((output.code(), output.stdout.as_str(), output.stderr.as_str()), (0, "led\n", ""));
}

/// An empty folder in place of /proc.
const COVERED: (&[&str], &str) = (&["--mount"], "mount -t tmpfs none /proc");
/// A /proc that shows the processes of another namespace.
const FOREIGN: (&[&str], &str) = (&["--pid", "--fork", "--kill-child"], "true");

/// Checks the refusal at startup: nothing is locked or started, and one line gives the reason.
fn is_refused(proc: (&[&str], &str)) {
    let Some(words) = unshare_and(proc.0, proc.1) else { return };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let stage = Stage::with_ttl(LONG_TTL).confined_by(&words);
    let on_servers = stage.run_confined(&unique("proc"));
    let folder = tempfile::tempdir().expect("a folder");
    let local = Leaderrun::new().env("XDG_RUNTIME_DIR", folder.path()).args(["--local", "-r", &unique("proc")]);
    let program = local.command.get_program().to_owned();
    let local = local.through(words.iter().map(Into::into).chain([program]).collect());
    for leaderrun in [on_servers, local] {
        let output = leaderrun.args(["--", "echo", "started"]).output();
        assert_eq!((output.code(), output.stdout.as_str()), (125, ""), "{}", output.stderr);
        assert!(output.stderr.contains("/proc"), "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
    assert_eq!(stage.servers.keys(), [""; 0], "a server was asked");
    assert_eq!(folder.path().read_dir().expect("the folder").count(), 0, "a lock was made");
}

#[test]
fn without_proc_nothing_starts_and_the_reason_is_reported() {
    is_refused(COVERED);
}

#[test]
fn without_a_mount_at_proc_nothing_starts_and_the_reason_is_reported() {
    if !geteuid().is_root() {
        println!("not tried: an ordinary user can't unmount /proc");
        return;
    }
    is_refused((&["--mount"], "umount --lazy /proc"));
}

#[test]
fn with_the_proc_of_another_namespace_nothing_starts_and_the_reason_is_reported() {
    is_refused(FOREIGN);
}

/// The guard mounts its own /proc.
#[test]
fn without_proc_a_namespace_of_its_own_keeps_every_promise() {
    if !geteuid().is_root() {
        println!("not tried: an ordinary user can't mount a /proc where the one that is there is covered");
        return;
    }
    let Some(words) = unshare_and(COVERED.0, COVERED.1) else { return };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let stage = Stage::with_ttl(LONG_TTL).confined_by(&words).with(&["--pid-namespace"]);
    for shape in [Shape::plain(), Shape::double_fork(), Shape::sprout("ignores", 2)] {
        each_end(|end| _ = stage.play(&shape, end));
    }
}

#[test]
fn with_the_proc_of_another_namespace_a_namespace_of_its_own_mounts_its_own_proc() {
    let Some(words) = unshare_and(FOREIGN.0, FOREIGN.1) else { return };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let stage = Stage::with_ttl(LONG_TTL).confined_by(&words).with(&["--pid-namespace"]);
    let line = "setsid sleep 1000 & read pid rest </proc/self/stat; [ $pid = $$ ] && exit 7";
    let output = stage.run_confined(&unique("proc")).args(["--", "sh", "-c", line]).output();
    assert_eq!((output.code(), output.stderr.as_str()), (7, ""));
}
