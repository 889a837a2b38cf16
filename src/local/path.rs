//! Where the lock of a resource is: a file in a folder that nobody else can write to.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::regular_file;

/// The longest path component that every file system accepts, in bytes, without the extension.
const LONGEST_PART: usize = 200;

/// Returns the path of a resource's lock, in a folder that only its user can write to: nobody else can put a link
/// there.
///
/// # Errors
/// Why there is no such folder.
pub(super) fn lock_path(resource: &str) -> Result<PathBuf> {
    let me = nix::unistd::geteuid().as_raw();
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let candidates = [
        own.map(|dir| dir.join("leaderrun")),
        Some(Path::new("/run/lock").join(format!("leaderrun-{me}"))),
        Some(std::env::temp_dir().join(format!("leaderrun-{me}"))),
    ];
    let mut failed = None;
    for folder in candidates.into_iter().flatten() {
        match private_folder(&folder, me).and_then(|()| within(folder, resource, me)) {
            Ok(path) => return Ok(path),
            Err(e) => {
                failed.get_or_insert(e);
            }
        }
    }
    Err(failed.unwrap_or_else(|| anyhow::anyhow!("there is no folder for the lock")))
}

/// Returns the path in `folder`: the resource's name, with %XX for what a file name can't hold, split into components
/// that fit.
fn within(mut folder: PathBuf, resource: &str, me: u32) -> Result<PathBuf> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.@+".contains(&b);
    let encoded: String =
        resource.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect();
    let mut rest = encoded.as_str();
    while rest.len() > LONGEST_PART {
        let (part, after) = rest.split_at(LONGEST_PART);
        folder.push(part);
        private_folder(&folder, me)?;
        rest = after;
    }
    Ok(folder.join(format!("{rest}.lock")))
}

fn private_folder(path: &Path, me: u32) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => {
            return Err(e).with_context(|| format!("can't make the folder {} for the lock", path.display()));
        }
        _ => {}
    }
    let found = fs::symlink_metadata(path).with_context(|| format!("can't look at {}", path.display()))?;
    if !found.is_dir() || found.uid() != me || found.mode() & 0o022 != 0 {
        bail!("{} is not a folder that only we can write to; remove it, or set XDG_RUNTIME_DIR to one", path.display());
    }
    Ok(())
}

/// Returns the file in which a leader finds a request to step down.
pub(super) fn request_path(lock: &Path) -> PathBuf {
    lock.with_extension("step-down")
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
        let me = nix::unistd::geteuid().as_raw();
        let path = within(folder.path().to_owned(), resource, me).expect("a path");
        path.strip_prefix(folder.path()).expect("below the folder").to_owned()
    }

    #[test]
    fn a_name_with_slashes_and_dots_stays_in_the_folder() {
        assert_eq!(path_of("../../etc/x y"), Path::new("..%2F..%2Fetc%2Fx%20y.lock"));
    }

    #[test]
    fn different_names_have_different_locks() {
        let long = "a".repeat(512);
        assert_ne!(path_of(&long), path_of(&long[..511]));
        assert_ne!(path_of("a/b"), path_of("a%2Fb"));
        assert_ne!(path_of("a"), path_of("A"));
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/tmp", &link).expect("a link");
        assert!(private_folder(&link, nix::unistd::geteuid().as_raw()).is_err());
    }
}
