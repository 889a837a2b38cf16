//! What another user of the machine can't do to `--local`, also where all users share the folder of the lock's file.

use std::{
    fs::{self, File, Permissions},
    io::Read,
    os::{
        fd::AsFd,
        unix::{fs::PermissionsExt, net::UnixDatagram},
    },
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::{Leaderrun, as_ordinary_user, eventually, may_become_others, quoted, unshare_and};
use nix::sys::stat::fstat;
use tempfile::TempDir;

const ANOTHER: &str = "65534";

/// Returns a folder in which every user may make files, as /run/lock is.
fn shared_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).expect("a mode");
    folder
}

/// Returns a leaderrun with this file as its lock.
fn on(lock: &Path) -> Leaderrun {
    Leaderrun::new().args([&format!("--local={}", lock.display()), "-r", "x", "-t", "500ms"])
}

/// Returns a program as another user would start it.
fn another(program: &str) -> Command {
    let words = as_ordinary_user(ANOTHER);
    let mut command = Command::new(&words[0]);
    // What is below /root is for root alone.
    command.args(&words[1..]).arg(program).current_dir("/").env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command
}

#[test]
fn a_request_to_step_down_of_another_user_is_not_heard() {
    if !may_become_others() {
        return;
    }
    let folder = shared_folder();
    let lock = folder.path().join("lock");
    let run = || on(&lock);
    let mut leader = run().shell("echo $LEADERRUN_FENCING_TOKEN.; exec sleep 1000");
    leader.says(".");
    let request = folder.path().join("lock.step-down");
    let write = "printf %s \"$1\" >\"$2\"";
    let token = leader.stdout().trim_end_matches(".\n").to_owned();
    let written = another("sh").args(["-c", write, "sh", &token]).arg(&request).status().expect("sh");
    assert!(written.success());
    let began = Instant::now();
    eventually("some extensions", || (began.elapsed() > Duration::from_millis(700)).then_some(()));
    assert!(!leader.has_ended(), "{}", leader.stderr());
    let asked = run().args(["--step-down"]).output();
    assert_eq!(asked.code(), 125, "a request that nobody would hear: {}", asked.stderr);
    assert_eq!(fs::read_to_string(&request).expect("the request"), token, "another's file was written to");
    fs::remove_file(&request).expect("the request");
    assert_eq!(run().args(["--step-down"]).output().code(), 0);
    assert_eq!(leader.wait().code(), 76);
}

/// A listener of this user whose name begins as a leader's does and that has no room for a connection, and another socket whose name
/// breaks the line in /proc/net/unix: what follows there says that a socket of the victim's is that listener.
const FORGED_CLAIM: &str = "
import hashlib, os, socket, sys, time
root = os.stat('/')
lock = b'%d %d ' % (root.st_dev, root.st_ino) + sys.argv[1].encode()
name = 'leaderrun-%s-z' % hashlib.sha256(lock).digest()[:16].hex()
full, connection, forged = (socket.socket(socket.AF_UNIX) for _ in range(3))
full.bind('\\0' + name)
full.listen(0)
connection.connect('\\0' + name)
forged.bind('\\0x\\n0: 2 0 00010000 1 1 %s @%s' % (sys.argv[2], name))
forged.listen(1)
print('up', flush=True)
sys.stdin.read()
";

#[test]
fn a_forged_line_among_the_sockets_keeps_nobody_from_leading() {
    if !may_become_others() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let run =
        || Leaderrun::new().env("XDG_RUNTIME_DIR", folder.path()).args(["--local", "-r", "x", "-n", "echo", "led"]);
    assert_eq!(run().output().stdout, "led\n");
    let lock = folder.path().canonicalize().expect("a path").join("leaderrun/x.lock");
    let ours = UnixDatagram::unbound().expect("a socket");
    let inode = fstat(ours.as_fd()).expect("a socket").st_ino.to_string();
    let mut forger = another("python3");
    forger.args(["-c", FORGED_CLAIM]).arg(&lock).arg(inode).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut forger = forger.spawn().expect("python3 (tests/run installs it)");
    forger.stdout.as_mut().expect("a pipe").read_exact(&mut [0; 2]).expect("its sockets");
    let output = run().output();
    drop(forger.stdin.take());
    forger.wait().expect("our child");
    assert_eq!((output.code(), output.stdout.as_str()), (0, "led\n"), "{}", output.stderr);
}

/// In /proc/locks, the other file has the same inode number.
#[test]
fn a_locked_file_on_another_file_system_is_no_leader() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = quoted(folder.path());
    let mount = format!("cd {place} && mkdir -p a b && mount -t tmpfs none a && mount -t tmpfs none b");
    let Some(words) = unshare_and(&["--mount"], &mount) else { return };
    let line = "touch a/lock b/lock; chmod 666 a/lock
        [ $(stat -c %i a/lock) = $(stat -c %i b/lock) ] || { echo differ; exit; }
        for locked in b a; do
            flock $locked/lock sh -c 'echo locked; \"$0\" --local=a/lock -r x --leads another\\ program; echo $?' \"$0\"
        done";
    let run = Leaderrun::new();
    let program = run.command.get_program().to_owned();
    let script = ["sh", "-c", line].map(Into::into);
    let output = run.through(words.into_iter().map(Into::into).chain(script).chain([program]).collect()).output();
    if output.stdout == "differ\n" {
        println!("not tried: two file systems of this kernel number their files alike only by chance");
        return;
    }
    assert_eq!(output.stdout, "locked\n1\nlocked\n0\n", "{}", output.stderr);
}

/// As anyone may who can write to it. 4 TiB are more than any machine has room for in memory.
#[test]
fn a_lock_file_that_grows_without_end_neither_ends_the_leader_nor_hides_its_success() {
    for size in [200 << 20, 4_u64 << 40] {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = folder.path().join("lock");
        let run = |words: &[&str]| {
            let options = [&format!("--local={}", lock.display()), "-r", "x", "--once-for", "today"];
            Leaderrun::new().args(options).args(words)
        };
        let tokens = |output: &str| output.trim().parse::<u64>().expect("a token");
        let go = folder.path().join("go");
        let wait = "echo $LEADERRUN_FENCING_TOKEN; until [ -e \"$0\" ]; do sleep 0.01; done";
        let mut leader = run(&["sh", "-c", wait, go.to_str().expect("UTF-8")]).spawn();
        leader.says("\n");
        File::options().write(true).open(&lock).and_then(|file| file.set_len(size)).expect("a large file");
        fs::write(&go, "").expect("a file");
        let first = leader.wait();
        assert_eq!((first.code(), first.stderr.as_str()), (0, ""), "{size}");
        assert!(fs::metadata(&lock).expect("the lock").len() < 1 << 20, "{size}: blanks were written");
        let again = run(&["echo", "again"]).output();
        assert_eq!((again.code(), again.stdout.as_str()), (0, ""), "{size}: {}", again.stderr);
        let next = Leaderrun::new().args([&format!("--local={}", lock.display()), "-r", "x"]);
        let next = next.args(["sh", "-c", "echo $LEADERRUN_FENCING_TOKEN"]).output();
        assert!(tokens(&first.stdout) < tokens(&next.stdout), "{size}");

        File::options().write(true).open(&lock).and_then(|file| file.set_len(size)).expect("a large file");
        let refused = run(&["echo", "again"]).output();
        assert_eq!((refused.code(), refused.stdout.as_str()), (125, ""), "{}", refused.stderr);
        assert!(refused.stderr.contains("has contents that aren't a lock's"), "{}", refused.stderr);
    }
}

#[test]
fn a_file_with_other_json_is_not_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    for text in [r#"{"holder":"bob","shares":7}"#, r#"{"token":1,"holder":"bob"}"#, "{}", "[]"] {
        fs::write(&file, text).expect("a file");
        let output = Leaderrun::new().args([&format!("--local={}", file.display()), "-r", "x", "true"]).output();
        assert_eq!(output.code(), 125, "{text}: {}", output.stderr);
        assert_eq!(fs::read_to_string(&file).expect("the file"), text);
    }
}

#[test]
fn roots_request_to_step_down_reaches_another_users_leader() {
    if !may_become_others() {
        return;
    }
    let folder = shared_folder();
    let lock = folder.path().join("lock");
    let run = || on(&lock);
    let theirs = run();
    let program = theirs.copy_for_all_users();
    let theirs = theirs.through(as_ordinary_user(ANOTHER).into_iter().chain([program.into()]).collect());
    let mut leader = theirs.shell("echo up.; exec sleep 1000");
    leader.says("up.");
    assert_eq!(run().args(["--step-down"]).output().code(), 0);
    assert_eq!(leader.wait().code(), 76);
}
