//! Small files that are read again while we lead: the list of servers, hosts(5) and resolv.conf(5).

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, oneshot};

use crate::regular_file;

/// The name of each thread that reads.
const THREAD: &str = "file-read";

/// One turn for each path that has been read.
static TURNS: Mutex<BTreeMap<PathBuf, Arc<AsyncMutex<()>>>> = Mutex::new(BTreeMap::new());

/// Reads a file on a thread of its own, since a network file system may take its time and the event loop must not wait
/// for it.
///
/// One read of a path is under way at a time, even if nobody waits for it any more: on a file system that hangs, the
/// threads would pile up.
///
/// `then` takes the contents, on that thread as well.
///
/// If no thread can be started, as in a pids cgroup that the command has used up, reads the file in place. The
/// runtime's own pool would abort the process there.
///
/// # Errors
/// Those of [`regular_file::read`].
pub(super) async fn read<T: Send + 'static>(
    path: &Path,
    then: impl FnOnce(Vec<u8>) -> T + Clone + Send + 'static,
) -> io::Result<T> {
    read_by(regular_file::read, path, then).await
}

async fn read_by<T: Send + 'static>(
    reader: impl Fn(&Path) -> io::Result<Vec<u8>> + Clone + Send + 'static,
    path: &Path,
    then: impl FnOnce(Vec<u8>) -> T + Clone + Send + 'static,
) -> io::Result<T> {
    let turn = turn(path).await;
    let (sender, receiver) = oneshot::channel();
    let on_thread = {
        let (reader, path, then) = (reader.clone(), path.to_owned(), then.clone());
        thread::Builder::new().name(THREAD.into()).stack_size(64 * 1024).spawn(move || {
            let _turn = turn;
            sender.send(reader(&path).map(then))
        })
    };
    match on_thread {
        Ok(_) => receiver.await.map_err(io::Error::other)?,
        Err(_) => reader(path).map(then),
    }
}

/// Waits until no other read of the path is under way.
async fn turn(path: &Path) -> OwnedMutexGuard<()> {
    let turn = TURNS.lock().unwrap_or_else(PoisonError::into_inner).entry(path.to_owned()).or_default().clone();
    turn.lock_owned().await
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        time::{Duration, Instant},
    };

    use nix::{sys::stat::Mode, unistd::mkfifo};
    use tokio::time::timeout;

    use super::*;

    fn reading_threads() -> usize {
        let names = fs::read_dir("/proc/self/task").expect("our threads").flatten();
        let names = names.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
        names.filter(|name| name.trim() == THREAD).count()
    }

    /// Reads as from a dead network file system: a FIFO, which hangs until somebody writes.
    fn read_fifo(path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    #[tokio::test]
    async fn a_file_that_hangs_takes_one_thread_and_is_read_once_it_no_longer_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let fifo = folder.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).expect("a FIFO");
        for _ in 0..8 {
            let reading = read_by(read_fifo, &fifo, |contents| contents);
            assert!(timeout(Duration::from_millis(5), reading).await.is_err());
        }
        // Other tests may be reading files of their own, but not for long.
        let began = Instant::now();
        while reading_threads() != 1 {
            assert!(began.elapsed() < Duration::from_secs(10), "{} threads", reading_threads());
            tokio::task::yield_now().await;
        }
        fs::write(&fifo, "for nobody").expect("the first read to take it");
        fs::remove_file(&fifo).expect("no FIFO any more");
        fs::write(&fifo, "new").expect("a file");
        assert_eq!(read(&fifo, |contents| contents).await.expect("its contents"), b"new");
    }
}
