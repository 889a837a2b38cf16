//! What another user of the machine can't do to `--local`, also where all users share the folder of the lock's file.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{Leaderrun, as_ordinary_user, eventually, may_become_others};
use tempfile::TempDir;

const ANOTHER: &str = "65534";

/// Returns a folder in which every user may make files, as /run/lock is.
fn shared_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).expect("a mode");
    folder
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
    let run = || Leaderrun::new().args([&format!("--local={}", lock.display()), "-r", "x", "-t", "500ms"]);
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
