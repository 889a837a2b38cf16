//! What wakes the guard: orders, signals, among them that of a child's end, the result of an exec, and a moment on its
//! own clock.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::libc::SIGCHLD;
use rustix::{
    event::epoll,
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime},
};

use super::signals::{Signaled, Signals};
use crate::{clock::Moment, sys::launch::PendingExec};

/// The sources of what wakes it. They are waited for by epoll(7), which works with any limit on descriptors once it is
/// there, unlike poll(2).
pub(super) struct Wakeups {
    epoll: OwnedFd,
    signals: Signals,
    /// On CLOCK_BOOTTIME, which goes on while the host is suspended.
    timer: OwnedFd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum Source {
    Timer,
    Signals,
    Orders,
    Exec,
}

/// What there is to handle.
#[derive(Debug, Default)]
pub(super) struct Wakeup {
    pub orders: bool,
    pub children: bool,
    pub exec: bool,
    /// Signals that were sent to the guard, or to all of a group to which it belonged.
    pub signals: Vec<Signaled>,
}

impl Wakeups {
    /// Opens the timer and the descriptor that signals are read from, and watches for orders.
    ///
    /// # Errors
    /// What the system refuses.
    pub(super) fn new(orders_from: impl AsFd) -> Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags).context("can't make a timer")?;
        let signals = Signals::blocked().context("can't read signals")?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("can't make an epoll descriptor")?;
        let wakeups = Wakeups { epoll, signals, timer };
        wakeups.watch(&wakeups.timer, Source::Timer).context("can't wait for a timer")?;
        wakeups.watch(&wakeups.signals, Source::Signals).context("can't wait for signals")?;
        wakeups.watch(orders_from, Source::Orders).context("can't wait for orders")?;
        // Fails here if no timer can be set, before there is anything to guard.
        let probe = Moment::now() + Duration::from_secs(1);
        wakeups.at(Some(probe)).and_then(|()| wakeups.at(None)).context("can't set a timer")?;
        Ok(wakeups)
    }

    /// Watches for the result of an exec as well, until its descriptor is closed.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub(super) fn watch_exec(&self, exec: &PendingExec) -> io::Result<()> {
        self.watch(exec, Source::Exec)
    }

    /// Each source is read to its end once it has something: it wakes again when there is more, and a closed one only
    /// once.
    fn watch(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(source as u64), flags)?;
        Ok(())
    }

    /// Sets the moment to wake at; `None` for no moment.
    ///
    /// # Errors
    /// Those of timerfd_settime(2).
    pub(super) fn at(&self, moment: Option<Moment>) -> io::Result<()> {
        // All zeros disarm it.
        let since_boot = moment.map_or(Duration::ZERO, Moment::since_boot);
        let at = Timespec { tv_sec: since_boot.as_secs() as i64, tv_nsec: since_boot.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec::default(), it_value: at };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }

    /// Waits until there are orders or the result of an exec to be read, a signal has come, or the moment has.
    ///
    /// # Errors
    /// Those of epoll_wait(2), except EINTR.
    pub(super) fn wait(&self) -> io::Result<Wakeup> {
        let none = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        let mut events = [none; 4];
        let happened = match epoll::wait(&self.epoll, &mut events[..], None) {
            Err(rustix::io::Errno::INTR) => 0,
            happened => happened?,
        };
        let has = |source| events[..happened].iter().any(|event| event.data.u64() == source as u64);
        if has(Source::Timer) {
            let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        }
        let signalled = if has(Source::Signals) { self.take_signals() } else { Wakeup::default() };
        Ok(Wakeup { orders: has(Source::Orders), exec: has(Source::Exec), ..signalled })
    }

    /// Takes the signals that are there.
    pub(super) fn take_signals(&self) -> Wakeup {
        let mut wakeup = Wakeup::default();
        while let Some(signal) = self.signals.next() {
            if signal.number == SIGCHLD {
                wakeup.children = true;
            } else {
                wakeup.signals.push(signal);
            }
        }
        wakeup
    }
}
