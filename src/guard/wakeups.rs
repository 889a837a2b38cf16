//! What wakes the guard: orders, the end of a child, the result of an exec, and a moment on its own clock.

use std::os::fd::{AsFd, OwnedFd};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
};

use super::{protocol::Channel, signals::Signals};
use crate::clock::Moment;

pub struct Wakeups {
    children: Signals,
    /// On CLOCK_BOOTTIME, which goes on while the host is suspended.
    timer: TimerFd,
}

/// What has happened.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub orders: bool,
    pub children: bool,
    pub exec: bool,
}

impl Wakeups {
    pub fn new() -> Result<Self, Errno> {
        let mut children = SigSet::empty();
        children.add(Signal::SIGCHLD);
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        Ok(Wakeups { children: Signals::only(&children)?, timer })
    }

    /// Wakes at this moment, or only for the rest.
    pub fn at(&self, moment: Option<Moment>) -> Result<(), Errno> {
        match moment {
            Some(at) => {
                let at = Expiration::OneShot(TimeSpec::from_duration(at.since_boot()));
                self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME)
            }
            None => self.timer.unset(),
        }
    }

    /// Waits until something has happened, or the moment has come.
    pub fn wait(&self, channel: Option<&Channel>, exec: Option<&OwnedFd>) -> Ready {
        // A descriptor that isn't there is stood in for by the timer's.
        let timer = self.timer.as_fd();
        let watched =
            [timer, self.children.as_fd(), channel.map_or(timer, AsFd::as_fd), exec.map_or(timer, AsFd::as_fd)];
        let mut fds = watched.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let _ = poll(&mut fds, PollTimeout::NONE);
        let [timer, children, orders, exec_done] = fds.map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
        if timer {
            let _ = self.timer.wait();
        }
        if children {
            while self.children.next().is_some() {}
        }
        Ready { orders: orders && channel.is_some(), children, exec: exec_done && exec.is_some() }
    }
}
