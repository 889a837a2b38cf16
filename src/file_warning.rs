//! Warnings about files that other users can read or change, as ssh has them.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;

use crate::trusted_path::{PathError, follow};

/// Who can do what with a file of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileWarning {
    /// Others can read what is in it.
    Readable { secret: &'static str, file: PathBuf },
    /// Another user can change the file by this part of its path.
    Foreign { option: &'static str, part: PathBuf },
}

impl FileWarning {
    /// Returns the warnings about a file that an option names. `secret`: what others must not read in it.
    pub(crate) fn about(option: &'static str, file: &Path, secret: Option<&'static str>) -> Vec<Self> {
        let readable =
            secret.filter(|_| is_exposed(file)).map(|secret| Self::Readable { secret, file: file.to_owned() });
        let foreign = match follow(file) {
            Err(PathError::Foreign { part }) => Some(Self::Foreign { option, part }),
            _ => None,
        };
        readable.into_iter().chain(foreign).collect()
    }
}

/// Returns whether others than we can read a file. Where it belongs to another user, such as root, it may be its group that
/// lets us read it.
fn is_exposed(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| {
        let others = if found.uid() == geteuid().as_raw() { 0o044 } else { 0o004 };
        found.mode() & others != 0
    })
}

impl fmt::Display for FileWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Readable { secret, file } => {
                write!(f, "warning: others can read the {secret} in {file}; chmod 600 {file}", file = file.display())
            }
            Self::Foreign { option, part } => {
                write!(f, "warning: another user can change {}, and so what {option} says", part.display())
            }
        }
    }
}
