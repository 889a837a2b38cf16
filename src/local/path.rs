//! Where the lock of a resource is: a file in a folder that nobody else can write to, move or remove.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use super::{
    folder::{FolderError, private_folder},
    named,
};
use crate::{lock::Slot, regular_file};

/// The longest path component that every file system accepts, in bytes, without the extension.
const LONGEST_PART: usize = 200;

/// The file of a lock.
#[derive(Clone, Debug)]
pub(super) struct LockFile {
    path: PathBuf,
    /// The user has named it: it may be another user's, and flock(1) may lock it as well.
    is_named: bool,
}

impl LockFile {
    /// Returns the file that the user has named, or that of a resource. Opens nothing yet.
    ///
    /// # Errors
    /// There is no place for it.
    pub(super) fn find(resource: &str, named: Option<&Path>) -> Result<Self> {
        Ok(match named {
            Some(file) => LockFile { path: std::path::absolute(file)?, is_named: true },
            None => LockFile { path: lock_path(resource)?, is_named: false },
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_named(&self) -> bool {
        self.is_named
    }

    /// Opens the file, and creates it if it doesn't exist.
    ///
    /// # Errors
    /// It can't be opened, isn't a regular file, or isn't a lock's.
    pub(super) fn open(&self) -> Result<File> {
        if self.is_named { named::open(&self.path) } else { open_private(&self.path) }
    }

    /// Opens the file to read it.
    ///
    /// # Errors
    /// It can't be opened, or isn't a regular file.
    pub(super) fn open_to_read(&self) -> io::Result<File> {
        if self.is_named {
            regular_file::open(&self.path, OpenOptions::new().read(true))
        } else {
            open_existing(&self.path)
        }
    }

    /// Returns whether a file that is open is the one that others find.
    pub(super) fn is(&self, file: &File) -> bool {
        let found = if self.is_named { fs::metadata(&self.path) } else { fs::symlink_metadata(&self.path) };
        match (file.metadata(), found) {
            (Ok(held), Ok(found)) => held.ino() == found.ino() && held.dev() == found.dev(),
            _ => false,
        }
    }

    /// Returns the lock of a slot, beside that of its resource. No resource has such a path: in names, a colon is encoded.
    pub(super) fn slot(&self, slot: Slot) -> LockFile {
        let mut lock = self.clone();
        if !slot.is_only() {
            lock.path = beside(&self.path, &format!("slot{}.lock", slot.number));
        }
        lock
    }

    /// Returns the file with the runs. There is none for a lock of all users: each could only write to its own.
    pub(super) fn runs(&self) -> Option<PathBuf> {
        (!self.is_named).then(|| self.path.with_extension("runs"))
    }

    /// Returns the file in which a leader finds a request to step down.
    pub(super) fn request(&self) -> PathBuf {
        if self.is_named {
            let mut path = self.path.clone().into_os_string();
            path.push(".step-down");
            path.into()
        } else {
            self.path.with_extension("step-down")
        }
    }
}

/// Returns the path of a resource's lock. The next place is tried only where this one can't exist: if another user could
/// make us go on to the next, two leaders could have different locks.
///
/// # Errors
/// Why there is no place, or that another user can change the first one.
fn lock_path(resource: &str) -> Result<PathBuf> {
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

/// Opens a file in a folder of ours that is there already.
///
/// # Errors
/// It can't be opened, or isn't a regular file.
pub(super) fn open_existing(path: &Path) -> io::Result<File> {
    regular_file::open_own(path, OpenOptions::new().read(true))
}

/// Returns whether our user or root has made a file that is open.
///
/// # Errors
/// Those of fstat(2).
pub(super) fn is_of_us_or_root(file: &File) -> io::Result<bool> {
    Ok([0, geteuid().as_raw()].contains(&file.metadata()?.uid()))
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
