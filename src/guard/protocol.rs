//! What elector and guard tell each other: typed messages, one a packet, over a SOCK_SEQPACKET pair.

use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    lease::{Deadlines, FencingToken},
    lock::ReleaseKey,
};

/// From the elector to the guard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// We lead: start the command. A lock's descriptor may come with it, for the guard to hold too.
    Start { token: FencingToken, deadlines: Option<Deadlines>, release_key: ReleaseKey },
    /// The lease was extended.
    Extend { deadlines: Deadlines, release_key: ReleaseKey },
    /// The lease is lost, or is to be another's: stop the command now.
    Stop,
    /// Pass a signal on.
    Signal { signal: i32, to: Recipient },
    /// The shell has continued us: continue the command if it is stopped.
    Continue,
    /// The lease is released: end.
    End,
}

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipient {
    Command,
    Group,
}

/// From the guard to the elector.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum GuardMessage {
    /// The command runs.
    Started { pid: i32 },
    /// The guard keeps this deadlines from now on.
    Extended { deadlines: Deadlines },
    /// The command could not be started: the error number of the call that failed.
    NotStarted { errno: i32 },
    /// There was no process to be had for it: the error number of fork(2).
    NotForked { errno: i32 },
    /// The guard's timer can't be set, for this error number of timerfd_settime(2): it kills the command.
    NoTimer { errno: i32 },
    /// The command was stopped by a signal, not ended.
    Suspended,
    /// The deadlines ran out, or [`Order::Stop`] came: the command has been signalled.
    Signalled,
    /// The command's main process ended.
    Exited { ending: Ending },
    /// Nothing of the tree is left.
    Empty,
    /// Something of the tree can't be killed, for this error number.
    Unkillable { pid: i32, errno: i32 },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    Code(i32),
    Signal(i32),
}

/// The longest message; a resource and a holder of 512 bytes each fit several times.
const LONGEST: usize = 8192;

/// One end of the pair.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What came in.
#[derive(Debug)]
pub enum Received<M> {
    Message(M, Option<OwnedFd>),
    /// The other end is gone.
    End,
}

impl Channel {
    /// Both ends, close-on-exec and non-blocking.
    pub fn pair() -> Result<(Channel, Channel), Errno> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Channel(a), Channel(b)))
    }

    /// Sends a message, and a descriptor with it if there is one.
    ///
    /// # Errors
    /// EPIPE or ECONNRESET: the other end is gone. EAGAIN: it has not read for long.
    pub fn send<M: Serialize>(&self, message: &M, with: Option<RawFd>) -> Result<(), Errno> {
        let bytes = serde_json::to_vec(message).map_err(|_| Errno::EINVAL)?;
        let fds: Vec<RawFd> = with.into_iter().collect();
        let control = [ControlMessage::ScmRights(&fds)];
        let control = if fds.is_empty() { &[][..] } else { &control[..] };
        let data = [IoSlice::new(&bytes)];
        sendmsg::<()>(self.0.as_raw_fd(), &data, control, MsgFlags::MSG_NOSIGNAL, None).map(drop)
    }

    /// Receives a message.
    ///
    /// # Errors
    /// EAGAIN: there is none yet. EBADMSG: it can't be read.
    pub fn receive<M: DeserializeOwned>(&self) -> Result<Received<M>, Errno> {
        let mut bytes = [0; LONGEST];
        let mut space = nix::cmsg_space!([RawFd; 1]);
        let (length, fd) = {
            let mut data = [IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let got = match recvmsg::<()>(self.0.as_raw_fd(), &mut data, Some(&mut space), flags) {
                Err(Errno::ECONNRESET) => return Ok(Received::End),
                got => got?,
            };
            let fd = got.cmsgs()?.find_map(|c| match c {
                ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
                _ => None,
            });
            // SAFETY: the kernel has just made this descriptor for us, and nothing else knows its number.
            (got.bytes, fd.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }))
        };
        if length == 0 {
            return Ok(Received::End);
        }
        let message = serde_json::from_slice(&bytes[..length]).map_err(|_| Errno::EBADMSG)?;
        Ok(Received::Message(message, fd))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
