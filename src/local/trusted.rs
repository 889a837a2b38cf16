//! Folders that nobody but root and we can take away, replace or write to.
//!
//! A path is followed from the root, one name at a time: who can't change a folder can't change what its names mean, so that
//! what was found at one step still holds at the next. In a folder with the sticky bit, such as /tmp, others can make names
//! but not change ours.

use std::{
    collections::HashSet,
    ffi::OsString,
    fmt,
    fs::{self, DirBuilder, Metadata},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use nix::{libc, unistd::geteuid};

/// How many links a path may have, as for the kernel.
const MOST_LINKS: usize = 40;

/// Whose mode bits let others change a folder.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why there is no such folder.
#[derive(Debug)]
pub(super) enum FolderError {
    /// It can't exist there: its parent is missing, or we may not change that. Another place can be tried.
    NoPlace { path: PathBuf, error: io::Error },
    /// Another user can change this part of the path.
    Foreign { part: PathBuf },
    /// It can't be used although it could exist.
    Failed { path: PathBuf, error: io::Error },
}

/// Makes a folder that only its user can write to, unless it exists. Returns its path without links.
///
/// # Errors
/// It can't exist, or others can change it or the way to it.
pub(super) fn private_folder(path: &Path) -> Result<PathBuf, FolderError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(FolderError::Foreign { part: path.to_owned() });
    };
    let folder = follow(parent)?.join(name);
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(FolderError::new(&folder, error)),
        _ => {}
    }
    let found = look(&folder)?;
    let is_private = found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & WRITABLE_BY_OTHERS == 0;
    if is_private { Ok(folder) } else { Err(FolderError::Foreign { part: folder }) }
}

/// Follows a path to a folder, links included. Returns it without links.
fn follow(path: &Path) -> Result<PathBuf, FolderError> {
    let absolute = std::path::absolute(path).map_err(|error| FolderError::new(path, error))?;
    let mut folder = PathBuf::from("/");
    let owners = HashSet::from([0, geteuid().as_raw(), look(&folder)?.uid()]);
    let (mut ahead, mut links) = (names(&absolute), 0);
    while let Some(name) = ahead.pop() {
        if name == ".." {
            folder.pop();
            continue;
        }
        let next = folder.join(name);
        let found = look(&next)?;
        if !owners.contains(&found.uid()) {
            return Err(FolderError::Foreign { part: next });
        }
        if found.is_symlink() {
            links += 1;
            let target = fs::read_link(&next).map_err(|error| FolderError::new(&next, error))?;
            if links > MOST_LINKS {
                return Err(FolderError::new(&next, io::Error::from_raw_os_error(libc::ELOOP)));
            }
            if target.is_absolute() {
                folder = PathBuf::from("/");
            }
            ahead.extend(names(&target));
        } else if !found.is_dir() {
            return Err(FolderError::new(&next, io::Error::from_raw_os_error(libc::ENOTDIR)));
        } else if found.mode() & WRITABLE_BY_OTHERS != 0 && found.mode() & libc::S_ISVTX == 0 {
            return Err(FolderError::Foreign { part: next });
        } else {
            folder = next;
        }
    }
    Ok(folder)
}

/// Returns the names in a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = path.components().map(|name| name.as_os_str().to_owned()).collect();
    names.retain(|name| name != "/" && name != ".");
    names.reverse();
    names
}

fn look(path: &Path) -> Result<Metadata, FolderError> {
    fs::symlink_metadata(path).map_err(|error| FolderError::new(path, error))
}

impl FolderError {
    fn new(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem => FolderError::NoPlace { path, error },
            _ => FolderError::Failed { path, error },
        }
    }
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FolderError::NoPlace { path, error } | FolderError::Failed { path, error } => {
                write!(f, "there can't be a lock in {}: {error}", path.display())
            }
            FolderError::Foreign { part } => write!(
                f,
                "there can't be a lock in {}, which another user can change; remove it, or set XDG_RUNTIME_DIR to a folder \
                 that only we can change",
                part.display()
            ),
        }
    }
}

impl std::error::Error for FolderError {}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    #[test]
    fn a_folder_that_others_can_change_is_refused_wherever_it_is_on_the_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let mode = |name: &str, mode| fs::set_permissions(path(name), Permissions::from_mode(mode)).expect("a mode");
        fs::create_dir_all(path("shared/ours")).expect("folders");
        for (shared, good) in [(0o755, true), (0o777, false), (0o775, false), (0o1777, true)] {
            mode("shared", shared);
            assert_eq!(private_folder(&path("shared/ours/new")).is_ok(), good, "{shared:o}");
            assert_eq!(private_folder(&path("shared/../shared/ours")).is_ok(), good, "{shared:o}");
        }
        mode("shared/ours", 0o770);
        let is_foreign = |path: &Path| matches!(private_folder(path), Err(FolderError::Foreign { .. }));
        assert!(is_foreign(&path("shared/ours")));
        symlink("shared", path("link")).expect("a link");
        symlink("/", path("link to the root")).expect("a link");
        symlink("loop", path("loop")).expect("a link");
        assert_eq!(
            private_folder(&path("link/other")).expect("a folder"),
            path("shared/other").canonicalize().expect("it")
        );
        assert!(is_foreign(&path("link")), "a link isn't a folder of ours");
        assert!(private_folder(&path("link to the root/no such folder/x")).is_err());
        assert!(matches!(private_folder(&path("loop/x")), Err(FolderError::Failed { .. })));
        for nowhere in ["none/x", "shared/../none/x"] {
            assert!(matches!(private_folder(&path(nowhere)), Err(FolderError::NoPlace { .. })), "{nowhere}");
        }
    }
}
