//! Reads regular files, and nothing else: a FIFO would make us wait for its writer, and a device may never end.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::libc;

/// The largest file that is read: hosts files that block advertisers have a few megabytes.
pub(crate) const LARGEST: u64 = 16 << 20;

/// Returns the contents of a file.
///
/// # Errors
/// Those of open(2) and read(2); InvalidInput for what isn't a regular file, InvalidData for one that is too large.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    contents(&open(path, OpenOptions::new().read(true))?)
}

/// Returns the contents of a file that is UTF-8.
///
/// # Errors
/// Those of [`read`]; InvalidData for other bytes.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| io::Error::new(ErrorKind::InvalidData, "it isn't UTF-8"))
}

/// Opens a file in a folder of ours, where there are no links.
///
/// # Errors
/// Those of open(2); InvalidInput for what isn't a regular file.
pub(crate) fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    open_with(path, options, libc::O_NOFOLLOW)
}

/// Opens a file.
///
/// # Errors
/// Those of open(2); InvalidInput for what isn't a regular file.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    open_with(path, options, 0)
}

/// Returns the rest of an open file.
///
/// # Errors
/// Those of read(2); InvalidData for a file that is too large.
pub(crate) fn contents(file: &File) -> io::Result<Vec<u8>> {
    let is_small = |length: u64| match length {
        ..=LARGEST => Ok(()),
        _ => Err(io::Error::new(ErrorKind::InvalidData, "it is too large")),
    };
    // To read it would take long.
    is_small(file.metadata()?.len())?;
    let mut contents = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut contents)?;
    is_small(contents.len() as u64)?;
    Ok(contents)
}

/// Opens a file without waiting for whatever it may be, and without making a terminal ours.
fn open_with(path: &Path, options: &mut OpenOptions, flags: i32) -> io::Result<File> {
    let file = options.custom_flags(flags | libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it isn't a regular file"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn only_a_regular_file_of_bounded_size_is_read_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "text").expect("a file");
        symlink(path("file"), path("link")).expect("a link");
        mkfifo(&path("fifo"), Mode::S_IRWXU).expect("a FIFO");
        File::create(path("large")).and_then(|file| file.set_len(LARGEST + 1)).expect("a file");
        assert_eq!(read_text(&path("link")).expect("its contents"), "text");
        let kind = |path: &Path| read(path).expect_err("no contents").kind();
        assert_eq!(kind(&path("fifo")), ErrorKind::InvalidInput);
        assert_eq!(kind(Path::new("/dev/zero")), ErrorKind::InvalidInput);
        assert_eq!(kind(&path("large")), ErrorKind::InvalidData);
        assert_eq!(kind(&path("none")), ErrorKind::NotFound);
        assert!(open_own(&path("file"), OpenOptions::new().read(true)).is_ok());
        assert!(open_own(&path("link"), OpenOptions::new().read(true)).is_err());
    }
}
