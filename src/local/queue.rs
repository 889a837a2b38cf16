//! How instances wait for any of several slots: one after the other they lock a file of their own, and only who has it locked
//! looks at the slots. So a slot that comes free wakes one of them.

use std::{fs::File, os::fd::OwnedFd, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use nix::{
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
    unistd::read,
};
use tokio::{
    io::unix::AsyncFd,
    time::{sleep, timeout},
};

use super::{
    lock::wait_to_lock,
    path::{open_private, queue_path},
};
use crate::sys::readiness;

/// A file's lock ends a moment after the event that it was closed. How many looks follow an event, each after twice the time
/// of the last one, from a millisecond.
const LOOKS: u32 = 8;

/// How long the first one in the queue trusts in events.
const LONGEST: Duration = Duration::from_secs(1);

/// An instance's place among those who wait.
pub(super) struct Queue {
    file: Arc<File>,
    /// The changes in the folder of the locks, for the first one in the queue.
    changes: Option<AsyncFd<OwnedFd>>,
    /// How many looks are still to follow the last change.
    looks: u32,
}

impl Queue {
    /// Opens the queue for the slots of the lock with this path.
    ///
    /// # Errors
    /// Its file can't be opened.
    pub(super) fn open(lock: &Path) -> Result<Self> {
        Ok(Queue { file: Arc::new(open_private(&queue_path(lock))?), changes: None, looks: 0 })
    }

    /// Waits until it is worth a look at all slots, or for this long.
    ///
    /// # Errors
    /// The system refuses a thread or an inotify(7) instance.
    pub(super) async fn wait(&mut self, lock: &Path, longest: Option<Duration>) -> Result<()> {
        let Some(changes) = &self.changes else {
            wait_to_lock(&self.file).await?;
            // Before the look that follows, which would miss nothing then.
            self.changes = Some(watch(lock)?);
            return Ok(());
        };
        if self.looks > 0 {
            self.looks -= 1;
            sleep(Duration::from_millis(1 << (LOOKS - self.looks - 1))).await;
        } else if timeout(longest.unwrap_or(LONGEST).min(LONGEST), changed(changes)).await.is_ok() {
            self.looks = LOOKS;
        }
        Ok(())
    }

    /// Lets the next one go first.
    pub(super) fn leave(&mut self) {
        if self.changes.take().is_some() {
            let _ = self.file.unlock();
        }
    }
}

/// Watches the folder of the locks. A leader that ends closes its lock's file; one that releases it and goes on touches it.
fn watch(lock: &Path) -> Result<AsyncFd<OwnedFd>> {
    let changes = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context("no inotify")?;
    let folder = lock.parent().unwrap_or(Path::new("/"));
    let flags = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_DELETE;
    changes.add_watch(folder, flags).with_context(|| format!("can't watch {}", folder.display()))?;
    readiness::watch(OwnedFd::from(changes)).context("can't wait for changes")
}

async fn changed(changes: &AsyncFd<OwnedFd>) {
    let Ok(mut ready) = changes.readable().await else { return std::future::pending().await };
    let mut events = [0; 4096];
    while read(changes.get_ref(), &mut events).is_ok_and(|length| length > 0) {}
    ready.clear_ready();
}
