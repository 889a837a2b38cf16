//! `--local`: the same promises on one machine, without a server.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::support::{Leaderrun, Tree, Witnesses, unique};
use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};
use tempfile::TempDir;

/// A separate runtime directory for each test.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Machine(tempfile::tempdir().expect("a folder"))
    }

    fn run(&self, resource: &str) -> Leaderrun {
        Leaderrun::new().env("XDG_RUNTIME_DIR", self.0.path()).args(["--local", "--resource", resource])
    }

    fn lock(&self, resource: &str) -> PathBuf {
        self.0.path().join("leaderrun").join(format!("{resource}.lock"))
    }
}

#[test]
fn instances_lead_one_after_another_with_increasing_tokens() {
    let machine = Machine::new();
    let witnesses = Witnesses::new();
    let start = |_| machine.run("x").args(witnesses.command(&["for", "10"])).spawn();
    let running: Vec<_> = (0..20).map(start).collect();
    for instance in running {
        let output = instance.wait();
        assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
    }
    assert_eq!(witnesses.check().len(), 20);
}

#[test]
fn the_token_increases_even_when_the_clock_is_behind_the_file() {
    let machine = Machine::new();
    machine.run("x").args(["true"]).output();
    fs::write(machine.lock("x"), r#"{"token":9000000000000000,"holder":"old"}"#).expect("a file");
    let output = machine.run("x").args(["sh", "-c", "echo $LEADERRUN_FENCING_TOKEN"]).output();
    assert_eq!(output.stdout, "9000000000000001\n", "{}", output.stderr);
}

#[test]
fn a_second_instance_that_does_not_wait_exits_with_75() {
    let machine = Machine::new();
    let mut leader = machine.run("x").shell("echo up; sleep 60");
    leader.says("up");
    let output = machine.run("x").args(["--try", "echo", "led"]).output();
    assert_eq!((output.code(), output.stdout.as_str(), output.stderr.as_str()), (75, "", ""));
    let output = machine.run("x").args(["--wait", "100ms", "-E", "3", "echo", "led"]).output();
    assert_eq!((output.code(), output.stdout.as_str()), (3, ""));
    let output = machine.run("y").args(["--try", "echo", "led"]).output();
    assert_eq!(output.stdout, "led\n", "another resource is free");
    leader.signal(Signal::SIGTERM);
    assert_eq!(leader.wait().code(), 143);
}

#[test]
fn a_killed_elector_or_guard_frees_the_lock_only_once_the_command_is_dead() {
    let machine = Machine::new();
    let witnesses = Witnesses::new();
    let start = || machine.run("x").args(witnesses.command(&["ignore"])).spawn();
    let mut leader = start();
    for leaderships in 1..=6 {
        witnesses.started(leaderships);
        let standby = start();
        let victim = if leaderships % 2 == 0 { leader.pid() } else { leader.guard() };
        crate::support::signal(victim, Signal::SIGKILL);
        leader.wait();
        leader = standby;
    }
    witnesses.started(7);
    witnesses.check();
}

/// flock(2): the lock is free once the last descriptor of the open file is closed, so both processes must be gone.
#[test]
fn elector_and_guard_both_hold_the_lock_and_the_command_does_not() {
    if !crate::support::may_make_namespaces() {
        return;
    }
    let machine = Machine::new();
    let mut leader = machine.run("x").readable().shell("echo up; exec sleep 60");
    leader.says("up");
    let holds = |pid: i32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").flatten();
        open.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|to| to == machine.lock("x"))
    };
    let guard = leader.guard();
    assert!(holds(leader.pid()) && holds(guard));
    assert!(!holds(crate::support::children(guard)[0]));
}

#[test]
fn a_standby_does_not_poll() {
    let machine = Machine::new();
    let mut leader = machine.run("x").shell("echo up; sleep 60");
    leader.says("up");
    let standby = machine.run("x").args(["-v", "true"]).spawn();
    standby.reports("stands by");
    let switches = || {
        let status = fs::read_to_string(format!("/proc/{}/status", standby.pid())).expect("its status");
        status.lines().find(|l| l.starts_with("voluntary_ctxt_switches")).expect("a count").to_owned()
    };
    crate::support::eventually("it to sleep", || (crate::support::state(standby.pid()) == 'S').then_some(()));
    let before = switches();
    let began = std::time::Instant::now();
    crate::support::eventually("half a second", || (began.elapsed().as_millis() > 500).then_some(()));
    assert_eq!(switches(), before);
}

#[test]
fn the_command_does_not_inherit_the_lock() {
    let machine = Machine::new();
    let list = "ls /proc/self/fd";
    let ours = machine.run("x").args(["sh", "-c", list]).output();
    let without = Command::new("sh").args(["-c", list]).stdin(Stdio::null()).output().expect("a shell");
    assert_eq!(ours.stdout, String::from_utf8_lossy(&without.stdout));
}

#[test]
fn the_lock_file_is_private_and_named_after_the_resource() {
    let machine = Machine::new();
    machine.run("a/b").args(["true"]).output();
    let lock = machine.lock("a%2Fb");
    let found = fs::symlink_metadata(&lock).expect("the lock's file");
    assert!(found.is_file());
    assert_eq!(found.mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(lock.parent().expect("its folder")).expect("it is there").mode() & 0o777, 0o700);
}

#[test]
fn links_of_another_user_are_not_followed() {
    let machine = Machine::new();
    let target = machine.0.path().join("target");
    fs::create_dir(machine.0.path().join("leaderrun")).expect("a folder");
    symlink(&target, machine.lock("x")).expect("a link");
    let output = machine.run("x").env("TMPDIR", machine.0.path()).args(["true"]).output();
    assert_eq!(output.code(), 125, "{}", output.stderr);
    assert!(!target.exists());

    let machine = Machine::new();
    let elsewhere = tempfile::tempdir().expect("a folder");
    symlink(elsewhere.path(), machine.0.path().join("leaderrun")).expect("a link");
    machine.run(&unique("linked")).args(["true"]).output();
    assert_eq!(fs::read_dir(elsewhere.path()).expect("it").count(), 0);
}

#[test]
fn removing_the_lock_file_ends_the_command() {
    let machine = Machine::new();
    let tree = Tree::of("x-removed");
    let mut leader = machine.run("x-removed").args(["--ttl", "500ms"]).shell("echo up; sleep 60");
    leader.says("up");
    fs::remove_file(machine.lock("x-removed")).expect("the file");
    let output = leader.wait();
    assert_eq!(output.code(), 76);
    assert!(output.stderr.contains("lost the lease: the lock's file"), "{}", output.stderr);
    tree.is_gone();
}

#[test]
fn without_a_runtime_directory_it_finds_another_place() {
    for variable in [None, Some(""), Some("/no/such/folder")] {
        let resource = unique("place");
        let mut run = Leaderrun::new().args(["--local", "--resource", &resource, "echo", "led"]);
        match variable {
            Some(value) => run = run.env("XDG_RUNTIME_DIR", value),
            None => drop(run.command.env_remove("XDG_RUNTIME_DIR")),
        }
        assert_eq!(run.output().stdout, "led\n");
        let me = nix::unistd::geteuid();
        let places = [Path::new("/run/lock"), &std::env::temp_dir()].map(|p| p.join(format!("leaderrun-{me}")));
        let lock = places.iter().map(|p| p.join(format!("{resource}.lock"))).find(|p| p.exists()).expect("a lock");
        fs::remove_file(lock).expect("our lock");
    }
}

/// Opening a FIFO waits for its other end.
#[test]
fn a_fifo_as_the_request_to_step_down_holds_nobody_up() {
    let machine = Machine::new();
    let mut leader = machine.run("x").args(["--ttl", "500ms", "-vv"]).shell("echo up; exec sleep 60");
    leader.says("up");
    let request = machine.lock("x").with_extension("step-down");
    mkfifo(&request, Mode::S_IRWXU).expect("a FIFO");
    let began = std::time::Instant::now();
    crate::support::eventually("some extensions", || (began.elapsed().as_millis() > 500).then_some(()));
    let asked = machine.run("x").args(["--step-down"]).output();
    assert_eq!(asked.code(), 125);
    assert!(asked.stderr.contains("it isn't a regular file"), "{}", asked.stderr);
    fs::remove_file(&request).expect("the FIFO");
    assert_eq!(machine.run("x").args(["--step-down"]).output().code(), 0);
    assert_eq!(leader.wait().code(), 76);
}

#[test]
fn a_fifo_as_the_lock_holds_nobody_up() {
    let machine = Machine::new();
    machine.run("x").args(["true"]).output();
    fs::remove_file(machine.lock("x")).expect("the lock");
    mkfifo(&machine.lock("x"), Mode::S_IRWXU).expect("a FIFO");
    let run = machine.run("x").args(["true"]).output();
    assert_eq!(run.code(), 125);
    assert!(run.stderr.contains("it isn't a regular file"), "{}", run.stderr);
    assert_eq!(machine.run("x").args(["--status"]).output().code(), 1);
}

/// Who can change the folder, or one on the way to it, could move the lock away, and a second leader would start beside
/// the first. That another place is free doesn't help: the first instance may already have its lock here.
#[test]
fn a_folder_that_another_user_can_change_is_an_error_and_no_other_is_tried() {
    if !crate::support::may_become_others() {
        return;
    }
    const ANOTHER: Option<u32> = Some(65534);
    let resource = unique("foreign");
    let refuses = |machine: &Machine, part: &Path| {
        let output = machine.run(&resource).env("TMPDIR", "/tmp").args(["-v", "echo", "led"]).output();
        assert_eq!((output.code(), output.stdout.as_str()), (125, ""), "{}", output.stderr);
        assert!(
            output.stderr.contains(&format!("{}, which another user can change", part.display())),
            "{}",
            output.stderr
        );
    };
    let machine = Machine::new();
    let folder = machine.0.path().join("leaderrun");
    fs::set_permissions(machine.0.path(), fs::Permissions::from_mode(0o1777)).expect("a mode");
    fs::create_dir(&folder).expect("a folder");
    chown(&folder, ANOTHER, None).expect("another owner");
    refuses(&machine, &folder);
    let machine = Machine::new();
    fs::create_dir(machine.0.path().join("leaderrun")).expect("a folder");
    chown(machine.0.path(), ANOTHER, None).expect("another owner");
    refuses(&machine, machine.0.path());
    for place in ["/run/lock/leaderrun-0", "/tmp/leaderrun-0"] {
        assert!(!Path::new(place).join(format!("{resource}.lock")).exists(), "{place}");
    }
}

/// The old leader's command takes its time to stop. Its successor finds no file, and makes a new one.
#[test]
fn after_the_folder_is_gone_the_next_leader_waits_until_the_first_tree_is_dead() {
    for killed in [false, true] {
        let (machine, witnesses) = (Machine::new(), Witnesses::new());
        let run = || machine.run("x").args(["--ttl", "60s", "-k", "1s"]);
        let leader = run().args(witnesses.command(&["ignore"])).spawn();
        witnesses.started(1);
        let folder = machine.0.path().join("leaderrun");
        let guard = leader.guard();
        if killed {
            crate::support::signal(guard, Signal::SIGSTOP);
            fs::rename(&folder, machine.0.path().join("moved")).expect("a moved folder");
            crate::support::signal(leader.pid(), Signal::SIGKILL);
        } else {
            fs::remove_dir_all(&folder).expect("no folder");
        }
        let next = run().args(witnesses.command(&["drain", "1"])).spawn();
        let began = std::time::Instant::now();
        crate::support::eventually("a tree that lives on", || (began.elapsed().as_millis() > 300).then_some(()));
        assert_eq!(witnesses.all().len(), 1, "a second leader beside the first");
        if killed {
            crate::support::signal(guard, Signal::SIGCONT);
        }
        witnesses.started(2);
        assert!(began.elapsed().as_secs() < 10, "the leader learns of it before the next extension");
        witnesses.stop_last();
        assert_eq!(next.wait().code(), 0);
        witnesses.check();
    }
}

#[test]
fn verbose_messages_and_the_status_name_the_file() {
    let machine = Machine::new();
    let lock = machine.lock("x").canonicalize().unwrap_or_else(|_| machine.lock("x")).display().to_string();
    let output = machine.run("x").args(["-v", "true"]).output();
    assert!(output.stderr.contains(&format!("the lock is {lock}\n")), "{}", output.stderr);
    let taken = Leaderrun::new().env("XDG_RUNTIME_DIR", machine.0.path()).args(["--local", "-r", "x"]);
    let mut leader = taken.shell("echo up; sleep 60");
    leader.says("up");
    let output = machine.run("x").args(["-n", "-v", "true"]).output();
    assert!(output.stderr.contains(&format!("the lock is {lock}\n")), "a standby's: {}", output.stderr);
    assert!(machine.run("x").args(["--status"]).output().stdout.contains(&lock));
}
