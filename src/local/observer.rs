//! Looking at a lock of this machine without locking it: not even for a moment, in which a candidate would find it taken.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::sync::Notify;

use super::{
    path::{lock_path, open_private},
    record::Record,
};
use crate::{
    clock::told_time,
    once_per::told_of_success,
    status::{ElectionStatus, LeaderStatus, NodeStatus},
};

/// The file in which the leader finds that it is asked to step down.
pub fn request_path(lock: &Path) -> PathBuf {
    lock.with_extension("step-down")
}

pub struct LocalObserver {
    resource: String,
    path: PathBuf,
    changed: Arc<Notify>,
}

impl LocalObserver {
    /// # Errors
    /// No folder for the lock.
    pub fn open(resource: &str) -> Result<Self> {
        Ok(LocalObserver { resource: resource.to_owned(), path: lock_path(resource)?, changed: Arc::default() })
    }

    pub fn look(&self) -> ElectionStatus {
        let file = File::open(&self.path).ok();
        let record = file.as_ref().map(Record::read).unwrap_or_default();
        let taken = file.as_ref().is_some_and(is_locked);
        let holds = |kept, safe_for| LeaderStatus {
            holder: record.holder.clone(),
            since: told_time(record.token),
            token: record.token,
            kept,
            safe_for,
            value: record.token.to_string(),
        };
        let kept = record.kept().filter(|_| !taken);
        let leader = kept.map(|left| holds(true, Some(left))).or_else(|| taken.then(|| holds(false, None)));
        let view = NodeStatus {
            node: self.path.display().to_string(),
            holder: leader.as_ref().map(|leader| leader.holder.clone()),
            left: kept,
            token: Some(record.token).filter(|&token| token > 0),
            failure: None,
        };
        ElectionStatus {
            resource: self.resource.clone(),
            votes: usize::from(leader.is_some()),
            leader,
            quorum: 1,
            known: true,
            done: record.done().map(|(note, left)| told_of_success(note, Some(left))),
            nodes: vec![view],
        }
    }

    /// Makes the system tell of changes to the file: a new leader writes to it, one that has ended closes it.
    ///
    /// # Errors
    /// No inotify(7) or no thread to be had.
    pub fn listen(&self) -> Result<()> {
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_CREATE;
        let changes = Inotify::init(InitFlags::IN_CLOEXEC).context("no inotify")?;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        changes.add_watch(folder, flags).with_context(|| format!("can't watch {}", folder.display()))?;
        let changed = self.changed.clone();
        let tell = move || {
            while changes.read_events().is_ok() {
                changed.notify_one();
            }
        };
        std::thread::Builder::new().stack_size(64 * 1024).spawn(tell).context("can't start a thread to watch")?;
        Ok(())
    }

    /// Waits until something in the lock's folder has changed.
    pub async fn change(&self) {
        self.changed.notified().await;
    }

    /// Asks the leader to step down.
    ///
    /// # Errors
    /// The request can't be written.
    pub fn ask_to_step_down(&self, leader: &LeaderStatus) -> Result<()> {
        let path = request_path(&self.path);
        open_private(&path)?;
        fs::write(&path, &leader.value).with_context(|| format!("can't write {}", path.display()))
    }
}

/// Whether somebody holds the file's lock, as /proc/locks has it. The device stands there in another way than stat(2) tells it
/// on some file systems; the inode's number is enough for a folder of ours.
fn is_locked(file: &File) -> bool {
    let Ok(inode) = file.metadata().map(|metadata| metadata.ino().to_string()) else { return false };
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    // "1: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF"; one that waits has "->" behind the number.
    locks.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>()).any(|fields| {
        matches!(fields.as_slice(), [_, "FLOCK", _, "WRITE", _, place, ..] if place.rsplit(':').next() == Some(&inode))
    })
}
