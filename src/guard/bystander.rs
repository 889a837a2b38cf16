//! A process in the elector's process group that only takes note of the signals which it gets.
//!
//! Under a terminal, the command is in that group, too. What was sent to the whole group, as by `kill 0` or `kill %1`, it
//! has already, and isn't passed on; what was sent to the elector alone is. The elector can't tell them apart, and the
//! sender may be gone. The bystander can: what it gets was sent to the group, or to all processes of this name. The latter
//! the guard gets as well, which has left the group.

use std::{ffi::CStr, fs, os::fd::AsFd, time::Duration};

use nix::{
    errno::Errno,
    libc::{SIGCONT, SIGRTMIN, c_int},
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

/// How many signals are remembered that nobody has asked for.
const MOST_REMEMBERED: usize = 4096;

/// How long its answer is waited for: it may be stopped.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// How far apart the signals of one sender to all processes of a name arrive, at most.
const A_MOMENT: Duration = Duration::from_secs(1);

/// The length of a question or an answer, in bytes, at most.
const LONGEST: usize = 64;

/// The sender of a signal from outside of the receiver's PID namespace.
const NOBODY: Pid = Pid::from_raw(0);

/// The guard's view of it. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Bystander {
    /// Its process, until that is reaped.
    pid: Option<Pid>,
    socket: PacketSocket,
    /// It has not answered the last question yet.
    owes_answer: bool,
    /// What the guard has got itself, outside of the group, and when.
    by_name: Vec<(Signaled, Moment)>,
}

/// Whether a process has sent a signal.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    signal: c_int,
    sender: i32,
}

/// Signals that a process has got, until they are asked for.
#[derive(Debug, Default)]
struct Heard(Vec<Signaled>);

impl Bystander {
    /// Forks it. It stays in the present process group of the caller, which has one thread.
    ///
    /// # Errors
    /// Those of socketpair(2) and fork(2).
    pub(super) fn fork() -> Result<Self, Errno> {
        let (socket, theirs) = PacketSocket::pair()?;
        match fork_with_one_thread()? {
            ForkResult::Parent { child } => {
                Ok(Bystander { pid: Some(child), socket, owes_answer: false, by_name: Vec::new() })
            }
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

    /// Returns whether this is its process.
    pub(super) fn is(&self, pid: Pid) -> bool {
        self.pid == Some(pid)
    }

    /// Takes note that a process is about to be reaped.
    pub(super) fn forget(&mut self, pid: Pid) {
        self.pid.take_if(|own| *own == pid);
    }

    /// Takes note of a signal that the guard has got itself.
    pub(super) fn hear_in_guard(&mut self, signal: Signaled) {
        let now = Moment::now();
        self.by_name.retain(|(_, at)| now.since(*at) < A_MOMENT);
        self.by_name.push((signal, now));
    }

    /// Returns whether it has got a signal from this process, once for each signal. Waits until this moment at most; of one
    /// that doesn't answer, as when it is stopped, nothing is known until it does.
    pub(super) fn has_got(&mut self, signal: c_int, sender: Pid, until: Moment) -> bool {
        let question = Question { signal, sender: sender.as_raw() };
        self.ask(&question, until.min(Moment::now() + LONGEST_WAIT)) == Ok(true)
    }

    /// Returns whether the guard has got a signal from this process a moment ago.
    pub(super) fn guard_has_got(&self, signal: c_int, sender: Pid) -> bool {
        let now = Moment::now();
        self.by_name.iter().any(|(heard, at)| now.since(*at) < A_MOMENT && may_be(heard, signal, sender))
    }

    /// # Errors
    /// ETIMEDOUT: it doesn't answer. EPIPE: it has ended.
    fn ask(&mut self, question: &Question, until: Moment) -> Result<bool, Errno> {
        if self.owes_answer {
            self.answer(Moment::now())?;
        }
        self.socket.send(&encode(question)?, &[])?;
        self.owes_answer = true;
        self.answer(until)
    }

    fn answer(&mut self, until: Moment) -> Result<bool, Errno> {
        loop {
            let mut bytes = [0; LONGEST];
            match self.socket.receive(&mut bytes) {
                Ok(packet) if packet.length > 0 => {
                    self.owes_answer = false;
                    return decode(&bytes[..packet.length]);
                }
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
            match poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], left) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Returns whether a process seems to be one, of whatever guard.
pub(super) fn is_bystander(pid: Pid) -> bool {
    fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_ascii_end() == NAME.to_bytes())
}

/// Takes note of signals and answers questions, until the guard closes its end or is gone.
fn stand_by(guard: &PacketSocket) {
    let _ = set_name(NAME);
    let Ok(signals) = Signals::blocked() else { return };
    let mut heard = Heard::default();
    loop {
        let mut ready = [&signals as &dyn AsFd, guard].map(|source| PollFd::new(source.as_fd(), PollFlags::POLLIN));
        if poll(&mut ready, PollTimeout::NONE).is_err_and(|errno| errno != Errno::EINTR) {
            return;
        }
        let mut bytes = [0; LONGEST];
        let question = guard.receive(&mut bytes);
        // After the question: what that is about came before it.
        while let Some(signal) = signals.next() {
            // The guard signals the group one by one.
            if signal.sender != getppid() {
                heard.add(signal);
            }
        }
        let Ok(packet) = question else { continue };
        let Ok(Question { signal, sender }) = decode(&bytes[..packet.length]) else { return };
        let answer = encode(&heard.take(signal, Pid::from_raw(sender)));
        if answer.and_then(|answer| guard.send(&answer, &[])).is_err() {
            return;
        }
    }
}

impl Heard {
    /// Adds a signal of a process. One that waits to be taken already is no other one, unless it is a real-time signal: the
    /// elector gets it once, too. SIGCONT has taken effect by itself.
    fn add(&mut self, signal: Signaled) {
        let is_waiting = signal.number < SIGRTMIN() && self.0.contains(&signal);
        if !signal.by_kernel && signal.number != SIGCONT && !is_waiting {
            if self.0.len() == MOST_REMEMBERED {
                self.0.remove(0);
            }
            self.0.push(signal);
        }
    }

    /// Returns whether this process may have sent a signal, and forgets that.
    fn take(&mut self, signal: c_int, sender: Pid) -> bool {
        self.0.iter().position(|heard| may_be(heard, signal, sender)).map(|found| self.0.remove(found)).is_some()
    }
}

/// Returns whether a signal may be this one, by the process that the elector knows by this id. All members of a group know a
/// sender by the id in the sender's own PID namespace, but in a namespace below that, it is nobody.
fn may_be(heard: &Signaled, signal: c_int, sender: Pid) -> bool {
    heard.number == signal && [NOBODY, sender].contains(&heard.sender)
}
