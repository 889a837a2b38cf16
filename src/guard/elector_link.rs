//! The guard's link to the elector: orders in, messages out, and the end of the elector, which is seen in both.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::getppid,
};

use super::protocol::{GuardMessage, LONGEST, Order, decode, encode};
use crate::sys::socket::PacketSocket;

/// How the guard lost its elector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ElectorEnd {
    Died,
    /// Its orders can't be read.
    Unintelligible(Errno),
}

/// An order that has come in.
#[derive(Debug)]
pub(super) struct ReceivedOrder {
    pub order: Order,
    /// The descriptors of a lock.
    pub lock: Vec<OwnedFd>,
}

/// The link, which stays lost once it is.
#[derive(Debug)]
pub(super) struct ElectorLink {
    socket: PacketSocket,
    end: Option<ElectorEnd>,
    /// The elector knows our processes by other ids: it is outside of our PID namespace.
    translates: bool,
}

impl ElectorLink {
    pub(super) fn new(socket: PacketSocket) -> Self {
        ElectorLink { socket, end: None, translates: getppid().as_raw() == 0 }
    }

    /// Returns how the elector was lost; `None` while it is there.
    pub(super) fn end(&self) -> Option<ElectorEnd> {
        // `tests/campaign --broken elector` must detect a guard that outlives its elector.
        self.end.filter(|_| !broken!("elector"))
    }

    /// Sends a message to the elector, if it is there. Drops the message if the elector has not read for long.
    pub(super) fn send(&mut self, message: &GuardMessage) {
        if self.end.is_none() && self.try_to_send(message) == Err(Errno::EPIPE) {
            self.end = Some(ElectorEnd::Died);
        }
    }

    fn try_to_send(&self, message: &GuardMessage) -> Result<(), Errno> {
        let packet = encode(message)?;
        match message.process().filter(|_| self.translates) {
            Some(process) => self.socket.send_naming(&packet, process),
            None => self.socket.send(&packet, &[]),
        }
    }

    /// Continues the elector, if it has stopped itself. Outside of our PID namespace it can't be reached.
    pub(super) fn continue_elector(&self) {
        let elector = getppid();
        // Its id is its own: it is our parent for as long as it is there.
        if self.end.is_none() && elector.as_raw() > 1 {
            let _ = kill(elector, Signal::SIGCONT);
        }
    }

    /// Takes the next order; `None` if there is none now, or the elector is lost.
    pub(super) fn next_order(&mut self) -> Option<ReceivedOrder> {
        let mut bytes = [0; LONGEST];
        let lost = match self.socket.receive(&mut bytes) {
            Ok(packet) if packet.length == 0 => ElectorEnd::Died,
            Ok(packet) => match decode(&bytes[..packet.length]) {
                Ok(order) => return Some(ReceivedOrder { order, lock: packet.descriptors }),
                Err(errno) => ElectorEnd::Unintelligible(errno),
            },
            Err(Errno::EAGAIN | Errno::EINTR) => return None,
            Err(errno) => ElectorEnd::Unintelligible(errno),
        };
        self.end.get_or_insert(lost);
        None
    }
}

impl AsFd for ElectorLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
