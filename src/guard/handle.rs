//! The elector's end: orders to the guard, what it answers, the signals that reach us, and the tree if the guard dies.

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    libc,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::os::fd::RawFd;
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    inherited::Inherited,
    protocol::{Channel, Ending, GuardMessage, Order, Received},
    signals::{Signaled, Signals},
    terminal::Terminal,
    tree::{self, Members, Tree},
};

/// A guard that has just been forked: there is no runtime yet.
pub struct ForkedGuard {
    pub(super) pid: Pid,
    pub(super) channel: Channel,
    pub(super) terminal: Option<Terminal>,
    /// `None` where nothing outlives the guard.
    pub(super) tree: Option<Tree>,
    /// Children from before the guard, of a process that exec'd us: not ours to reap or kill.
    pub(super) strangers: Vec<Pid>,
    /// What we were started with.
    pub inherited: Inherited,
}

/// The guard, seen from the elector.
pub struct GuardHandle {
    pid: Pid,
    /// Not yet reaped.
    unreaped: bool,
    channel: AsyncFd<Channel>,
    signals: AsyncFd<Signals>,
    terminal: Option<Terminal>,
    tree: Option<Tree>,
    strangers: Vec<Pid>,
    /// The command's main process.
    main: Option<Pid>,
    /// How that ended, where it came to us from a dead guard that had not reaped it.
    main_ending: Option<Ending>,
}

/// What comes in.
#[derive(Debug)]
pub enum GuardEvent {
    Message(GuardMessage),
    /// A signal for the command or for us.
    Signal(Signaled),
    /// The guard is dead, or can't be understood, which is treated as its death.
    GuardDied,
    /// A child changed: something of the tree of a dead guard may have ended.
    Child,
}

impl GuardHandle {
    /// Registers with the runtime, from within it.
    ///
    /// # Errors
    /// Those of signalfd(2) and epoll_ctl(2).
    pub fn watch(forked: ForkedGuard) -> Result<Self> {
        let ForkedGuard { pid, channel, terminal, tree, strangers, .. } = forked;
        let signals = Signals::all().context("can't read signals")?;
        let failed = "can't watch the guard";
        // SAFETY: each owns one descriptor, which it closes when it is dropped and never changes.
        let (channel, signals) = unsafe {
            (
                AsyncFd::register_with_interest(channel, Interest::READABLE).context(failed)?,
                AsyncFd::register_with_interest(signals, Interest::READABLE).context(failed)?,
            )
        };
        Ok(GuardHandle {
            pid,
            unreaped: true,
            channel,
            signals,
            terminal,
            tree,
            strangers,
            main: None,
            main_ending: None,
        })
    }

    /// Gives an order; a descriptor may go with it.
    ///
    /// # Errors
    /// The guard is dead, or frozen and has not read for long.
    pub fn order(&self, order: &Order, with: Option<RawFd>) -> Result<(), Errno> {
        self.channel.get_ref().send(order, with)
    }

    /// Waits for the next thing to happen. Cancel-safe.
    pub async fn hear(&mut self) -> GuardEvent {
        loop {
            let replies = tokio::select! {
                biased;
                ready = self.channel.readable(), if self.unreaped => ready.map_or(Some(GuardEvent::GuardDied), |mut ready| {
                    match ready.get_inner().receive() {
                        Ok(Received::Message(event, _)) => Some(GuardEvent::Message(event)),
                        Err(Errno::EAGAIN | Errno::EINTR) => {
                            ready.clear_ready();
                            None
                        }
                        Ok(Received::End) | Err(_) => Some(GuardEvent::GuardDied),
                    }
                }),
                ready = self.signals.readable() => ready.map_or(Some(GuardEvent::GuardDied), |mut ready| {
                    match ready.get_inner().next() {
                        Some(signal) if signal.number == libc::SIGCHLD => Some(GuardEvent::Child),
                        Some(signal) => Some(GuardEvent::Signal(signal)),
                        None => {
                            ready.clear_ready();
                            None
                        }
                    }
                }),
            };
            match replies {
                Some(GuardEvent::GuardDied) => self.kill(),
                Some(GuardEvent::Child) => self.reap_strangers(),
                Some(GuardEvent::Message(GuardMessage::Started { pid })) => self.main = Some(Pid::from_raw(pid)),
                _ => {}
            }
            if let Some(replies) = replies {
                return replies;
            }
        }
    }

    /// As PID 1 we reap what nobody else does. The guard's death is heard from its channel.
    fn reap_strangers(&mut self) {
        let guard = self.unreaped.then_some(self.pid);
        let ending = tree::reap_strangers(|pid| Some(pid) == guard || self.strangers.contains(&pid), self.main);
        self.main_ending = self.main_ending.or(ending);
    }

    /// Kills the guard, if it has not ended, and reaps it; what is left of its tree becomes ours.
    pub fn kill(&mut self) {
        if self.unreaped {
            kill_and_reap(self.pid);
            self.unreaped = false;
        }
    }

    /// After the guard's death: kills what came to us from it. True once nothing is left.
    pub fn clear_after_death(&mut self) -> bool {
        if let Some(tree) = &self.tree {
            // What can't be listed now is not gone: it is looked for again.
            let _ = tree.signal(libc::SIGKILL, Members::AllBut(&self.strangers));
        }
        self.reap_strangers();
        self.tree.as_ref().is_none_or(|tree| tree.is_empty_but_for(&self.strangers))
    }

    /// How the command ended that had done so by itself when its guard died, before the guard could say so.
    pub fn ending_left(&self) -> Option<Ending> {
        self.main_ending.filter(|&ending| ending != Ending::Signal(libc::SIGKILL))
    }

    /// Waits for a signal that would end a process. Cancel-safe.
    pub async fn terminated(&mut self) {
        loop {
            match self.hear().await {
                GuardEvent::Signal(signal) if signal.ends_a_process() => return,
                GuardEvent::GuardDied => std::future::pending().await,
                _ => {}
            }
        }
    }

    /// Lets the guard end.
    pub fn dismiss(&self) {
        let _ = self.order(&Order::End, None);
    }

    /// The command shares our process group, which gets a terminal's signals as a whole.
    pub fn shares_group(&self) -> bool {
        self.terminal.is_some()
    }

    /// Puts back what a killed command may have changed of the terminal.
    pub fn put_terminal_back(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.put_back();
        }
    }
}

fn kill_and_reap(child: Pid) {
    let _ = kill(child, Signal::SIGKILL);
    reap_one(child);
}

fn reap_one(child: Pid) {
    while nix::sys::wait::waitpid(child, None) == Err(Errno::EINTR) {}
}
