//! What wakes the guard: orders, the end of a child, the result of an exec, and a moment of its own clock.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
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

use super::signals::Signals;
use crate::{clock::Moment, sys::launch::PendingExec};

/// The sources of what wakes it.
pub struct Wakeups {
    children: Signals,
    /// On CLOCK_BOOTTIME, which goes on while the host is suspended.
    timer: OwnedFd,
}

/// What there is to be dealt with.
#[derive(Clone, Copy, Debug)]
pub struct Wakeup {
    pub orders: bool,
    pub children: bool,
    pub exec: bool,
}

impl Wakeups {
    /// Opens the timer and the descriptor that a child's end is read from.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn new() -> Result<Self> {
        let mut children = SigSet::empty();
        children.add(Signal::SIGCHLD);
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags).context("can't make a timer")?;
        let children = Signals::only(&children).context("can't read signals")?;
        let wakeups = Wakeups { children, timer };
        // Finds out that a timer can't be set before there is anything to guard.
        let probe = Moment::now() + Duration::from_secs(1);
        wakeups.at(Some(probe)).and_then(|()| wakeups.at(None)).context("can't set a timer")?;
        Ok(wakeups)
    }

    /// Sets the moment to wake at; `None` for no moment.
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

    /// Waits until there are orders or the result of an exec to be read, a child has changed, or the moment has come.
    pub fn wait(&self, orders_from: Option<BorrowedFd<'_>>, exec: Option<&PendingExec>) -> Wakeup {
        // Substitutes the timer for an absent descriptor.
        let timer = self.timer.as_fd();
        let watched = [timer, self.children.as_fd(), orders_from.unwrap_or(timer), exec.map_or(timer, AsFd::as_fd)];
        let mut fds = watched.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let _ = poll(&mut fds, PollTimeout::NONE);
        let [timer, children, orders, exec_done] = fds.map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
        if timer {
            let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        }
        if children {
            while self.children.next().is_some() {}
        }
        Wakeup { orders: orders && orders_from.is_some(), children, exec: exec_done && exec.is_some() }
    }
}
