//! Paths that nobody but root and we can make mean something else.
//!
//! A path is followed from the root, one name at a time: who can't change a folder can't change what its names mean, so that
//! what was found at one step still holds at the next. In a folder with the sticky bit, such as /tmp, others can make names
//! but not change ours.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::{libc, unistd::geteuid};

/// The mode bits that let others than the owner change a file or folder.
pub(crate) const WRITABLE_BY_OTHERS: u32 = 0o022;

/// How many links a path may have, as for the kernel.
const MOST_LINKS: usize = 40;

/// Why a path can't be trusted.
#[derive(Debug)]
pub(crate) enum PathError {
    /// Another user can change this part of it.
    Foreign { part: PathBuf },
    /// It can't be followed beyond this part.
    Unreadable { part: PathBuf, error: io::Error },
}

/// Follows a path to what it leads to. Returns it without links.
///
/// # Errors
/// Another user can change what it leads to, or it leads nowhere.
pub(crate) fn follow(path: &Path) -> Result<PathBuf, PathError> {
    let absolute = std::path::absolute(path).map_err(|error| unreadable(path, error))?;
    let mut place = PathBuf::from("/");
    // In a user namespace, the owner of the root may be nobody that it knows.
    let owners = HashSet::from([0, geteuid().as_raw(), look(&place)?.uid()]);
    let (mut ahead, mut links) = (names(&absolute), 0);
    while let Some(name) = ahead.pop() {
        if name == ".." {
            place.pop();
            continue;
        }
        let next = place.join(name);
        let found = look(&next)?;
        let is_shared = found.is_dir() && found.mode() & libc::S_ISVTX != 0;
        if !owners.contains(&found.uid()) {
            return Err(PathError::Foreign { part: next });
        }
        if found.is_symlink() {
            links += 1;
            let target = fs::read_link(&next).map_err(|error| unreadable(&next, error))?;
            if links > MOST_LINKS {
                return Err(unreadable(&next, io::Error::from_raw_os_error(libc::ELOOP)));
            }
            if target.is_absolute() {
                place = PathBuf::from("/");
            }
            ahead.extend(names(&target));
        } else if found.mode() & WRITABLE_BY_OTHERS != 0 && !is_shared {
            return Err(PathError::Foreign { part: next });
        } else {
            place = next;
        }
    }
    Ok(place)
}

/// Returns the names in a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = path.components().map(|name| name.as_os_str().to_owned()).collect();
    names.retain(|name| name != "/" && name != ".");
    names.reverse();
    names
}

fn look(path: &Path) -> Result<Metadata, PathError> {
    fs::symlink_metadata(path).map_err(|error| unreadable(path, error))
}

fn unreadable(part: &Path, error: io::Error) -> PathError {
    PathError::Unreadable { part: part.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    #[test]
    fn what_others_can_change_is_foreign_wherever_it_is_on_the_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let mode = |name: &str, mode| fs::set_permissions(path(name), Permissions::from_mode(mode)).expect("a mode");
        fs::create_dir_all(path("shared/ours")).expect("folders");
        fs::write(path("shared/file"), "").expect("a file");
        mode("shared/file", 0o644);
        symlink("shared", path("link")).expect("a link");
        symlink("/", path("root")).expect("a link");
        symlink("loop", path("loop")).expect("a link");
        let at = |name: &str| follow(&path(name));
        for (shared, good) in [(0o755, true), (0o777, false), (0o775, false), (0o1777, true)] {
            mode("shared", shared);
            for name in ["shared/ours", "link/file", "shared/ours/../../link/ours", "link"] {
                assert_eq!(at(name).is_ok(), good, "{name} in {shared:o}");
            }
        }
        assert_eq!(at("link/file").expect("a file"), path("shared/file").canonicalize().expect("a file"));
        assert_eq!(at("root").expect("the root"), Path::new("/"));
        mode("shared/file", 0o1666);
        assert!(matches!(at("link/file"), Err(PathError::Foreign { part }) if part.ends_with("shared/file")));
        mode("shared/file", 0o644);
        for nowhere in ["none/x", "shared/file/x", "loop/x"] {
            assert!(matches!(at(nowhere), Err(PathError::Unreadable { .. })), "{nowhere}");
        }
    }
}
