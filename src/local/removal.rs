//! Notices at once that the lock's file may no longer be where others look for it.

use std::{future::pending, os::fd::OwnedFd, path::Path};

use nix::{
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
    unistd::read,
};
use tokio::io::unix::AsyncFd;

use crate::sys::readiness;

/// Watches a file and the folders that lead to it.
pub(super) struct Removal(AsyncFd<OwnedFd>);

impl Removal {
    /// Starts to watch, from within the runtime; `None` if the system refuses: then the file is only looked at with each
    /// extension.
    pub(super) fn watch(path: &Path) -> Option<Self> {
        let changes = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
        // A file that is open loses a link, which is an attribute, when it is removed.
        changes.add_watch(path, AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_MOVE_SELF).ok()?;
        for folder in path.ancestors().skip(1) {
            // One that we may not read is root's, who has no reason to move it.
            let _ = changes.add_watch(folder, AddWatchFlags::IN_MOVE_SELF);
        }
        readiness::watch(OwnedFd::from(changes)).ok().map(Removal)
    }

    /// Waits until something was moved or removed.
    pub(super) async fn suspected(&self) {
        let Ok(mut ready) = self.0.readable().await else { return pending().await };
        let mut events = [0; 4096];
        while read(self.0.get_ref(), &mut events).is_ok_and(|length| length > 0) {}
        ready.clear_ready();
    }
}
