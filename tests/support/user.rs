//! Who runs the tests. An ordinary user can do most of root's actions in a user namespace.

use std::{
    ffi::{OsStr, OsString},
    process::{Command, Stdio},
};

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Returns whether root runs the tests; prints a note otherwise.
pub fn may_become_others() -> bool {
    if !is_root() {
        println!("not tried: only root can start processes of another user");
    }
    is_root()
}

/// Returns whether this user may give processes a higher priority, even a real-time one; prints a note otherwise.
pub fn may_raise_priorities() -> bool {
    let raised = Command::new("chrt").args(["--rr", "1", "true"]).output();
    let raised = raised.expect("chrt (tests/run installs it)").status.success();
    if !raised {
        println!("not tried: raising a priority needs CAP_SYS_NICE");
    }
    raised
}

/// Returns unshare(1) with the options that make an ordinary user root of a user namespace.
pub fn unshare() -> &'static [&'static str] {
    if is_root() { &["unshare"] } else { &["unshare", "--map-root-user"] }
}

/// Returns whether this user may create namespaces; prints a note otherwise.
pub fn may_make_namespaces() -> bool {
    let [program, options @ ..] = unshare() else { return false };
    let made = Command::new(program).args(options).args(["--mount", "--pid", "--fork", "true"]).output();
    let made = made.expect("unshare (tests/run installs it)").status.success();
    if !made {
        println!("not tried: this user may not make namespaces");
    }
    made
}

/// Returns words before a command that turn root into this ordinary user and leave another user as is.
pub fn as_ordinary_user(user: &str) -> Vec<OsString> {
    if !is_root() {
        return Vec::new();
    }
    ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"].map(Into::into).to_vec()
}

/// Returns a PATH on which leaderrun and the examples come first: the project's own path may not fit in a shell line.
pub fn path() -> OsString {
    let folders = [env!("CARGO_BIN_EXE_leaderrun").into(), super::example("sprout")];
    let folders = folders.iter().filter_map(|program| program.parent()).map(OsStr::new).map(ToOwned::to_owned);
    let others = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(folders.chain(std::env::split_paths(&others).map(Into::into))).expect("a PATH")
}

/// Returns unshare(1) with these options and a shell line that runs first; a command may follow. Returns `None` and
/// says so on stdout if the machine doesn't let this user do that.
pub fn unshare_and(options: &[&str], first: &str) -> Option<Vec<String>> {
    let line = format!("{first} && exec \"$@\"");
    let words: Vec<String> =
        [unshare(), options, &["--", "sh", "-c", &line, "sh"]].concat().into_iter().map(Into::into).collect();
    let tried = Command::new(&words[0]).args(&words[1..]).arg("true").stderr(Stdio::null()).status();
    if !tried.expect("unshare (tests/run installs it)").success() {
        println!("not tried: this machine refuses this user {}", words.join(" "));
        return None;
    }
    Some(words)
}
