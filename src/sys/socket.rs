//! Pairs of connected sockets that keep packets apart, and carry descriptors and process ids (unix(7), SOCK_SEQPACKET,
//! SCM_RIGHTS, SCM_CREDENTIALS).

use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    libc,
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixCredentials, recvmsg,
        sendmsg, setsockopt, socketpair, sockopt::PassCred,
    },
    unistd::{Pid, getegid, geteuid},
};

/// How many descriptors a packet may carry.
const MOST_DESCRIPTORS: usize = 3;

/// One end of a pair.
#[derive(Debug)]
pub(crate) struct PacketSocket(OwnedFd);

/// What has come in.
#[derive(Debug)]
pub(crate) struct Packet {
    /// How many bytes; 0: the other end is gone.
    pub length: usize,
    pub descriptors: Vec<OwnedFd>,
    /// The process that it names, or that has sent it, in this process's PID namespace; only after
    /// [`PacketSocket::receive_processes`].
    pub process: Option<Pid>,
}

impl PacketSocket {
    /// Returns both ends, close-on-exec and non-blocking.
    ///
    /// # Errors
    /// Those of socketpair(2).
    pub(crate) fn pair() -> Result<(Self, Self), Errno> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((PacketSocket(a), PacketSocket(b)))
    }

    /// Sends a packet, and copies of descriptors with it, at most [`MOST_DESCRIPTORS`].
    ///
    /// # Errors
    /// EPIPE or ECONNRESET: the other end is gone. EAGAIN: it has not read for long. EBADF: there is no such
    /// descriptor.
    pub(crate) fn send(&self, bytes: &[u8], descriptors: &[RawFd]) -> Result<(), Errno> {
        let rights = [ControlMessage::ScmRights(descriptors)];
        self.send_with(bytes, if descriptors.is_empty() { &[][..] } else { &rights[..] })
    }

    /// Sends a packet that names a process. The kernel translates its id into the receiver's PID namespace.
    ///
    /// # Errors
    /// Those of [`PacketSocket::send`]; EPERM: without CAP_SYS_ADMIN over its PID namespace, a process may only name
    /// itself. ESRCH: there is no such process.
    pub(crate) fn send_naming(&self, bytes: &[u8], process: Pid) -> Result<(), Errno> {
        let (pid, uid, gid) = (process.as_raw(), geteuid().as_raw(), getegid().as_raw());
        let credentials = UnixCredentials::from(libc::ucred { pid, uid, gid });
        self.send_with(bytes, &[ControlMessage::ScmCredentials(&credentials)])
    }

    fn send_with(&self, bytes: &[u8], control: &[ControlMessage<'_>]) -> Result<(), Errno> {
        sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None).map(drop)
    }

    /// Has [`Packet::process`] received with each packet from now on.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub(crate) fn receive_processes(&self) -> Result<(), Errno> {
        setsockopt(&self.0, PassCred, &true)
    }

    /// Receives a packet into `bytes`, and the descriptors that came with it.
    ///
    /// # Errors
    /// EAGAIN: there is none yet.
    pub(crate) fn receive(&self, bytes: &mut [u8]) -> Result<Packet, Errno> {
        let mut space = cmsg_space!([RawFd; MOST_DESCRIPTORS], libc::ucred);
        let mut data = [IoSliceMut::new(bytes)];
        let got = match recvmsg::<()>(self.0.as_raw_fd(), &mut data, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::ECONNRESET) => return Ok(Packet { length: 0, descriptors: Vec::new(), process: None }),
            got => got?,
        };
        let mut packet = Packet { length: got.bytes, descriptors: Vec::new(), process: None };
        for message in got.cmsgs()? {
            match message {
                ControlMessageOwned::ScmRights(descriptors) => {
                    for fd in descriptors {
                        // SAFETY: the kernel has opened this descriptor for us in recvmsg(2) and named it here only, so
                        // nothing else owns it.
                        packet.descriptors.push(unsafe { OwnedFd::from_raw_fd(fd) });
                    }
                }
                // 0 is a process that this namespace doesn't have.
                ControlMessageOwned::ScmCredentials(sender) if sender.pid() > 0 => {
                    packet.process = Some(Pid::from_raw(sender.pid()));
                }
                _ => {}
            }
        }
        Ok(packet)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Write},
    };

    use super::*;

    #[test]
    fn a_packet_names_its_sender_once_that_is_asked_for() {
        let (ours, theirs) = PacketSocket::pair().expect("a pair");
        let mut bytes = [0; 16];
        ours.send(b"one", &[]).expect("room");
        assert_eq!(theirs.receive(&mut bytes).expect("a packet").process, None);
        theirs.receive_processes().expect("an option");
        ours.send_naming(b"two", nix::unistd::getpid()).expect("room");
        assert_eq!(theirs.receive(&mut bytes).expect("a packet").process, Some(nix::unistd::getpid()));
    }

    #[test]
    fn a_packet_arrives_whole_with_its_descriptors_and_the_end_is_seen() {
        let (ours, theirs) = PacketSocket::pair().expect("a pair");
        let mut bytes = [0; 16];
        assert_eq!(theirs.receive(&mut bytes).err(), Some(Errno::EAGAIN));

        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        ours.send(b"one", &[writer.as_raw_fd(); MOST_DESCRIPTORS]).expect("room");
        ours.send(b"two", &[]).expect("room");
        drop((ours, writer));

        let one = theirs.receive(&mut bytes).expect("a packet");
        assert_eq!(&bytes[..one.length], b"one");
        assert_eq!(one.descriptors.len(), MOST_DESCRIPTORS);
        one.descriptors.into_iter().for_each(|fd| File::from(fd).write_all(b"over").expect("an open pipe"));
        let mut through = String::new();
        reader.read_to_string(&mut through).expect("a pipe");
        assert_eq!(through, "over".repeat(MOST_DESCRIPTORS));

        let two = theirs.receive(&mut bytes).expect("a packet");
        assert_eq!((&bytes[..two.length], two.descriptors.is_empty()), (&b"two"[..], true));
        assert_eq!(theirs.receive(&mut bytes).expect("the end").length, 0);
    }
}
