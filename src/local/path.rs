//! Where the lock of a resource is: a file in a folder that nobody else can write to, move or remove.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use super::folder::{FolderError, private_folder};
use crate::{lock::Slot, regular_file};

/// The longest path component that every file system accepts, in bytes, without the extension.
const LONGEST_PART: usize = 200;

/// Returns the path of a resource's lock. The next place is tried only where this one can't exist: if another user could
/// make us go on to the next, two leaders could have different locks.
///
/// # Errors
/// Why there is no place, or that another user can change the first one.
pub(super) fn lock_path(resource: &str) -> Result<PathBuf> {
    in_first_place(|folder| within(folder, resource))
}

/// Returns the folder of the locks.
///
/// # Errors
/// Why there is none, or that another user can change the first one.
pub(super) fn lock_folder() -> Result<PathBuf> {
    in_first_place(Ok)
}

fn in_first_place(find: impl Fn(PathBuf) -> Result<PathBuf, FolderError>) -> Result<PathBuf> {
    let me = outer_user();
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let candidates = [
        own.map(|dir| dir.join("leaderrun")),
        Some(Path::new("/run/lock").join(format!("leaderrun-{me}"))),
        Some(std::env::temp_dir().join(format!("leaderrun-{me}"))),
    ];
    let mut no_place = None;
    for candidate in candidates.into_iter().flatten() {
        match private_folder(&candidate).and_then(&find) {
            Err(error @ FolderError::NoPlace { .. }) => {
                no_place.get_or_insert(error);
            }
            found => return Ok(found?),
        }
    }
    match no_place {
        Some(error) => Err(error.into()),
        None => bail!("there is no folder for the lock"),
    }
}

/// Returns the id by which our user is known outside of our user namespace. Root of a namespace that a user has made must not
/// take the folder of the machine's root.
fn outer_user() -> u32 {
    let me = geteuid().as_raw();
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    outside(&map, me).unwrap_or(me)
}

/// Translates an id by a map of user_namespaces(7): lines of the first id inside, the first outside, and how many follow.
fn outside(map: &str, id: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let numbers: Vec<u32> = line.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
        let [inside, outside, length] = numbers[..] else { return None };
        let at = id.checked_sub(inside).filter(|&at| at < length)?;
        outside.checked_add(at)
    })
}

/// Returns the path in `folder`: the resource's name, with %XX for what a file name can't hold, split into components
/// that fit.
fn within(mut folder: PathBuf, resource: &str) -> Result<PathBuf, FolderError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.@+".contains(&b);
    let encoded: String =
        resource.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect();
    let mut rest = encoded.as_str();
    while rest.len() > LONGEST_PART {
        let (part, after) = rest.split_at(LONGEST_PART);
        folder = private_folder(&folder.join(part))?;
        rest = after;
    }
    Ok(folder.join(format!("{rest}.lock")))
}

/// Returns the path of a slot's lock, beside that of its resource. No resource has such a path: in names, a colon is encoded.
pub(super) fn slot_path(lock: &Path, slot: Slot) -> PathBuf {
    if slot.is_only() { lock.to_owned() } else { beside(lock, &format!("slot{}.lock", slot.number)) }
}

/// Returns the path of what those who wait for any slot lock one after the other.
pub(super) fn queue_path(lock: &Path) -> PathBuf {
    beside(lock, "queue")
}

fn beside(lock: &Path, what: &str) -> PathBuf {
    let mut name = lock.file_stem().unwrap_or_default().to_owned();
    name.push(":");
    name.push(what);
    lock.with_file_name(name)
}

/// Returns the file in which a leader finds a request to step down.
pub(super) fn request_path(lock: &Path) -> PathBuf {
    lock.with_extension("step-down")
}

/// Returns the file with the runs of a resource.
pub(super) fn runs_path(lock: &Path) -> PathBuf {
    lock.with_extension("runs")
}

/// Opens a file that is there already.
///
/// # Errors
/// It can't be opened, or isn't a regular file.
pub(super) fn open_existing(path: &Path) -> io::Result<File> {
    regular_file::open_own(path, OpenOptions::new().read(true))
}

/// Opens a file that only its user can write to, and creates it if it doesn't exist.
///
/// # Errors
/// It can't be opened, or isn't a regular file.
pub(super) fn open_private(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    regular_file::open_own(path, &mut options).with_context(|| format!("can't open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(resource: &str) -> PathBuf {
        let folder = tempfile::tempdir().expect("a folder");
        let path = within(folder.path().to_owned(), resource).expect("a path");
        path.strip_prefix(folder.path()).expect("below the folder").to_owned()
    }

    #[test]
    fn a_name_with_slashes_and_dots_stays_in_the_folder() {
        assert_eq!(path_of("../../etc/x y"), Path::new("..%2F..%2Fetc%2Fx%20y.lock"));
    }

    #[test]
    fn an_id_of_a_namespace_is_translated() {
        let map = "         0       1001          1\n         1     100000      65536\n";
        assert_eq!([0, 1, 1000].map(|id| outside(map, id)), [Some(1001), Some(100_000), Some(100_999)]);
        assert_eq!(outside("0 0 4294967295", 1000), Some(1000));
        assert_eq!((outside(map, 70_000), outside("", 0)), (None, None));
    }

    #[test]
    fn different_names_have_different_locks() {
        let long = "a".repeat(512);
        assert_ne!(path_of(&long), path_of(&long[..511]));
        assert_ne!(path_of("a/b"), path_of("a%2Fb"));
        assert_ne!(path_of("a"), path_of("A"));
    }
}
