//! A process in the elector's process group that only takes note of the signals which it gets.
//!
//! Under a terminal, the command is in that group, too. What was sent to the whole group, as by `kill 0` or `kill %1`, it
//! has already, and isn't passed on; what was sent to the elector alone is. The elector can't tell them apart, and the
//! sender may be gone. The bystander can: nobody knows of it, so all that it gets was sent to the group.

use std::{ffi::CStr, os::fd::AsFd, time::Duration};

use nix::{
    errno::Errno,
    libc::c_int,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl::{set_name, set_pdeathsig},
        signal::Signal,
    },
    unistd::{ForkResult, Pid, getppid},
};
use serde::{Deserialize, Serialize};

use super::{
    protocol::{decode, encode},
    signals::{Signaled, Signals},
};
use crate::{
    clock::Moment,
    sys::{
        descriptors::close_all_but,
        process::{exit_now, fork_with_one_thread},
        socket::PacketSocket,
    },
};

/// Its name for ps(1); the kernel keeps 15 bytes.
const NAME: &CStr = c"leaderrun-group";

/// How long after a signal to the group one from the same process is taken for it. The elector may pass it on late, and get
/// twice what the bystander, not being run in between, gets once.
const REMEMBERED_FOR: Duration = Duration::from_secs(1);

/// How long its answer is waited for: it may be stopped.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// The length of a question or an answer, in bytes, at most.
const LONGEST: usize = 64;

/// The sender of a signal from outside of the receiver's PID namespace.
const NOBODY: Pid = Pid::from_raw(0);

/// The guard's view of it. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Bystander(PacketSocket);

/// Whether a signal was sent to the group.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    signal: c_int,
    sender: i32,
}

impl Bystander {
    /// Forks it. It stays in the present process group of the caller, which has one thread.
    ///
    /// # Errors
    /// Those of socketpair(2) and fork(2).
    pub(super) fn fork() -> Result<Self, Errno> {
        let (ours, theirs) = PacketSocket::pair()?;
        match fork_with_one_thread()? {
            ForkResult::Parent { .. } => Ok(Bystander(ours)),
            ForkResult::Child => {
                // Stopped, it wouldn't see the guard's end.
                let _ = set_pdeathsig(Signal::SIGKILL);
                // Its copies would keep others from seeing that the guard's are closed.
                close_all_but(theirs.as_fd());
                stand_by(&theirs);
                exit_now(0)
            }
        }
    }

    /// Returns whether this process has sent the signal to the group a moment ago. Waits until this moment at most.
    ///
    /// # Errors
    /// ETIMEDOUT: it doesn't answer; it may be stopped. EPIPE: it was killed.
    pub(super) fn has_got(&self, signal: c_int, sender: Pid, until: Moment) -> Result<bool, Errno> {
        self.0.send(&encode(&Question { signal, sender: sender.as_raw() })?, &[])?;
        let until = until.min(Moment::now() + LONGEST_WAIT);
        loop {
            let mut bytes = [0; LONGEST];
            match self.0.receive(&mut bytes) {
                Ok(packet) if packet.length > 0 => return decode(&bytes[..packet.length]),
                Ok(_) => return Err(Errno::EPIPE),
                Err(Errno::EAGAIN) => {}
                Err(errno) => return Err(errno),
            }
            let left = until.remaining();
            if left.is_zero() {
                return Err(Errno::ETIMEDOUT);
            }
            // Rounded up, so that it waits at all.
            let left = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], left) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Takes note of signals and answers questions, until the guard closes its end or is gone.
fn stand_by(guard: &PacketSocket) {
    let _ = set_name(NAME);
    let Ok(signals) = Signals::blocked() else { return };
    let mut heard: Vec<(Signaled, Moment)> = Vec::new();
    loop {
        let mut ready = [&signals as &dyn AsFd, guard].map(|source| PollFd::new(source.as_fd(), PollFlags::POLLIN));
        if poll(&mut ready, PollTimeout::NONE).is_err_and(|errno| errno != Errno::EINTR) {
            return;
        }
        let now = Moment::now();
        heard.retain(|(_, at)| now.since(*at) < REMEMBERED_FOR);
        // The guard signals the group one by one.
        heard.extend(
            std::iter::from_fn(|| signals.next())
                .filter(|signal| !signal.by_kernel && signal.sender != getppid())
                .map(|signal| (signal, now)),
        );
        let mut bytes = [0; LONGEST];
        let Ok(packet) = guard.receive(&mut bytes) else { continue };
        let Ok(Question { signal, sender }) = decode(&bytes[..packet.length]) else { return };
        let found = heard.iter().position(|(heard, _)| heard.number == signal && may_be_by(heard, sender));
        if let Some(found) = found.filter(|&found| heard[found].0.sender == NOBODY) {
            // The next one may be another's.
            heard.remove(found);
        }
        if encode(&found.is_some()).and_then(|answer| guard.send(&answer, &[])).is_err() {
            return;
        }
    }
}

/// Returns whether the process that the elector knows by this id may have sent a signal. All members of a group know its
/// sender by the id in the sender's own PID namespace, but in a namespace below that, it is nobody.
fn may_be_by(heard: &Signaled, sender: i32) -> bool {
    heard.sender == NOBODY || heard.sender.as_raw() == sender
}
