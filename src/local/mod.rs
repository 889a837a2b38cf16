//! One machine: flock(2) on a file, and in it what the last leader has left: its fencing token, and what is to outlive it.
//!
//! The lock belongs to the open file description. Elector and guard both hold it, so that it is free only when both are
//! gone; the command does not inherit it.

mod observer;
mod path;
mod record;

use std::{
    fs::{self, File},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, Result};

pub use self::observer::LocalObserver;
use self::{
    path::{lock_path, open_private},
    record::Record,
};
use crate::{
    clock::{Moment, reach, wall_micros},
    lease::next_token,
    lock::{Cause, Extension, Leader, Lease, NotAcquired, ReleaseKey, ReleaseOptions, WaitOutcome},
    once_per::{Failures, Note, OncePer, told_of_success},
};

pub struct Local {
    path: PathBuf,
    file: Arc<File>,
    holder: String,
    once_per: Option<OncePer>,
}

impl Local {
    /// Opens the lock's file, and makes it if it isn't there.
    ///
    /// # Errors
    /// No folder to keep it in, or one that others can write to.
    pub fn open(resource: &str, holder: &str, once_per: Option<OncePer>) -> Result<Self> {
        let path = lock_path(resource)?;
        let file = Arc::new(open_private(&path)?);
        Ok(Local { path, file, holder: holder.to_owned(), once_per })
    }

    /// Tries to lock the file.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub fn acquire(&mut self) -> Result<Result<Lease, NotAcquired>> {
        loop {
            if !self.try_lock()? {
                let record = Record::read(&self.file);
                return Ok(Err(self.ended(&record).unwrap_or_else(|| NotAcquired {
                    cause: Cause::Taken,
                    free_in: None,
                    story: record.leader().unwrap_or_else(|| "another leads".into()),
                    leader: Some(Leader { holder: record.holder.clone(), since: record.token }),
                })));
            }
            if self.is_in_place() {
                break;
            }
            // Somebody removed the file that we have locked; a lock on the new one is what others see.
            self.file = Arc::new(open_private(&self.path)?);
        }
        let mut record = Record::read(&self.file);
        if let Some(not_acquired) = self.ended(&record).or_else(|| kept(&record)).or_else(|| self.spent(&record)) {
            let _ = self.file.unlock();
            return Ok(Err(not_acquired));
        }
        record.token = next_token(wall_micros(), record.token);
        record.holder.clone_from(&self.holder);
        record.write(&self.file).with_context(|| format!("can't write {}", self.path.display()))?;
        let (token, descriptor) = (record.token, Some(self.file.as_raw_fd()));
        Ok(Ok(Lease { token, sent: None, release_key: ReleaseKey::File, descriptor, failures: record.failures() }))
    }

    /// Waits until the lock was free for a moment, by a thread that waits for it: the kernel tells, nothing polls. A lock that
    /// is kept after its leader's end is free at a known time.
    pub async fn wait_for_change(&mut self, not_acquired: &NotAcquired) -> Result<WaitOutcome> {
        if let Some(free_in) = not_acquired.free_in {
            reach(Some(Moment::now() + free_in)).await;
            return Ok(WaitOutcome::LookAgain);
        }
        let file = self.file.clone();
        let (told, change) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .stack_size(64 * 1024)
            .spawn(move || {
                let _ = told.send(file.lock());
            })
            .context("can't start a thread to wait for the lock")?;
        change.await.context("the thread that waits for the lock ended")??;
        Ok(WaitOutcome::LookAgain)
    }

    /// The lock stays until it is given up; all that can happen to it is that somebody removes its file.
    pub fn extend(&self, note: Option<&Note>) -> Extension {
        if !self.is_in_place() {
            return Extension::Lost { story: format!("the lock's file {} was removed", self.path.display()) };
        }
        match note.map_or(Ok(()), |note| self.change(|record| record.take(note))) {
            Ok(()) => Extension::Extended {
                deadlines: None,
                release_key: ReleaseKey::File,
                step_down: self.is_asked_to_step_down(),
            },
            Err(e) => Extension::Failed { story: format!("{} can't be written: {e}", self.path.display()) },
        }
    }

    /// Unlocks the file, though the lock may be kept for a while.
    ///
    /// # Errors
    /// Why it could not be kept.
    pub fn release(&self, options: ReleaseOptions) -> Result<(), String> {
        let kept = options.hold.map_or(Ok(()), |hold| self.change(|record| record.keep(hold)));
        let _ = self.file.unlock();
        kept.map_err(|e| format!("{} can't be written: {e}", self.path.display()))
    }

    /// Somebody has asked the leader with our token to step down.
    fn is_asked_to_step_down(&self) -> bool {
        let request = observer::request_path(&self.path);
        let asked = fs::read_to_string(&request).ok().and_then(|text| text.parse().ok());
        let is_ours = asked.is_some_and(|token: u64| token == Record::read(&self.file).token);
        is_ours && fs::remove_file(request).is_ok()
    }

    fn change(&self, change: impl FnOnce(&mut Record)) -> std::io::Result<()> {
        let mut record = Record::read(&self.file);
        change(&mut record);
        record.write(&self.file)
    }

    /// The command has succeeded in this period.
    fn ended(&self, record: &Record) -> Option<NotAcquired> {
        self.once_per?;
        let (note, left) = record.done()?;
        Some(NotAcquired { cause: Cause::Done, free_in: None, story: told_of_success(note, Some(left)), leader: None })
    }

    /// The command has failed as often as it may.
    fn spent(&self, record: &Record) -> Option<NotAcquired> {
        let (attempts, Failures { count, .. }) = (self.once_per?.attempts?, record.failures());
        let story = format!("the command has failed {count} times in this period");
        (count >= attempts.into()).then_some(NotAcquired { cause: Cause::Spent, free_in: None, story, leader: None })
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
}

/// The lock is kept though its leader has ended.
fn kept(record: &Record) -> Option<NotAcquired> {
    let left = record.kept()?;
    let story = format!("{} has led and keeps the lock (--hold)", record.holder);
    Some(NotAcquired { cause: Cause::Taken, free_in: Some(left), story, leader: None })
}
