//! Small files that are read again while we lead: the list of servers, hosts(5) and resolv.conf(5).

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    thread,
};

use tokio::sync::oneshot;

/// The largest file that is read: hosts files that block advertisers have a few megabytes.
const LARGEST: u64 = 16 << 20;

/// Reads a file without holding up the event loop, on a thread of its own: a network file system may take its time.
///
/// Where no thread can be had, as in a pids cgroup that the command has used up, the file is read at once. The runtime's own pool
/// would abort the process there.
///
/// # Errors
/// Those of open(2) and read(2); InvalidData for a file that is too large.
pub async fn read(path: &Path) -> io::Result<Vec<u8>> {
    let (sender, receiver) = oneshot::channel();
    let on_thread = {
        let path = path.to_owned();
        thread::Builder::new().stack_size(64 * 1024).spawn(move || sender.send(read_now(&path)))
    };
    match on_thread {
        Ok(_) => receiver.await.map_err(io::Error::other)?,
        Err(_) => read_now(path),
    }
}

fn read_now(path: &Path) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too large"));
    }
    Ok(contents)
}
