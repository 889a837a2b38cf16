//! A lock's file that the user names, for all users and for flock(1).

use std::{
    fs::{File, OpenOptions, Permissions},
    io::ErrorKind,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use anyhow::{Context, Result, bail};

use super::record::Record;
use crate::regular_file;

/// Every user may compete.
const MODE: u32 = 0o666;

/// Opens the file, and creates it for all users if it doesn't exist.
///
/// # Errors
/// It can't be opened or written to, isn't a regular file, or holds something else: it would be overwritten.
pub(super) fn open(path: &Path) -> Result<File> {
    let file = loop {
        // Without O_CREAT first: in a folder such as /tmp, nobody may open another's file with that (proc(5),
        // protected_regular).
        match regular_file::open(path, OpenOptions::new().read(true).write(true)) {
            Err(error) if error.kind() == ErrorKind::NotFound && path.is_symlink() => {
                bail!("{} is a link that leads nowhere; give --local= a file", path.display());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let shown = path.display();
                bail!("can't open {shown}: {error}; all who use it must be able to write to it (chmod 666 {shown})");
            }
            opened => break opened.with_context(|| format!("can't open {}", path.display()))?,
        }
        let mut new = OpenOptions::new();
        match regular_file::open(path, new.read(true).write(true).create_new(true).mode(MODE)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => {
                let file = created.with_context(|| format!("can't create {}", path.display()))?;
                // Whatever the umask is.
                file.set_permissions(Permissions::from_mode(MODE))
                    .with_context(|| format!("can't let all users write to {}", path.display()))?;
                break file;
            }
        }
    };
    if !Record::fits(&file) {
        bail!("{} has contents that aren't a lock's; give --local= a file that is new or empty", path.display());
    }
    Ok(file)
}
