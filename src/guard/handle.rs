//! The elector's view of its guard: orders to it, its messages, signals from outside, and the tree if the guard dies.

use std::os::fd::RawFd;

use anyhow::{Context, Result};
use nix::{errno::Errno, libc, unistd::Pid};
use tokio::io::unix::AsyncFd;

use super::{
    protocol::{GuardMessage, LONGEST, Order, decode, encode},
    signals::{AsyncSignals, Signaled, Signals},
    terminal::Terminal,
    tree::{self, Members, Tree},
};
use crate::sys::{
    inherited::Inherited,
    readiness::watch,
    signal::send_to_child,
    socket::PacketSocket,
    wait::{Ending, wait_for},
};

/// A guard that has just been forked: there is no runtime yet.
pub(crate) struct ForkedGuard {
    pub(super) pid: Pid,
    pub(super) socket: PacketSocket,
    pub(super) terminal: Option<Terminal>,
    /// `None` if nothing outlives the guard.
    pub(super) tree: Option<Tree>,
    /// Children from before the guard, of a process that exec'd us: not ours to reap or kill.
    pub(super) strangers: Vec<Pid>,
    /// What we were started with.
    pub inherited: Inherited,
}

/// The guard, seen from the elector.
pub(crate) struct GuardHandle {
    pid: Pid,
    /// Not yet reaped.
    unreaped: bool,
    socket: AsyncFd<PacketSocket>,
    signals: AsyncSignals,
    terminal: Option<Terminal>,
    tree: Option<Tree>,
    strangers: Vec<Pid>,
    /// The command's main process.
    main: Option<Pid>,
    /// How that ended, if a dead guard had not reaped it.
    main_ending: Option<Ending>,
}

/// An event for the elector.
#[derive(Debug)]
pub(crate) enum GuardEvent {
    Message(GuardMessage),
    /// A signal for the command or for us.
    Signal(Signaled),
    /// The guard is dead, or can't be understood, which is treated as its death.
    GuardDied,
    /// A child changed: something of the tree of a dead guard may have ended.
    Child,
}

impl GuardHandle {
    /// Registers the guard and the signals with the runtime, from within it.
    ///
    /// # Errors
    /// Those of signalfd(2) and epoll_ctl(2).
    pub(crate) fn watch(forked: ForkedGuard) -> Result<Self> {
        let ForkedGuard { pid, socket, terminal, tree, strangers, .. } = forked;
        let signals = Signals::blocked().context("can't read signals")?;
        let failed = "can't watch the guard";
        Ok(GuardHandle {
            pid,
            unreaped: true,
            socket: watch(socket).context(failed)?,
            signals: AsyncSignals::watch(signals).context(failed)?,
            terminal,
            tree,
            strangers,
            main: None,
            main_ending: None,
        })
    }

    /// Sends an order, and a copy of a descriptor with it if there is one.
    ///
    /// # Errors
    /// The guard is dead, or frozen and has not read for long.
    pub(crate) fn order(&self, order: &Order, with: Option<RawFd>) -> Result<(), Errno> {
        self.socket.get_ref().send(&encode(order)?, with)
    }

    /// Waits for the next thing to happen. Cancel-safe.
    pub(crate) async fn hear(&mut self) -> GuardEvent {
        let event = tokio::select! {
            biased;
            message = receive(&self.socket), if self.unreaped => message.map_or(GuardEvent::GuardDied, GuardEvent::Message),
            signal = self.signals.next() => match signal {
                Ok(signal) if signal.number == libc::SIGCHLD => GuardEvent::Child,
                Ok(signal) => GuardEvent::Signal(signal),
                Err(_) => GuardEvent::GuardDied,
            },
        };
        match event {
            GuardEvent::GuardDied => self.kill(),
            GuardEvent::Child => self.reap_strangers(),
            GuardEvent::Message(GuardMessage::Started { pid }) => self.main = Some(pid),
            GuardEvent::Message(_) | GuardEvent::Signal(_) => {}
        }
        event
    }

    /// Reaps what nobody else does: orphans, as PID 1 has to, and children from before an exec of leaderrun, whose zombies would hide
    /// others. The guard is left out: its socket shows its death.
    fn reap_strangers(&mut self) {
        let guard = self.unreaped.then_some(self.pid);
        let (strangers, main, main_ending) = (&mut self.strangers, self.main, &mut self.main_ending);
        tree::reap_all_but(guard, |child, ending| {
            // From now on the process id may be another's.
            strangers.retain(|&stranger| stranger != child);
            if Some(child) == main {
                *main_ending = main_ending.or(ending);
            }
        });
    }

    /// Kills the guard, if it has not ended, and reaps it. What is left of its tree becomes ours.
    pub(crate) fn kill(&mut self) {
        if self.unreaped {
            let _ = send_to_child(self.pid, libc::SIGKILL);
            wait_for(self.pid);
            self.unreaped = false;
        }
    }

    /// Kills what a dead guard has left to us. Returns whether nothing is left.
    pub(crate) fn clear_after_death(&mut self) -> bool {
        if let Some(tree) = &self.tree {
            // Children that can't be listed now are not gone. Look for them again.
            let _ = tree.signal(libc::SIGKILL, Members::AllBut(&self.strangers));
        }
        self.reap_strangers();
        self.tree.as_ref().is_none_or(|tree| tree.is_empty_but_for(&self.strangers))
    }

    /// Returns how the command ended, if it ended by itself and its guard died before it could say so.
    pub(crate) fn ending_left(&self) -> Option<Ending> {
        self.main_ending.filter(|&ending| ending != Ending::Signal(libc::SIGKILL))
    }

    /// Waits for a signal that would end a process. Cancel-safe.
    pub(crate) async fn terminated(&mut self) {
        loop {
            match self.hear().await {
                GuardEvent::Signal(signal) if signal.ends_a_process() => return,
                GuardEvent::GuardDied => std::future::pending().await,
                _ => {}
            }
        }
    }

    /// Lets the guard end.
    pub(crate) fn dismiss(&self) {
        let _ = self.order(&Order::End, None);
    }

    /// Returns whether the command shares our process group, which gets a terminal's signals as a whole.
    pub(crate) fn shares_group(&self) -> bool {
        self.terminal.is_some()
    }

    /// Restores the terminal settings that a killed command may have changed.
    pub(crate) fn put_terminal_back(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.put_back();
        }
    }
}

/// Waits for the guard's next message; `None` once the guard is dead, or can't be understood. Cancel-safe.
async fn receive(socket: &AsyncFd<PacketSocket>) -> Option<GuardMessage> {
    loop {
        let mut ready = socket.readable().await.ok()?;
        let mut bytes = [0; LONGEST];
        match ready.get_inner().receive(&mut bytes) {
            Ok(packet) if packet.length == 0 => return None,
            Ok(packet) => return decode(&bytes[..packet.length]).ok(),
            Err(Errno::EAGAIN | Errno::EINTR) => ready.clear_ready(),
            Err(_) => return None,
        }
    }
}
