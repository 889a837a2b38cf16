//! Who has locked a file, and who waits for that, as the kernel lists it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
};

/// A lock on a file, as flock(2) takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flock {
    Held,
    Waits,
}

/// Returns whether somebody holds the file's lock.
pub(super) fn is_held(file: &File) -> bool {
    on(file).is_ok_and(|flocks| flocks.contains(&Flock::Held))
}

/// Returns how many wait for the file's lock; `None` if that can't be seen.
pub(super) fn waiting(file: &File) -> Option<u32> {
    let flocks = on(file).ok()?;
    u32::try_from(flocks.into_iter().filter(|flock| *flock == Flock::Waits).count()).ok()
}

/// Returns how many have the file's lock or wait for it; `None` if that can't be seen.
pub(super) fn held_or_waiting(file: &File) -> Option<u32> {
    u32::try_from(on(file).ok()?.len()).ok()
}

/// Returns the locks on a file according to /proc/locks. On some file systems /proc/locks gives another device than
/// stat(2); in a folder of ours the inode number is enough.
///
/// # Errors
/// Those of fstat(2) and of reading /proc/locks.
fn on(file: &File) -> io::Result<Vec<Flock>> {
    let inode = file.metadata()?.ino().to_string();
    // "1: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF"; one that waits has "->" after the number.
    let flock = |line: &str| match line.split_ascii_whitespace().skip(1).collect::<Vec<_>>().as_slice() {
        ["FLOCK", _, "WRITE", _, place, ..] if place.rsplit(':').next() == Some(&inode) => Some(Flock::Held),
        ["->", "FLOCK", _, "WRITE", _, place, ..] if place.rsplit(':').next() == Some(&inode) => Some(Flock::Waits),
        _ => None,
    };
    Ok(fs::read_to_string("/proc/locks")?.lines().filter_map(flock).collect())
}
