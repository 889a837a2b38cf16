//! The lock of a resource that has several slots. Whoever leads in one of them shares it with the others, and its file says
//! how many slots there are. So an instance with one slot, which locks it for itself, or with another number has no place
//! beside them.

use std::{
    fs::{File, TryLockError},
    os::fd::{AsRawFd, RawFd},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result};

use super::{path::LockFile, record::Record};
use crate::lock::Slot;

/// How often it must be found locked by one alone before that is taken for a leader: an instance that changes the number of
/// slots locks it for a moment.
const MOMENTS: u32 = 4;

/// The lock of a resource, as those with several slots see it.
pub(super) struct Shared {
    place: LockFile,
    file: Arc<File>,
    slots: u16,
    holder: String,
    /// How often in a row it was locked by one alone.
    refused: u32,
}

/// What comes of the attempt to share the lock.
pub(super) enum Sharing {
    Shared,
    /// Somebody changes the number of slots at this moment.
    Busy,
    /// Others lead, with another number of slots.
    OtherSlots {
        holder: String,
        theirs: u16,
    },
}

impl Shared {
    /// Opens the lock's file, and creates it if it doesn't exist.
    ///
    /// # Errors
    /// There is no folder for it, or others can write to that folder.
    pub(super) fn open(resource: &str, slots: u16, holder: &str) -> Result<Self> {
        let place = LockFile::find(resource, None)?;
        let file = Arc::new(place.open()?);
        Ok(Shared { place, file, slots, holder: holder.to_owned(), refused: 0 })
    }

    /// Tries to share the lock with those who have as many slots.
    ///
    /// # Errors
    /// The file can't be locked or written.
    pub(super) fn share(&mut self) -> Result<Sharing> {
        if !self.lock_shared()? {
            self.refused += 1;
            let record = Record::read(&self.file);
            let theirs = record.slots.unwrap_or(1);
            let is_leader = self.refused >= MOMENTS && theirs != self.slots;
            return Ok(if is_leader { Sharing::OtherSlots { holder: record.holder, theirs } } else { Sharing::Busy });
        }
        self.refused = 0;
        let mut record = Record::read(&self.file);
        if record.slots == Some(self.slots) {
            return Ok(Sharing::Shared);
        }
        self.give_back();
        match self.file.try_lock() {
            Ok(()) => {
                (record.slots, record.holder) = (Some(self.slots), self.holder.clone());
                let written = record.write(&self.file);
                self.give_back();
                written.with_context(|| format!("can't write {}", self.path().display()))?;
                Ok(Sharing::Busy)
            }
            Err(TryLockError::WouldBlock) => {
                Ok(Sharing::OtherSlots { holder: record.holder, theirs: record.slots.unwrap_or(1) })
            }
            Err(TryLockError::Error(error)) => Err(self.not_locked(error)),
        }
    }

    /// Locks the file that others find under its name, together with others. Returns false if one alone has locked it.
    fn lock_shared(&mut self) -> Result<bool> {
        loop {
            match self.file.try_lock_shared() {
                Ok(()) if self.is_in_place() => return Ok(true),
                Ok(()) => self.file = Arc::new(self.place.open()?),
                Err(TryLockError::WouldBlock) => return Ok(false),
                Err(TryLockError::Error(error)) => return Err(self.not_locked(error)),
            }
        }
    }

    pub(super) fn give_back(&self) {
        let _ = self.file.unlock();
    }

    /// Returns whether the file that we share is the one that others find.
    pub(super) fn is_in_place(&self) -> bool {
        self.place.is(&self.file)
    }

    /// Returns the lock of this slot.
    pub(super) fn slot(&self, slot: Slot) -> LockFile {
        self.place.slot(slot)
    }

    pub(super) fn path(&self) -> &Path {
        self.place.path()
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    fn not_locked(&self, error: std::io::Error) -> anyhow::Error {
        anyhow::Error::new(error).context(format!("can't lock {}", self.path().display()))
    }
}
