//! A second sign of a live leader, which nobody can remove: a listening socket with an abstract name (unix(7)).
//!
//! The lock's file can be removed or moved with its folder, as logind does with a user's folder at the end of the last
//! session. Who then finds no file makes a new one and locks that, while the old leader's tree may not be dead yet. The
//! socket is gone once elector and guard are.
//!
//! Names are random beyond the part that says which lock it is, so that nobody can take ours first. A socket of another user
//! means nothing. Processes in another network namespace don't see it: they have the file alone.

use std::{
    fs,
    os::{
        fd::{AsRawFd, RawFd},
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            fs::MetadataExt,
            net::{SocketAddr, UnixListener},
        },
    },
    path::Path,
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, Shutdown, SockFlag, SockType, UnixAddr, connect, getsockopt, shutdown, socket,
        sockopt::PeerCredentials,
    },
    unistd::geteuid,
};
use ring::digest::{SHA256, digest};

/// The socket of a leader.
#[derive(Debug)]
pub(super) struct Claim {
    socket: UnixListener,
    /// What all claims to this lock begin with.
    lock: String,
    name: String,
}

impl Claim {
    /// Claims the lock with this path; `None` where there can be no such socket.
    pub(super) fn make(path: &Path) -> Option<Self> {
        let lock = lock_name(path)?;
        let name = format!("{lock}{:016x}", fastrand::u64(..));
        let address = SocketAddr::from_abstract_name(&name).ok()?;
        Some(Claim { socket: UnixListener::bind_addr(&address).ok()?, lock, name })
    }

    /// Returns whether another leader of this user is alive. Of two that make their claims at once, each sees the other.
    pub(super) fn is_disputed(&self) -> bool {
        let sockets = fs::read_to_string("/proc/self/net/unix").unwrap_or_default();
        let names = sockets.lines().filter_map(|line| line.rsplit(' ').next()?.strip_prefix('@'));
        names.filter(|name| name.starts_with(&self.lock) && *name != self.name).any(is_live)
    }

    /// Gives the claim up, whoever else has the socket open.
    pub(super) fn withdraw(&self) {
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Returns a name for the lock with this path, which is in a folder of one user. Containers have roots of their own, and may
/// share the network.
fn lock_name(path: &Path) -> Option<String> {
    let root = fs::metadata("/").ok()?;
    let mut lock = format!("{} {} ", root.dev(), root.ino()).into_bytes();
    lock.extend(path.as_os_str().as_bytes());
    let hash = digest(&SHA256, &lock);
    let hash: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Some(format!("leaderrun-{hash}-"))
}

/// Returns whether a process of our user listens there. A queue that is full has no room to ask.
fn is_live(name: &str) -> bool {
    let connected = || {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(socket.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
        getsockopt(&socket, PeerCredentials)
    };
    match connected() {
        Ok(peer) => peer.uid() == geteuid().as_raw(),
        Err(errno) => errno == Errno::EAGAIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_disputed_while_another_to_the_same_lock_stands() {
        let claim = |path: &str| Claim::make(Path::new(path)).expect("a socket");
        let (first, other) = (claim("/test of claims/a"), claim("/test of claims/b"));
        assert!(!first.is_disputed() && !other.is_disputed());
        let second = claim("/test of claims/a");
        assert!(first.is_disputed() && second.is_disputed() && !other.is_disputed());
        let copy = first.socket.try_clone().expect("a copy");
        first.withdraw();
        assert!(!second.is_disputed(), "a copy doesn't keep what was given up");
        drop((first, copy, second));
        assert!(!claim("/test of claims/a").is_disputed());
    }
}
