//! A network and an /etc of a test's own: its name server has port 53, and its hosts, resolv.conf and nsswitch.conf are
//! the machine's. This also works for an ordinary user where users may create namespaces.
//!
//! The test runs a second time, in a separate process inside, together with all that it starts.

use std::{
    any::type_name,
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// Holds the name of the test in that process.
const VARIABLE: &str = "TEST_APART";

/// Everything in /etc except these three files stays as it was.
const SET_UP: &str = r#"
set -e
ip link set lo up
mkdir "$0/was" "$0/etc"
mount --rbind /etc "$0/was"
for entry in /etc/*; do ln -s "$0/was/${entry#/etc/}" "$0/etc/"; done
rm -f "$0/etc/hosts" "$0/etc/resolv.conf" "$0/etc/nsswitch.conf"
mount --bind "$0/etc" /etc
exec "$@""#;

/// What a test that runs apart may change.
pub struct Apart {
    folder: TempDir,
}

impl Apart {
    /// Returns a value in the process apart, where the test continues. Returns `None` in the outer process, after
    /// waiting for the inner one, or if the machine doesn't allow this. `test` is the test's own function.
    pub fn enter<T>(_test: T) -> Option<Self> {
        let (_, test) = type_name::<T>().split_once("::").expect("a function of the test file's");
        if std::env::var_os(VARIABLE).is_some_and(|name| name == test) {
            return Some(Apart { folder: folder() });
        }
        let tried = run(&["true".as_ref()]);
        if !tried.status.success() {
            println!("{test} was not tried: no network of our own: {}", String::from_utf8_lossy(&tried.stderr).trim());
            return None;
        }
        let program = std::env::current_exe().expect("our own path");
        let variable = format!("{VARIABLE}={test}");
        let words = ["setpriv", "--pdeathsig", "KILL", "env", &variable].map(OsStr::new);
        let test = [program.as_os_str(), "--exact".as_ref(), test.as_ref(), "--nocapture".as_ref()];
        let ended = run(&[&words[..], &test].concat());
        let (stdout, stderr) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert!(ended.status.success() && stdout.contains(" 1 passed;"), "{stdout}{stderr}");
        print!("{stdout}{stderr}");
        None
    }

    /// Replaces a file of /etc by a new one, as careful programs do.
    pub fn etc(&self, name: &str, text: &str) {
        let new = Path::new("/etc").join(format!("{name}.new"));
        fs::write(&new, text).expect("a file of our own /etc");
        fs::rename(&new, Path::new("/etc").join(name)).expect("a file of our own /etc");
    }

    /// Returns words that run a program as a user limited to this many processes, counted separately from those of
    /// other tests.
    pub fn limited(&self, processes: usize) -> Vec<String> {
        let user = (30_000 + std::process::id() % 30_000).to_string();
        let user = if has_other_users() {
            vec!["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"]
        } else {
            // A user's processes are counted for each namespace (since Linux 5.14).
            vec!["unshare", "--map-root-user"]
        };
        let limit = format!("--nproc={processes}");
        user.into_iter().chain(["prlimit", &limit]).map(ToOwned::to_owned).collect()
    }

    /// Copies a program to where every user can run it.
    pub fn copy(&self, program: &Path) -> PathBuf {
        let copy = self.folder.path().join(program.file_name().expect("a program's name"));
        super::leaderrun::copy(program, &copy);
        copy
    }

    /// Creates an empty folder that every user can read.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }
}

/// Creates a temporary folder that every user can read.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    folder
}

/// Returns whether other users exist: real root has them all; root of the namespace has only itself.
fn has_other_users() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").expect("our users");
    map.split_ascii_whitespace().nth(2).is_some_and(|number| number != "1")
}

/// Runs a program apart, to its end.
fn run(words: &[&OsStr]) -> Output {
    let folder = folder();
    let mut unshare = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args(["--net", "--mount", "sh", "-c", SET_UP]).arg(folder.path()).args(words);
    unshare.output().expect("unshare (tests/run installs it)")
}
