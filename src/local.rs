//! One machine: flock(2) on a file, and a counter of fencing tokens in it.
//!
//! The lock belongs to the open file description. Elector and guard both hold it, so that it is free only when both are
//! gone; the command does not inherit it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use nix::libc;
use serde::{Deserialize, Serialize};

use crate::{
    clock::wall_micros,
    lease::next_token,
    store::{Cause, Defeat, Extension, Lease, Proof},
};

/// The longest part of a path that every file system takes, less the ending.
const LONGEST_PART: usize = 200;

pub struct Local {
    path: PathBuf,
    file: Arc<File>,
    holder: String,
}

/// What the lock's file holds: the last leader.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    token: u64,
    holder: String,
}

impl Local {
    /// Opens the lock's file, and makes it if it isn't there.
    ///
    /// # Errors
    /// No folder to keep it in, or one that others can write to.
    pub fn open(resource: &str, holder: &str) -> Result<Self> {
        let path = lock_path(resource)?;
        let file = Arc::new(open_private(&path)?);
        Ok(Local { path, file, holder: holder.to_owned() })
    }

    /// Tries to lock the file.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub fn acquire(&mut self) -> Result<Result<Lease, Defeat>> {
        loop {
            if !self.try_lock()? {
                let leader = self.read().holder;
                let story = if leader.is_empty() { "another leads".into() } else { format!("{leader} leads") };
                return Ok(Err(Defeat { cause: Cause::Taken, free_in: None, story }));
            }
            if self.is_in_place() {
                break;
            }
            // Somebody removed the file that we have locked; a lock on the new one is what others see.
            self.file = Arc::new(open_private(&self.path)?);
        }
        let token = next_token(wall_micros(), self.read().token);
        self.write(&Record { token, holder: self.holder.clone() })
            .with_context(|| format!("can't write {}", self.path.display()))?;
        Ok(Ok(Lease { token, sent: None, proof: Proof::File, descriptor: Some(self.file.as_raw_fd()) }))
    }

    /// Waits until the lock was free for a moment, by a thread that waits for it: the kernel tells, nothing polls.
    pub async fn wait_for_change(&mut self) -> Result<()> {
        let file = self.file.clone();
        let (told, change) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .stack_size(64 * 1024)
            .spawn(move || {
                let _ = told.send(file.lock());
            })
            .context("can't start a thread to wait for the lock")?;
        change.await.context("the thread that waits for the lock ended")??;
        Ok(())
    }

    /// The lock stays until it is given up; all that can happen to it is that somebody removes its file.
    pub fn extend(&self) -> Extension {
        if self.is_in_place() {
            Extension::Extended { leash: None, proof: Proof::File }
        } else {
            Extension::Lost { story: format!("the lock's file {} was removed", self.path.display()) }
        }
    }

    pub fn release(&self) {
        let _ = self.file.unlock();
    }

    fn try_lock(&self) -> Result<bool> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(fs::TryLockError::WouldBlock) => Ok(false),
            Err(fs::TryLockError::Error(e)) => Err(e).with_context(|| format!("can't lock {}", self.path.display())),
        }
    }

    /// The file that we hold is the one that others find.
    fn is_in_place(&self) -> bool {
        match (self.file.metadata(), fs::symlink_metadata(&self.path)) {
            (Ok(held), Ok(found)) => held.ino() == found.ino() && held.dev() == found.dev(),
            _ => false,
        }
    }

    fn read(&self) -> Record {
        let mut text = String::new();
        let mut file: &File = &self.file;
        let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
        read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    fn write(&self, record: &Record) -> Result<()> {
        let mut file: &File = &self.file;
        let mut text = serde_json::to_vec(record)?;
        text.push(b'\n');
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&text)?;
        file.set_len(text.len() as u64)?;
        Ok(())
    }
}

/// The path of a resource's lock, in a folder that only its user can write to, so that nobody else can put a link there.
fn lock_path(resource: &str) -> Result<PathBuf> {
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

/// The file in `folder`: the resource's name, with what a file's name can't hold as %XX, cut into parts that fit.
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

fn open_private(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .with_context(|| format!("can't open the lock {}", path.display()))?;
    if !file.metadata()?.is_file() {
        bail!("the lock {} is not a file", path.display());
    }
    Ok(file)
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
    fn names_that_differ_have_locks_that_differ() {
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
