//! What wakes the guard: orders, the end of a child, the result of an exec, and a moment on its own clock.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{SigSet, Signal},
};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::{protocol::Channel, signals::Signals};
use crate::clock::Moment;

pub struct Wakeups {
    children: Signals,
    /// On CLOCK_BOOTTIME, which goes on while the host is suspended.
    timer: OwnedFd,
}

/// What has happened.
#[derive(Clone, Copy, Debug)]
pub struct Wakeup {
    pub orders: bool,
    pub children: bool,
    pub exec: bool,
}

impl Wakeups {
    /// # Errors
    /// What the system refuses.
    pub fn new() -> Result<Self> {
        let mut children = SigSet::empty();
        children.add(Signal::SIGCHLD);
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags).context("can't make a timer")?;
        let children = Signals::only(&children).context("can't read signals")?;
        let wakeups = Wakeups { children, timer };
        // A timer that can't be set is found here, before there is anything to guard.
        let probe = Moment::now() + Duration::from_secs(1);
        wakeups.at(Some(probe)).and_then(|()| wakeups.at(None)).context("can't set a timer")?;
        Ok(wakeups)
    }

    /// Wakes at this moment, or only for the rest.
    ///
    /// # Errors
    /// Those of timerfd_settime(2).
    pub fn at(&self, moment: Option<Moment>) -> io::Result<()> {
        // All zeros disarm it.
        let since_boot = moment.map_or(Duration::ZERO, Moment::since_boot);
        let at = Timespec { tv_sec: since_boot.as_secs() as i64, tv_nsec: since_boot.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec::default(), it_value: at };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }

    /// Waits until something has happened, or the moment has come.
    pub fn wait(&self, channel: Option<&Channel>, exec: Option<&OwnedFd>) -> Wakeup {
        // A descriptor that isn't there is stood in for by the timer's.
        let timer = self.timer.as_fd();
        let watched =
            [timer, self.children.as_fd(), channel.map_or(timer, AsFd::as_fd), exec.map_or(timer, AsFd::as_fd)];
        let mut fds = watched.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let _ = poll(&mut fds, PollTimeout::NONE);
        let [timer, children, orders, exec_done] = fds.map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
        if timer {
            let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        }
        if children {
            while self.children.next().is_some() {}
        }
        Wakeup { orders: orders && channel.is_some(), children, exec: exec_done && exec.is_some() }
    }
}
