//! The folder of the locks: one that nobody but its user can write to, take away or replace.

use std::{
    fmt,
    fs::{self, DirBuilder},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;

use crate::trusted_path::{PathError, WRITABLE_BY_OTHERS, follow};

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
    let found = fs::symlink_metadata(&folder).map_err(|error| FolderError::new(&folder, error))?;
    let is_private = found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & WRITABLE_BY_OTHERS == 0;
    if is_private { Ok(folder) } else { Err(FolderError::Foreign { part: folder }) }
}

impl From<PathError> for FolderError {
    fn from(error: PathError) -> Self {
        match error {
            PathError::Foreign { part } => FolderError::Foreign { part },
            PathError::Unreadable { part, error } => FolderError::new(&part, error),
        }
    }
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
            FolderError::NoPlace { path, error } => write!(
                f,
                "there can't be a lock in {}: {error}; name a file in a folder that we can write to (--local=FILE)",
                path.display()
            ),
            FolderError::Failed { path, error } => {
                write!(f, "there can't be a lock in {}: {error}", path.display())
            }
            FolderError::Foreign { part } => write!(
                f,
                "there can't be a lock in {}, which another user can change; remove it if nobody needs it, or set \
                 XDG_RUNTIME_DIR to a folder that only we can change",
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
    fn a_folder_that_others_can_change_is_refused_and_one_without_a_parent_has_no_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let ours = private_folder(&path("ours")).expect("a new folder");
        assert_eq!(private_folder(&path("ours")).expect("the same"), ours);
        symlink("ours", path("link")).expect("a link");
        let is_foreign = |name: &str| matches!(private_folder(&path(name)), Err(FolderError::Foreign { .. }));
        assert!(is_foreign("link") && !is_foreign("link/new"));
        fs::set_permissions(&ours, Permissions::from_mode(0o770)).expect("a mode");
        assert!(is_foreign("ours") && is_foreign("ours/new"));
        fs::write(path("file"), "").expect("a file");
        for name in ["none/x", "file/x"] {
            let error = private_folder(&path(name)).expect_err(name);
            assert!(matches!(error, FolderError::NoPlace { .. }), "{name}");
            assert!(error.to_string().ends_with(" (--local=FILE)"), "{error}");
        }
    }
}
