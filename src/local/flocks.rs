//! Who has a file locked, or waits for that, according to /proc/locks: to ask by locking it would keep a candidate out.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
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

/// A device by its major and minor number.
type Device = (u32, u32);

/// Returns the locks on a file.
///
/// # Errors
/// Those of fstat(2) and of reading /proc/locks.
fn on(file: &File) -> io::Result<Vec<Flock>> {
    let (inode, device) = (file.metadata()?.ino(), device_of(file));
    let locks = fs::read_to_string("/proc/locks")?;
    let is_of_file = |place: &str| {
        let (on, number) = place.rsplit_once(':')?;
        let (major, minor) = on.split_once(':')?;
        let on = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
        // Where /proc doesn't say on which device the file is, the inode number is all that there is.
        Some(number.parse() == Ok(inode) && device.is_none_or(|device| device == on))
    };
    Ok(locks
        .lines()
        .filter_map(flock)
        .filter(|(_, place)| is_of_file(place).unwrap_or_default())
        .map(|(lock, _)| lock)
        .collect())
}

/// Reads a lock and its place in a line such as `1: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF`; one that waits has `->` after
/// the number.
fn flock(line: &str) -> Option<(Flock, &str)> {
    match line.split_ascii_whitespace().skip(1).collect::<Vec<_>>().as_slice() {
        ["FLOCK", _, "WRITE", _, place, ..] => Some((Flock::Held, place)),
        ["->", "FLOCK", _, "WRITE", _, place, ..] => Some((Flock::Waits, place)),
        _ => None,
    }
}

/// Returns the device of a file as /proc/locks has it, which is that of its mount; stat(2) has another one on btrfs, for one.
/// `None` if /proc doesn't say.
fn device_of(file: &File) -> Option<Device> {
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    let mount = about.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim();
    // Paths there may have any bytes.
    device_of_mount(&String::from_utf8_lossy(&fs::read("/proc/self/mountinfo").ok()?), mount)
}

/// Finds the device of a mount in lines such as `36 35 98:0 /root /place rw - ext4 /dev/sda rw` (proc(5)).
fn device_of_mount(mounts: &str, mount: &str) -> Option<Device> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|fields| fields[0] == mount)?;
    let (major, minor) = fields.get(2)?.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_and_devices_are_found_in_their_lines() {
        let held = "1: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF";
        assert_eq!(flock(held), Some((Flock::Held, "fe:00:131")));
        assert_eq!(flock("1: -> FLOCK  ADVISORY  WRITE 4712 fe:00:131 0 EOF"), Some((Flock::Waits, "fe:00:131")));
        assert_eq!(flock("2: POSIX  ADVISORY  WRITE 4711 fe:00:131 0 EOF"), None);
        let mounts = "36 35 98:0 / / rw - ext4 /dev/root rw\n136 36 0:4112 / /run rw - tmpfs tmpfs rw\n";
        assert_eq!(device_of_mount(mounts, "136"), Some((0, 4112)));
        assert_eq!(device_of_mount(mounts, "35"), None);
    }

    #[test]
    fn a_file_that_is_locked_is_found_with_its_device() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(device_of(file.as_file()).is_some());
        assert_eq!(on(file.as_file()).expect("locks"), []);
        file.as_file().lock().expect("a lock");
        assert_eq!(on(file.as_file()).expect("locks"), [Flock::Held]);
    }
}
