//! A second sign of a live leader, which nobody can remove: a listening socket with an abstract name (unix(7)).
//!
//! The lock's file can be removed or moved with its folder, as logind does with a user's folder at the end of the last
//! session. Who then finds no file makes a new one and locks that, while the old leader's tree may not be dead yet. The
//! socket is gone once elector and guard are.
//!
//! Names are random beyond the part that says which lock it is, so that nobody can take ours first. A socket of another user
//! means nothing. Where the kernel can't say whose a socket is, one that can't be asked counts as ours: then another user can keep
//! us from leading, but never make two lead. Processes in another network namespace don't see it: they have the file alone.

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

use crate::sys::unix_listeners::unix_listeners;

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
        let names = self.names_of_our_user().map_or_else(all_names, Ok)?;
        let mut others = names.iter().filter(|name| name.starts_with(self.lock.as_bytes()) && !self.is_named(name));
        Ok(others.any(|name| is_live(name)))
    }

    /// Returns the abstract names of the sockets of our user that listen; `None` if the kernel can't say. Ours is among them, or
    /// else they aren't all.
    fn names_of_our_user(&self) -> Option<Vec<Vec<u8>>> {
        let us = geteuid().as_raw();
        let ours = unix_listeners().ok()?.into_iter().filter(|listener| listener.owner == us);
        let names: Vec<_> = ours.filter_map(|listener| Some(listener.name.strip_prefix(b"\0")?.to_vec())).collect();
        names.iter().any(|name| self.is_named(name)).then_some(names)
    }

    fn is_named(&self, name: &[u8]) -> bool {
        name == self.name.as_bytes()
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

/// Returns the abstract names of all sockets that listen.
///
/// # Errors
/// Those of reading /proc/net/unix.
fn all_names() -> io::Result<Vec<Vec<u8>>> {
    let sockets = fs::read("/proc/self/net/unix")?;
    Ok(sockets.split(|&byte| byte == b'\n').filter_map(named).map(<[u8]>::to_vec).collect())
}

/// Reads the abstract name of a listener in a line such as `0000000000000000: 00000002 00000000 00010000 0001 01 4711 @name`.
/// Connections that it has not accepted have its name, too. Others choose their names from any bytes, and a line feed in one
/// begins a line of theirs: a name that is read here may be nobody's.
fn named(line: &[u8]) -> Option<&[u8]> {
    const ACCEPTS_CONNECTIONS: &[u8] = b"00010000";
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    fields.nth(3).filter(|&flags| flags == ACCEPTS_CONNECTIONS)?;
    fields.nth(3)?.strip_prefix(b"@")
}

/// Returns whether a process of our user listens there. A queue that is full has no room to ask.
fn is_live(name: &[u8]) -> bool {
    let connected = || {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(socket.as_raw_fd(), &UnixAddr::new_abstract(name)?)?;
        getsockopt(&socket, PeerCredentials)
    };
    match connected() {
        Ok(peer) => peer.uid() == geteuid().as_raw(),
        Err(errno) => errno == Errno::EAGAIN,
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

    /// Where the kernel has no other list than /proc/net/unix.
    #[test]
    fn a_forged_line_names_nobody_who_is_alive() {
        let ours = Claim::make(Path::new("/test of claims/forged")).expect("a socket");
        let forged = format!("{}forged", ours.lock);
        let line = format!("x\n0: 2 0 00010000 1 1 4711 @{forged}");
        let strange = SocketAddr::from_abstract_name(line).expect("a name");
        let _strange = UnixListener::bind_addr(&strange).expect("a socket");
        let names = all_names().expect("a list of sockets");
        assert!([forged.as_bytes(), ours.name.as_bytes()].iter().all(|name| names.iter().any(|found| found == name)));
        assert!(is_live(ours.name.as_bytes()) && !is_live(forged.as_bytes()));
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
