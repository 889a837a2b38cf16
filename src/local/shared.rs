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

/// How often it must be found locked before that is taken for a leader: an instance that changes the number of slots, or
/// looks at it, locks it for a moment.
const MOMENTS: u32 = 4;

/// The lock of a resource, as those with several slots see it.
pub(super) struct Shared {
    place: LockFile,
    file: Arc<File>,
    slots: u16,
    holder: String,
    /// How often in a row somebody had it locked in a way that keeps us out.
    refused: u32,
}

/// What comes of the attempt to share the lock.
pub(super) enum Sharing {
    Shared,
    /// Somebody may only change the number of slots, or look at it, at this moment.
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
            return Ok(self.refused_by(Record::read(&self.file)));
        }
        let mut record = Record::read(&self.file);
        if record.slots == Some(self.slots) {
            self.refused = 0;
            return Ok(Sharing::Shared);
        }
        self.give_back();
        match self.file.try_lock() {
            Ok(()) => {
                self.refused = 0;
                (record.slots, record.holder) = (Some(self.slots), self.holder.clone());
                let written = record.write(&self.file);
                self.give_back();
                written.with_context(|| format!("can't write {}", self.path().display()))?;
                Ok(Sharing::Busy)
            }
            Err(TryLockError::WouldBlock) => Ok(self.refused_by(record)),
            Err(TryLockError::Error(error)) => Err(self.not_locked(error)),
        }
    }

    /// Returns what it means that another, who has left this record, has the file locked.
    fn refused_by(&mut self, record: Record) -> Sharing {
        self.refused += 1;
        let theirs = record.slots.unwrap_or(1);
        let is_leader = self.refused >= MOMENTS && theirs != self.slots;
        if is_leader { Sharing::OtherSlots { holder: record.holder, theirs } } else { Sharing::Busy }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_looks_for_a_moment_is_not_taken_for_a_leader_with_another_number_of_slots() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = LockFile::find("a", Some(&folder.path().join("lock"))).expect("a place");
        let (other, file) = (place.open().expect("a file"), Arc::new(place.open().expect("a file")));
        let mut shared = Shared { place, file, slots: 3, holder: "web-1".into(), refused: 0 };
        other.lock_shared().expect("a lock");
        assert!(matches!(shared.share(), Ok(Sharing::Busy)));
        other.unlock().expect("no lock");
        assert!(matches!(shared.share(), Ok(Sharing::Busy)), "it writes its number");
        assert!(matches!(shared.share(), Ok(Sharing::Shared)));
    }
}
