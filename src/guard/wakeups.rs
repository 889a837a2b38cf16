//! What wakes the guard: orders, the end of a child, the result of an exec, and a moment on its own clock.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use rustix::{
    event::epoll,
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime},
};

use super::{protocol::Channel, signals::Signals};
use crate::clock::Moment;

/// Waits by epoll(7), which works with any limit on descriptors once it is there, unlike poll(2).
pub struct Wakeups {
    epoll: OwnedFd,
    children: Signals,
    /// On CLOCK_BOOTTIME, which goes on while the host is suspended.
    timer: OwnedFd,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum Source {
    Timer,
    Children,
    Orders,
    Exec,
}

/// What has happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wakeup {
    pub orders: bool,
    pub children: bool,
    pub exec: bool,
}

impl Wakeups {
    /// Watches for orders and children.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn new(channel: &Channel) -> Result<Self> {
        let mut children = SigSet::empty();
        children.add(Signal::SIGCHLD);
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags).context("can't make a timer")?;
        let children = Signals::only(&children).context("can't read signals")?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("can't wait for orders")?;
        let wakeups = Wakeups { epoll, children, timer };
        wakeups.watch(&wakeups.timer, Source::Timer).context("can't wait for a timer")?;
        wakeups.watch(&wakeups.children, Source::Children).context("can't wait for children")?;
        wakeups.watch(channel, Source::Orders).context("can't wait for orders")?;
        // A timer that can't be set is found here, before there is anything to guard.
        let probe = Moment::now() + Duration::from_secs(1);
        wakeups.at(Some(probe)).and_then(|()| wakeups.at(None)).context("can't set a timer")?;
        Ok(wakeups)
    }

    fn watch(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(source as u64), epoll::EventFlags::IN)?;
        Ok(())
    }

    /// Watches for the result of an exec as well.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn watch_exec(&self, failure: &OwnedFd) -> io::Result<()> {
        self.watch(failure, Source::Exec)
    }

    /// Watches a descriptor no longer.
    pub fn forget(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
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
    ///
    /// # Errors
    /// Those of epoll_wait(2), but for EINTR.
    pub fn wait(&self) -> io::Result<Wakeup> {
        let mut events =
            [const { epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) } }; 4];
        let happened = match epoll::wait(&self.epoll, &mut events[..], None) {
            Err(rustix::io::Errno::INTR) => 0,
            happened => happened?,
        };
        let has = |source| events[..happened].iter().any(|event| event.data.u64() == source as u64);
        if has(Source::Timer) {
            let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        }
        if has(Source::Children) {
            while self.children.next().is_some() {}
        }
        Ok(Wakeup { orders: has(Source::Orders), children: has(Source::Children), exec: has(Source::Exec) })
    }
}
