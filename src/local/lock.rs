//! The lock of this machine: flock(2) on a file, whose contents are what the last leader has left.
//!
//! The lock belongs to the open file description. Elector and guard both hold it, so it is free only when both are
//! gone. The command does not inherit it.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};

use super::{
    claim::Claim,
    flocks,
    path::{LockFile, is_of_us_or_root, open_existing},
    record::Record,
    removal::Removal,
    runs,
};
use crate::{
    clock::{Moment, reach, wall_micros},
    history::EndedRun,
    lease::FencingToken,
    lock::{
        AcquireOutcome, BackendFailure, ExtendOutcome, Lease, NotAcquired, Reason, ReleaseKey, ReleaseOptions,
        Released, Slot,
    },
    once_per::{Note, OncePer},
    regular_file,
};

/// The stack size of the thread that waits for the lock.
const WAITING_STACK: usize = 64 * 1024;

/// How often to look whether a leader whose file was removed is dead.
const DYING_LOOK: Duration = Duration::from_millis(50);

/// The lock of a resource on this machine.
pub(crate) struct Local {
    place: LockFile,
    file: Arc<File>,
    holder: String,
    once_per: Option<OncePer>,
    /// While we lead, as the two below.
    claim: Option<Claim>,
    removal: Option<Removal>,
    token: Option<FencingToken>,
}

impl Local {
    /// Opens the lock's file, and creates it if it doesn't exist. `named`: the file that the user has named.
    ///
    /// # Errors
    /// There is no folder for it, or others can write to that folder. A file that was named can't be used.
    pub(crate) fn open(resource: &str, named: Option<&Path>, holder: &str, once_per: Option<&OncePer>) -> Result<Self> {
        Self::of_slot(resource, named, Slot::ONLY, holder, once_per)
    }

    /// Does the same for a slot.
    ///
    /// # Errors
    /// Those of [`Local::open`].
    pub(crate) fn of_slot(
        resource: &str,
        named: Option<&Path>,
        slot: Slot,
        holder: &str,
        once_per: Option<&OncePer>,
    ) -> Result<Self> {
        Self::at(LockFile::find(resource, named)?.slot(slot), holder, once_per)
    }

    /// Opens the lock in this file.
    ///
    /// # Errors
    /// The file can't be opened.
    pub(super) fn at(place: LockFile, holder: &str, once_per: Option<&OncePer>) -> Result<Self> {
        let file = Arc::new(place.open()?);
        let (holder, once_per) = (holder.to_owned(), once_per.cloned());
        Ok(Local { place, file, holder, once_per, claim: None, removal: None, token: None })
    }

    /// Tries to lock the file.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub(crate) fn acquire(&mut self) -> Result<AcquireOutcome> {
        if !self.lock_in_place()? {
            let record = Record::read(&self.file);
            let taken = || NotAcquired { reason: self.taken(&record), free_in: None };
            return Ok(AcquireOutcome::NotAcquired(self.succeeded(&record).unwrap_or_else(taken)));
        }
        let mut record = Record::read(&self.file);
        let closed = self.succeeded(&record).or_else(|| kept(&record)).or_else(|| self.attempts_used_up(&record));
        if let Some(not_acquired) = closed {
            let _ = self.file.unlock();
            return Ok(AcquireOutcome::NotAcquired(not_acquired));
        }
        let claim = Claim::make(self.place.path());
        // In this order, two that have locked different files can't both go on: the one whose file isn't found any more sees it.
        let is_disputed = claim.as_ref().map(Claim::is_disputed).transpose().context("can't look for other leaders")?;
        if is_disputed.unwrap_or_default() || !self.place.is(&self.file) {
            let _ = self.file.unlock();
            let dying = NotAcquired { reason: Reason::Taken(None), free_in: Some(DYING_LOOK) };
            return Ok(AcquireOutcome::NotAcquired(dying));
        }
        let token = FencingToken::next(wall_micros(), record.token.unwrap_or(FencingToken::ZERO));
        (record.token, record.slots) = (Some(token), None);
        record.holder.clone_from(&self.holder);
        record.write(&self.file).with_context(|| format!("can't write {}", self.place.path().display()))?;
        if let Some(runs) = self.place.runs() {
            // Without a record of its runs, the lock is as good.
            let _ = runs::record_start(&runs, token, &self.holder);
        }
        let descriptors = [self.file.as_raw_fd()].into_iter().chain(claim.as_ref().map(Claim::descriptor)).collect();
        (self.claim, self.removal, self.token) = (claim, Removal::watch(self.place.path()), Some(token));
        let failures = self.once_per.as_ref().map(|once| record.failures(once.key.as_ref())).unwrap_or_default();
        Ok(AcquireOutcome::Acquired(Lease {
            slot: Slot::ONLY,
            token,
            sent: None,
            release_key: ReleaseKey::File,
            descriptors,
            failures,
        }))
    }

    /// Waits until the lock has been free for a moment. A thread blocks on it, so nothing polls. A lock that is kept
    /// after its leader's end becomes free at a known time.
    ///
    /// # Errors
    /// There is no thread to wait with, or the file can't be locked.
    pub(crate) async fn wait_for_change(&mut self, not_acquired: &NotAcquired) -> Result<()> {
        if let Some(free_in) = not_acquired.free_in {
            reach(Some(Moment::now() + free_in)).await;
            return Ok(());
        }
        wait_to_lock(&self.file).await
    }

    /// Waits until the file may have been removed, or moved with its folder.
    pub(crate) async fn doubt(&self) {
        match &self.removal {
            Some(removal) => removal.suspected().await,
            None => std::future::pending().await,
        }
    }

    /// Returns the lock's file.
    pub(crate) fn path(&self) -> &Path {
        self.place.path()
    }

    /// Leaves a note if there is one. The lock itself needs no extension: it lasts until it is released or its file is
    /// removed.
    pub(crate) fn extend(&self, note: Option<&Note>) -> ExtendOutcome {
        if !self.place.is(&self.file) {
            return ExtendOutcome::Lost(BackendFailure::FileRemoved(self.path().to_owned()));
        }
        match note.map_or(Ok(()), |note| self.change(|record| record.take(note))) {
            Ok(()) => ExtendOutcome::Extended {
                deadlines: None,
                release_key: ReleaseKey::File,
                step_down: self.is_asked_to_step_down(),
            },
            Err(error) => ExtendOutcome::Failed(self.not_written(error)),
        }
    }

    /// Unlocks the file. With `--hold`, the file says how long the lock stays taken.
    ///
    /// # Errors
    /// Why the lock could not be kept.
    pub(crate) fn release(&self, options: ReleaseOptions) -> Result<Released, BackendFailure> {
        let standbys = options.run.and_then(|_| flocks::waiting(&self.file));
        let kept = match options.hold {
            Some(hold) => self.change(|record| record.keep(hold)),
            // Who locks the file next may be flock(1), which leaves no name there.
            None if self.token.is_some() && self.place.is_named() => {
                let _ = self.change(|record| record.holder.clear());
                Ok(())
            }
            None => Ok(()),
        };
        if let Some(run) = &options.run {
            self.record_end(run);
        }
        if let Some(claim) = &self.claim {
            claim.withdraw();
        }
        let _ = self.file.unlock();
        kept.map(|()| Released { standbys }).map_err(|error| self.not_written(error))
    }

    /// Records how a run has ended, if that is possible.
    pub(crate) fn record_end(&self, run: &EndedRun) {
        if let Some(runs) = self.place.runs() {
            let _ = runs::record_end(&runs, run, &self.holder);
        }
    }

    /// Returns whether our user or root has asked the leader with our token to step down. Deletes the request.
    fn is_asked_to_step_down(&self) -> bool {
        let request = self.place.request();
        // Anyone may make files beside a lock for all users.
        let trusted = open_existing(&request).ok().filter(|file| is_of_us_or_root(file).unwrap_or_default());
        let asked = trusted.and_then(|file| regular_file::contents(&file).ok());
        let asked: Option<FencingToken> = asked.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok());
        let is_ours = asked.is_some() && asked == self.token;
        if is_ours {
            // What root has asked may have to stay. It is about this leadership alone.
            let _ = fs::remove_file(request);
        }
        is_ours
    }

    fn change(&self, change: impl FnOnce(&mut Record)) -> io::Result<()> {
        let mut record = Record::read(&self.file);
        // Whoever else may write to the file may have damaged the record.
        record.token = record.token.max(self.token);
        change(&mut record);
        record.write(&self.file)
    }

    fn not_written(&self, error: io::Error) -> BackendFailure {
        BackendFailure::NotWritten { path: self.path().to_owned(), error }
    }

    /// Returns why nobody runs the command again if it has succeeded in this period.
    fn succeeded(&self, record: &Record) -> Option<NotAcquired> {
        let success = record.success(self.once_per.as_ref()?.key.as_ref())?;
        Some(NotAcquired { reason: Reason::Succeeded(success), free_in: None })
    }

    /// Returns why nobody runs the command again if it has failed as often as it may.
    fn attempts_used_up(&self, record: &Record) -> Option<NotAcquired> {
        let once = self.once_per.as_ref()?;
        let failures = record.past_failures(once.key.as_ref()).filter(|failures| once.is_used_up(failures.count))?;
        Some(NotAcquired { reason: Reason::AttemptsUsedUp(failures), free_in: None })
    }

    /// Returns who has locked the file: a leader, or those who lead in several slots.
    fn taken(&self, record: &Record) -> Reason {
        match record.slots {
            None => Reason::Taken(record.leader()),
            Some(theirs) => {
                let (node, holder) = (self.path().display().to_string(), record.holder.clone());
                Reason::OtherSlots { node, holder, theirs, ours: Slot::ONLY.of }
            }
        }
    }

    /// Tells those who wait for any slot that this one may be free: they look at changes in its folder.
    pub(super) fn touch(&self) {
        let _ = self.file.set_modified(SystemTime::now());
    }

    /// Locks the file that others find under its name. Returns false if another has locked it.
    fn lock_in_place(&mut self) -> Result<bool> {
        loop {
            match self.file.try_lock() {
                Ok(()) if self.place.is(&self.file) => return Ok(true),
                // Somebody has removed the file that we locked. Others look at the new one.
                Ok(()) => self.file = Arc::new(self.place.open()?),
                Err(fs::TryLockError::WouldBlock) => return Ok(false),
                Err(fs::TryLockError::Error(e)) => {
                    return Err(e).with_context(|| format!("can't lock {}", self.place.path().display()));
                }
            }
        }
    }
}

/// Waits until the file is locked, in a thread.
///
/// # Errors
/// There is no thread to wait with, or the file can't be locked.
pub(super) async fn wait_to_lock(file: &Arc<File>) -> Result<()> {
    let file = file.clone();
    let (locked, change) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .stack_size(WAITING_STACK)
        .spawn(move || {
            let _ = locked.send(file.lock());
        })
        .context("can't start a thread to wait for the lock")?;
    change.await.context("the thread that waits for the lock ended")??;
    Ok(())
}

/// Returns why nobody can lead yet if the lock is kept after its leader's end.
fn kept(record: &Record) -> Option<NotAcquired> {
    let left = record.kept()?;
    Some(NotAcquired { reason: Reason::Kept { holder: record.holder.clone() }, free_in: Some(left) })
}
