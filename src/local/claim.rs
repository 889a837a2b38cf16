//! A second sign of a live leader, which nobody can remove: a listening socket with an abstract name (unix(7)).
//!
//! The lock's file can be removed or moved with its folder, as logind does with a user's folder at the end of the last
//! session. Who then finds no file makes a new one and locks that, while the old leader's tree may not be dead yet. The
//! socket is gone once elector and guard are.
//!
//! Names are random beyond the part that says which lock it is, so that nobody can take ours first. A socket of another user
//! means nothing. Processes in another network namespace don't see it: they have the file alone.

use std::{
    fs, io,
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

use crate::sys::socket_owner::owner_of_socket;

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
    ///
    /// # Errors
    /// The list of sockets can't be read.
    pub(super) fn is_disputed(&self) -> io::Result<bool> {
        // Others choose their names from any bytes.
        let sockets = fs::read("/proc/self/net/unix")?;
        let mut named = sockets.split(|&byte| byte == b'\n').filter_map(named);
        Ok(named.any(|(inode, name)| name.starts_with(&self.lock) && name != self.name && is_live(inode, name)))
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

/// Reads the inode number and the abstract name of a listener in a line such as
/// `0000000000000000: 00000002 00000000 00010000 0001 01 4711 @name`. Connections that it has not accepted have its name, too.
fn named(line: &[u8]) -> Option<(u32, &str)> {
    const ACCEPTS_CONNECTIONS: &str = "00010000";
    let mut fields = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    fields.nth(3).filter(|&flags| flags == ACCEPTS_CONNECTIONS)?;
    Some((fields.nth(2)?.parse().ok()?, fields.next()?.strip_prefix('@')?))
}

/// Returns whether a process of our user listens there. A queue that is full has no room to ask; then its socket's owner
/// counts, as far as the kernel says that.
fn is_live(inode: u32, name: &str) -> bool {
    let us = geteuid().as_raw();
    let connected = || {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(socket.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
        getsockopt(&socket, PeerCredentials)
    };
    match connected() {
        Ok(peer) => peer.uid() == us,
        Err(errno) => errno == Errno::EAGAIN && owner_of_socket(inode).map_or(true, |owner| owner == us),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        os::unix::process::CommandExt,
        process::{Child, Command, Stdio},
    };

    use nix::unistd::Uid;

    use super::*;

    #[test]
    fn a_claim_is_disputed_while_another_to_the_same_lock_stands() {
        let claim = |path: &str| Claim::make(Path::new(path)).expect("a socket");
        let (first, other) = (claim("/test of claims/a"), claim("/test of claims/b"));
        let is_disputed = |claim: &Claim| claim.is_disputed().expect("a list of sockets");
        assert!(!is_disputed(&first) && !is_disputed(&other));
        let strange = SocketAddr::from_abstract_name(b"\xff\xfe leaderrun\n").expect("a name");
        let _strange = UnixListener::bind_addr(&strange).expect("a socket");
        let second = claim("/test of claims/a");
        assert!(is_disputed(&first) && is_disputed(&second) && !is_disputed(&other));
        let copy = first.socket.try_clone().expect("a copy");
        first.withdraw();
        assert!(!is_disputed(&second), "a copy doesn't keep what was given up");
        drop((first, copy, second));
        assert!(!is_disputed(&claim("/test of claims/a")));
    }

    /// A listener with this name that has no room for a connection, of this user. Ends with its pipe.
    fn full(name: &str, user: Uid) -> Child {
        let bind = "import socket, sys\n\
            s = socket.socket(socket.AF_UNIX); s.bind('\\0' + sys.argv[1]); s.listen(0)\n\
            c = socket.socket(socket.AF_UNIX); c.connect('\\0' + sys.argv[1])\n\
            print(flush=True); sys.stdin.read()";
        let mut python = Command::new("python3");
        python
            .args(["-c", bind, name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .current_dir("/")
            .uid(user.as_raw());
        let mut listener = python.spawn().expect("python3 (tests/run installs it)");
        listener.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect("a listener");
        listener
    }

    #[test]
    fn a_full_queue_is_a_leader_of_its_user_alone() {
        let ours = Claim::make(Path::new("/test of claims/full")).expect("a socket");
        let mut users = vec![(geteuid(), true)];
        users.extend(geteuid().is_root().then_some((Uid::from_raw(65534), false)));
        for (user, disputes) in users {
            let mut listener = full(&format!("{}{:016x}", ours.lock, fastrand::u64(..)), user);
            assert_eq!(ours.is_disputed().expect("a list of sockets"), disputes, "{user}");
            listener.kill().and_then(|()| listener.wait()).expect("a child");
        }
    }
}
