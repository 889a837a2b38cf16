//! Faults of the system: a clear message, no panic, and no release while any process of the tree lives.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{
    Leaderrun, Limit, Running, Servers, Tree, Witnesses, eventually, is_root, lower, may_make_namespaces, quoted,
    signal, unique, unshare,
};
use nix::sys::signal::Signal;

const TTL: Duration = Duration::from_secs(1);

/// Runs leaderrun from a shell line in which it is `$0`, with these arguments.
fn by(line: &str, args: &[&str]) -> Running {
    let mut run = Leaderrun::new();
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).arg(run.copy_for_all_users()).args(args);
    run.command = shell;
    run.spawn()
}

/// Returns words that run a command as an ordinary user without other processes, from the range that systemd assigns
/// dynamically.
fn as_user(more: &str) -> String {
    let user = fastrand::u32(61_184..65_520);
    format!("exec setpriv --reuid {user} --regid {user} --clear-groups {more} \"$0\" \"$@\"")
}

/// Does the same with at most `number` processes, which a user namespace counts separately.
fn with_processes(number: u32) -> Option<String> {
    let limit = |number| format!("prlimit --nproc={number}");
    if is_root() {
        return Some(as_user(&limit(number)));
    }
    let limited = |number| format!("exec unshare --user --map-current-user {} \"$0\" \"$@\"", limit(number));
    let fork = ["-c", &limited(2), "sh", "-c", "true & wait"];
    let counts = Command::new("sh").args(fork).output().expect("a shell").status.success();
    if !counts {
        println!(
            "not tried: this user's processes can't be counted apart, which needs a user namespace and Linux 5.14"
        );
    }
    counts.then(|| limited(number))
}

#[test]
fn a_stopped_guard_is_noticed_without_a_lease_that_runs_out() {
    let resource = unique("stopped");
    let tree = Tree::of(&resource);
    let mut leader = Leaderrun::new().args(["--local", "-t", "1s", "-r", &resource]).shell("echo up; exec sleep 1000");
    leader.says("up");
    signal(leader.guard(), Signal::SIGSTOP);
    leader.signal(Signal::SIGTERM);
    leader.reports("leaderrun's guard was stopped; killing sh");
    assert_eq!(leader.wait().code(), 125);
    tree.is_gone();
    let next = Leaderrun::new().args(["--local", "-n", "-r", &resource, "true"]).output();
    assert_eq!(next.code(), 0, "{}", next.stderr);
}

#[test]
fn a_command_that_ends_while_the_guard_is_stopped_is_followed_within_a_ttl() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("stopped"), Witnesses::new());
    let start =
        |job: &[&str]| Leaderrun::on(&servers, &resource, TTL).args(["-v"]).args(witnesses.command(job)).spawn();
    let leader = start(&["for", "300", "exit", "3"]);
    leader.reports(": started ");
    signal(leader.guard(), Signal::SIGSTOP);
    let standby = start(&["for", "1"]);
    let output = leader.wait();
    assert_eq!(output.code(), 3, "as the command ended: {}", output.stderr);
    assert!(output.stderr.contains("leaderrun's guard was stopped; killing "), "{}", output.stderr);
    assert_eq!(standby.wait().code(), 0);
    let all = witnesses.check();
    assert!(Duration::from_nanos(all[1].start - all[0].last) < TTL, "{all:?}");
}

#[test]
fn no_process_for_the_guard() {
    let Some(user) = with_processes(1) else { return };
    let output = by(&user, &["-R", "redis://127.0.0.1:1", "-r", "x", "true"]).wait();
    assert_eq!(output.code(), 125);
    let why = "can't start the guard process: EAGAIN: Try again; raise the limit of processes (ulimit -u, or pids.max";
    assert!(output.stderr.contains(why), "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1);
}

#[test]
fn no_process_for_the_command_is_noticed_before_there_is_a_lease() {
    // Room for leaderrun's two processes, and for what makes the command's group.
    for number in [2, 3] {
        let Some(user) = with_processes(number) else { return };
        let servers = Servers::settled(1, TTL);
        let output = by(&user, &["-R", &servers.urls(), "-t", "1s", "-r", &unique("full"), "true"]).wait();
        assert_eq!(output.code(), 125, "{}", output.stderr);
        let why = "no process can be forked to run the command: EAGAIN";
        assert!(output.stderr.contains(why) && output.stderr.contains(" (ulimit -u, or pids.max"), "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        assert_eq!(servers.keys(), [""; 0], "a server was asked");
    }
}

#[test]
fn no_descriptor_for_the_command_any_more() {
    let servers = Servers::settled(1, TTL);
    let resource = unique("full");
    let mut leader = Leaderrun::on(&servers, &resource, TTL).shell("echo up; exec sleep 1000");
    leader.says("up");
    let standby = Leaderrun::on(&servers, &resource, TTL).readable().args(["true"]).spawn();
    let guard = standby.guard();
    eventually("all that the guard opens", || {
        let mut open = fs::read_dir(format!("/proc/{guard}/fd")).expect("its descriptors").flatten();
        open.any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.ends_with("anon_inode:[eventpoll]"))).then_some(())
    });
    lower(guard, Limit::Files, 4);
    leader.signal(Signal::SIGTERM);
    let output = standby.wait();
    assert_eq!(output.code(), 125, "{}", output.stderr);
    let why = "cannot fork to run true: Too many open files; raise the limit of open files (ulimit -n)\n";
    assert!(output.stderr.contains(why), "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert_eq!(servers.locked(&resource), 0);
}

#[test]
fn too_few_descriptors_for_the_command_are_noticed_before_there_is_a_lease() {
    for files in 4..20 {
        let folder = tempfile::tempdir().expect("a folder");
        let output = by(
            &format!("export XDG_RUNTIME_DIR={}; ulimit -n {files}; exec \"$0\" \"$@\"", quoted(folder.path())),
            &["--local", "-v", "-r", &unique("few"), "true"],
        );
        let output = output.wait();
        let leads = output.stderr.contains("leads with");
        assert_eq!(output.code(), if leads { 0 } else { 125 }, "{files}: {}", output.stderr);
        let advises = output.stderr.ends_with("; raise the limit of open files (ulimit -n)\n");
        assert!(leads || advises && output.stderr.lines().count() == 1, "{files}: {}", output.stderr);
    }
}

#[test]
fn too_few_descriptors_for_a_question_are_reported_with_the_limit() {
    let output = by("ulimit -n 4; exec \"$0\" \"$@\"", &["--status", "-R", "redis://127.0.0.1:1", "-r", "few"]).wait();
    assert_eq!(output.code(), 125, "{}", output.stderr);
    let advises = output.stderr.ends_with("; raise the limit of open files (ulimit -n)\n");
    assert!(advises && output.stderr.lines().count() == 1, "{}", output.stderr);
}

#[test]
fn a_small_stack_is_refused_in_one_line() {
    let output = by("ulimit -s 64; exec \"$0\" \"$@\"", &["--local", "-r", &unique("stack"), "true"]).wait();
    assert_eq!((output.code(), output.stdout.as_str()), (125, ""), "{}", output.stderr);
    assert!(output.stderr.contains("the stack is limited to 64 KiB, "), "{}", output.stderr);
    assert!(output.stderr.contains("(ulimit -s "), "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
}

#[test]
fn a_process_table_that_is_full_while_killing() {
    let Some(user) = with_processes(12) else { return };
    let servers = Servers::settled(1, TTL);
    let resource = unique("full");
    let tree = Tree::of(&resource);
    // Until leaderrun's own helpers have ended, the table may be full too early. Only bash tries again then.
    let fill = "for i in 1 2 3 4 5 6 7 8 9; do setsid sleep 1000 & done; wait";
    let leader = by(&user, &["-R", &servers.urls(), "-t", "1s", "-r", &resource, "bash", "-c", fill]);
    tree.grows_to(10);
    leader.signal(Signal::SIGKILL);
    tree.is_gone();
    eventually("the release", || (servers.locked(&resource) == 0).then_some(()));
}

#[test]
fn proc_is_covered_while_the_command_runs() {
    if !may_make_namespaces() {
        return;
    }
    for victim in ["elector", "guard"] {
        let servers = Servers::settled(1, TTL);
        let resource = unique("proc");
        let tree = Tree::of(&resource);
        let line = format!("exec {} -m \"$0\" \"$@\"", unshare().join(" "));
        let command = "setsid sleep 1000 & (setsid sleep 1000 &); wait";
        let leader = by(&line, &["-R", &servers.urls(), "-t", "1s", "-r", &resource, "sh", "-c", command]);
        tree.grows_to(3);
        let user: &[&str] = if unshare().len() > 1 { &["--user", "--preserve-credentials"] } else { &[] };
        let mount = ["--mount", "mount", "-t", "tmpfs", "none", "/proc"];
        let mounted = Command::new("nsenter").args(["-t", &leader.pid().to_string()]).args(user).args(mount).status();
        assert!(mounted.expect("nsenter").success());
        let pid = if victim == "elector" { leader.pid() } else { leader.guard() };
        signal(pid, Signal::SIGKILL);
        tree.is_gone();
        eventually("the release", || (servers.locked(&resource) == 0).then_some(()));
    }
}

/// Builds a setuid root program, which an ordinary user's leaderrun may not kill.
fn unkillable() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("become-root");
    fs::copy("/usr/bin/setpriv", &program).expect("a copy of setpriv");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("a mode");
    let command = format!("{} --reuid 0 --clear-groups sleep 1000", quoted(&program));
    (folder, command)
}

fn end_unkillable(tree: &Tree) {
    for pid in tree.alive() {
        if crate::support::name(pid) == "sleep" {
            signal(pid, Signal::SIGKILL);
        }
    }
}

#[test]
fn a_process_that_cannot_be_killed_keeps_the_lease() {
    if !crate::support::may_become_others() {
        return;
    }
    let (_folder, root) = unkillable();
    let servers = Servers::settled(1, TTL);
    let resource = unique("root");
    let tree = Tree::of(&resource);
    let command = format!("{root} & sleep 0.2; exit 3");
    let args = ["-R", &servers.urls(), "-t", "1s", "-k", "100ms", "-r", &resource, "sh", "-c", &command];
    let mut leader = by(&as_user(""), &args);
    leader.reports("can't be killed: Operation not permitted");
    let told = Instant::now();
    eventually("two ttl", || (told.elapsed() > 2 * TTL).then_some(()));
    assert!(!leader.has_ended());
    assert_eq!(servers.locked(&resource), 1, "it is extended while something lives");
    assert_eq!(leader.stderr().lines().count(), 1, "{}", leader.stderr());
    end_unkillable(&tree);
    assert_eq!(leader.wait().code(), 3);
    assert_eq!(servers.locked(&resource), 0);
}

#[test]
fn the_guard_does_not_release_either_while_a_process_cannot_be_killed() {
    if !crate::support::may_become_others() {
        return;
    }
    let (_folder, root) = unkillable();
    let servers = Servers::settled(1, TTL);
    let resource = unique("root");
    let tree = Tree::of(&resource);
    let args = ["-R", &servers.urls(), "-t", "1s", "-r", &resource, "sh", "-c", &format!("{root} & wait")];
    let leader = by(&as_user(""), &args);
    eventually("it to be root", || tree.alive().into_iter().find(|&pid| crate::support::name(pid) == "sleep"));
    let mut listener = servers.0[0].connect();
    let mut listener = listener.as_pubsub();
    listener.subscribe(format!("leaderrun:{resource}")).expect("a subscription");
    listener.set_read_timeout(Some(2 * TTL)).expect("a time-out");
    leader.signal(Signal::SIGKILL);
    assert!(listener.get_message().is_err(), "released while something lives");
    leader.reports("can't be killed");
    end_unkillable(&tree);
    tree.is_gone();
}

/// Kills elector or guard at any moment of a short life, also between any two of their messages.
#[test]
fn a_death_between_any_two_messages_leaves_no_second_command() {
    let servers = Servers::settled(1, TTL);
    let resource = unique("any");
    let witnesses = Witnesses::new();
    let mut random = fastrand::Rng::with_seed(20261124);
    for round in 0..60 {
        let leader = Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(&["for", "3"])).spawn();
        let moment = Duration::from_micros(random.u64(0..9000));
        let began = Instant::now();
        while began.elapsed() < moment {
            std::hint::spin_loop();
        }
        let victim =
            if round % 2 == 0 { Some(leader.pid()) } else { crate::support::children(leader.pid()).first().copied() };
        if let Some(victim) = victim {
            // It may have ended by now.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim), Signal::SIGKILL);
        }
        let output = leader.wait();
        assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
        assert!(output.stderr.lines().count() <= 1, "{}", output.stderr);
    }
    let output = Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(&["for", "1"])).output();
    assert_eq!(output.code(), 0, "{}", output.stderr);
    witnesses.check();
}

#[test]
fn a_refused_namespace_is_a_clear_error() {
    if !may_make_namespaces() {
        return;
    }
    // Without the privilege, and without user namespaces.
    let line = "exec unshare -U --map-root-user sh -c 'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv \
                --bounding-set -all --inh-caps -all \"$0\" \"$@\"' \"$0\" \"$@\"";
    let output = by(line, &["--pid-namespace", "--local", "-r", &unique("refused"), "echo", "led"]).wait();
    assert_eq!((output.code(), output.stdout.as_str()), (125, ""), "{}", output.stderr);
    assert!(output.stderr.contains("--pid-namespace is refused: this needs root"), "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
}

#[test]
fn a_guard_that_dies_while_standing_by_ends_the_standby_with_a_message() {
    let resource = unique("standby");
    let mut leader = Leaderrun::new().args(["--local", "-r", &resource]).shell("echo up; exec sleep 1000");
    leader.says("up");
    let standby = Leaderrun::new().args(["--local", "-v", "-r", &resource, "true"]).spawn();
    standby.reports("stands by");
    signal(standby.guard(), Signal::SIGKILL);
    let output = standby.wait();
    assert_eq!(output.code(), 125);
    assert!(output.stderr.contains("leaderrun's guard died"), "{}", output.stderr);
}

#[test]
fn a_waiting_guard_uses_at_most_a_mebibyte_of_its_own() {
    if !may_make_namespaces() {
        return;
    }
    let resource = unique("memory");
    let run = || Leaderrun::new().readable().args(["--local", "-v", "-r", &resource]);
    let mut leader = run().shell("echo up; exec sleep 1000");
    leader.says("up");
    let standby = run().args(["true"]).spawn();
    standby.reports("stands by");
    for guard in [leader.guard(), standby.guard()] {
        let rollup = fs::read_to_string(format!("/proc/{guard}/smaps_rollup")).expect("its memory");
        let kib = |name: &str| -> u64 {
            let line = rollup.lines().find_map(|l| l.strip_prefix(name)).expect("a line");
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        let own = kib("Private_Dirty:") + kib("Private_Clean:");
        assert!(own <= 1024, "{own} KiB");
    }
}

/// As with `helper & exec leaderrun …` in an entrypoint: the helper's zombie is leaderrun's child.
#[test]
fn a_zombie_from_before_leaderrun_hides_nothing_of_a_dead_guards_tree() {
    let servers = Servers::settled(1, TTL);
    // The second one ends while the command runs. The third one is what a process substitution of bash is.
    for line in [
        "true & exec \"$0\" \"$@\"",
        "sleep 0.2 & exec \"$0\" \"$@\"",
        "exec bash -c 'exec \"$0\" \"$@\" 9< <(echo x)' \"$0\" \"$@\"",
    ] {
        let resource = unique("zombie");
        let tree = Tree::of(&resource);
        let leader = by(line, &["-R", &servers.urls(), "-t", "1s", "-r", &resource, "sh", "-c", "sleep 1000 & wait"]);
        tree.grows_to(2);
        signal(leader.guard(), Signal::SIGKILL);
        tree.is_gone();
        let output = leader.wait();
        assert_eq!(output.code(), 125, "{line}: {}", output.stderr);
        assert_eq!(servers.locked(&resource), 0, "{line}");
    }
}
