//! The environment of the tests: whoever starts them, wherever, they and all that they start have the same umask and the
//! same variables.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use nix::{
    libc,
    sys::stat::{Mode, umask},
    unistd::geteuid,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the tests read themselves. Any other variable could change what a program does that they start.
const KEPT: [&str; 16] = [
    "PATH",
    "TEST_APART",
    "REDIS_SERVER",
    "UPDATE",
    "BROKEN",
    "SEED",
    "FROM",
    "SCHEDULES",
    "STATES",
    "OPERATIONS",
    "CHANGES",
    "PERIODS",
    "PAUSES",
    "PAIRS",
    "FAILOVERS",
    "CAMPAIGN_SECONDS",
];

/// What the variables begin with that Rust's tests read, and those of profilers.
const KEPT_BEGINNINGS: [&str; 3] = ["RUST_", "PROPTEST_", "LLVM_PROFILE_"];

/// The longest path of the folder for temporary files: the address of a socket has room for 107 bytes.
const LONGEST: usize = 80;

/// How many files each of our processes may open, if the limit can be raised so far.
const FILES: u64 = 8192;

static GIVEN: OnceLock<Vec<(OsString, OsString)>> = OnceLock::new();

/// Returns the variables that the tests were started with, for cargo: with others it would compile everything anew.
pub fn given_variables() -> Vec<(OsString, OsString)> {
    GIVEN.get().cloned().unwrap_or_default()
}

/// The C library calls this before main, and so before any test, in the only thread.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = settle;

extern "C" fn settle() {
    raise_limit();
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    let given: Vec<_> = env::vars_os().collect();
    let temporary = env::var_os("TMPDIR").and_then(|folder| usable(folder.as_ref()));
    let temporary = temporary.map(|folder| ("TMPDIR".into(), folder.into()));
    // SAFETY: there is no other thread.
    unsafe {
        libc::clearenv();
        for (name, value) in given.iter().filter(|(name, _)| is_kept(name)).chain(&temporary) {
            env::set_var(name, value);
        }
    }
    _ = GIVEN.set(given);
}

/// Lets us, and what we start, have more open files than a shell usually does: in one process for all tests, those that
/// have ended still hold their ports.
fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(FILES, |maximum| maximum.min(FILES));
    if current.is_some_and(|current| current < wanted) {
        _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}

fn is_kept(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    KEPT.iter().any(|kept| kept.as_bytes() == name)
        || KEPT_BEGINNINGS.iter().any(|kept| name.starts_with(kept.as_bytes()))
}

/// Returns the full path of a folder for temporary files if a socket in it can have an address, and other users can
/// enter it where tests become other users.
fn usable(folder: &Path) -> Option<PathBuf> {
    let folder = fs::canonicalize(folder).ok()?;
    let others_enter = |folder: &Path| fs::metadata(folder).is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
    let is_usable =
        folder.as_os_str().len() <= LONGEST && (!geteuid().is_root() || folder.ancestors().all(others_enter));
    is_usable.then_some(folder)
}
