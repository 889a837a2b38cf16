//! The messages between elector and guard: typed, one per packet.

use std::time::Duration;

use nix::{errno::Errno, unistd::Pid};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    clock::Moment,
    lease::{Deadlines, FencingToken},
    lock::{ReleaseKey, Slot},
    sys::wait::Ending,
};

/// The longest message, in bytes; a resource and a holder of 512 bytes each fit several times.
pub(super) const LONGEST: usize = 8192;

/// From the elector to the guard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// We lead: start the command. The descriptors of a lock may come with it, for the guard to hold too.
    Start { slot: Slot, token: FencingToken, deadlines: Option<Deadlines>, release_key: ReleaseKey },
    /// The lease was extended. The guard answers, also if there are no deadlines: that shows that it works.
    Extend { deadlines: Option<Deadlines>, release_key: ReleaseKey },
    /// Stop the command now, and kill it after this time: the lease is lost or is to go to another, or the command has run for
    /// too long. A second order may leave less time.
    Stop { kill_after: Duration },
    /// Pass a signal on, unless its sender has sent it to the command as well.
    Signal { signal: i32, to: Recipient, from: Sender },
    /// The elector knows of this suspension. It goes on: it has been continued, or has not stopped itself.
    Told { suspension: u32 },
    /// The elector has been continued: continue the command, unless it has been suspended once more since.
    Continue { suspension: u32 },
    /// The lease is released: end.
    End,
}

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Recipient {
    /// The command's main process.
    Command,
    /// The process group of the main process: ours, or one that was made for it or by it.
    Group,
    /// The same, if it isn't ours. A terminal's signal has reached ours.
    GroupApart,
}

/// Who has sent a signal to the elector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sender {
    Kernel,
    /// The process with this id, which may be gone. It may have sent it to our process group.
    Process(i32),
    /// The service manager with this id. It may have sent it to each process of our unit.
    Manager(i32),
}

/// From the guard to the elector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum GuardMessage {
    /// The command runs.
    Started {
        #[serde(with = "pid")]
        pid: Pid,
    },
    /// The guard keeps these deadlines from now on.
    Extended { deadlines: Option<Deadlines> },
    /// The command could not be started, for this reason.
    NotStarted {
        #[serde(with = "errno")]
        errno: Errno,
    },
    /// No process could be forked for the command.
    NotForked {
        #[serde(with = "errno")]
        errno: Errno,
    },
    /// The guard's timer can't be set (timerfd_settime(2)), so the guard kills the command.
    NoTimer {
        #[serde(with = "errno")]
        errno: Errno,
    },
    /// The command was stopped by a signal, not ended. The number of such stops tells them apart.
    Suspended { suspension: u32, signal: i32 },
    /// The deadlines ran out, or [`Order::Stop`] has come: the command has been signalled.
    Signalled,
    /// The command, or what it has left behind, has been sent the signal that asks it to stop.
    AskedToStop,
    /// What is left of the tree is being killed.
    Killing,
    /// The command's main process ended.
    Exited { ending: Ending },
    /// Nothing of the tree is left since this moment.
    Empty { at: Moment },
    /// A process of the tree can't be killed.
    Unkillable {
        #[serde(with = "pid")]
        pid: Pid,
        #[serde(with = "errno")]
        errno: Errno,
    },
}

impl GuardMessage {
    /// Returns the process that it is about. Its id is meant in the guard's PID namespace.
    pub(super) fn process(&self) -> Option<Pid> {
        match self {
            GuardMessage::Started { pid } | GuardMessage::Unkillable { pid, .. } => Some(*pid),
            _ => None,
        }
    }

    /// Returns the message with the id that the process has in another PID namespace.
    pub(super) fn with_process(self, pid: Pid) -> Self {
        match self {
            GuardMessage::Started { .. } => GuardMessage::Started { pid },
            GuardMessage::Unkillable { errno, .. } => GuardMessage::Unkillable { pid, errno },
            other => other,
        }
    }
}

/// Returns the packet of a message.
///
/// # Errors
/// EINVAL: it can't be encoded.
pub(super) fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, Errno> {
    serde_json::to_vec(message).map_err(|_| Errno::EINVAL)
}

/// Returns the message of a packet.
///
/// # Errors
/// EBADMSG: there is none in it.
pub(super) fn decode<M: DeserializeOwned>(packet: &[u8]) -> Result<M, Errno> {
    serde_json::from_slice(packet).map_err(|_| Errno::EBADMSG)
}

/// The form of a process id in a packet: its number.
mod pid {
    use nix::unistd::Pid;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(pid: &Pid, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i32(pid.as_raw())
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Pid, D::Error> {
        i32::deserialize(from).map(Pid::from_raw)
    }
}

/// The form of an error in a packet: its number.
mod errno {
    use nix::errno::Errno;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(errno: &Errno, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i32(*errno as i32)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Errno, D::Error> {
        i32::deserialize(from).map(Errno::from_raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_errors_arrive_as_they_were_sent() {
        let sent = GuardMessage::Unkillable { pid: Pid::from_raw(7), errno: Errno::EPERM };
        let packet = encode(&sent).expect("a packet");
        assert_eq!(decode(&packet), Ok(sent));
        assert_eq!(decode::<Order>(&packet), Err(Errno::EBADMSG));
    }
}
