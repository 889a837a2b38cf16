//! The elector's view of its guard: orders to it, its messages, signals from outside, and the tree if the guard dies.

use std::{os::fd::RawFd, time::Duration};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    libc,
    sys::signal::Signal,
    unistd::{Pid, getppid},
};
use tokio::{io::unix::AsyncFd, time::timeout};

use super::{
    contract::{Guard, GuardEvent},
    killing::Killing,
    proc_stat::{self, ProcStat, is_dead},
    protocol::{GuardMessage, LONGEST, Order, decode, encode},
    session::has_job_control,
    signals::{AsyncSignals, Signals, stop_self_by},
    terminal::Terminal,
    tree::{self, Tree},
};
use crate::sys::{
    descriptors::let_go,
    inherited::Inherited,
    readiness::watch_both_ways,
    signal::{is_pending, send_to_child},
    socket::PacketSocket,
    wait::Ending,
};

/// How long a killed guard's end is waited for: more, and it is stuck, or under a debugger.
const LAST_WAIT: Duration = Duration::from_secs(1);

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
    /// It has ended, or been killed: nothing is heard from it any more.
    lost: bool,
    socket: AsyncFd<PacketSocket>,
    /// An order about a signal for which there was no room. No other signal is taken before it is sent.
    unsent: Option<Vec<u8>>,
    signals: AsyncSignals,
    terminal: Option<Terminal>,
    tree: Option<Tree>,
    killing: Killing,
    strangers: Vec<Pid>,
    /// There were such children. Theirs may become ours.
    had_strangers: bool,
    /// When the guard was forked, in clock ticks since boot, if it is lost and that could be seen.
    guard_began: Option<u64>,
    /// The command's main process.
    main: Option<Pid>,
    /// How that ended, if a dead guard had not reaped it.
    main_ending: Option<Ending>,
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
            lost: false,
            unsent: None,
            socket: watch_both_ways(socket).context(failed)?,
            signals: AsyncSignals::watch(signals).context(failed)?,
            terminal,
            tree,
            killing: Killing::default(),
            had_strangers: !strangers.is_empty(),
            strangers,
            guard_began: None,
            main: None,
            main_ending: None,
        })
    }

    /// Returns the strangers among our children: those that we have had from before the guard, and what is older than the guard,
    /// and so was theirs. Younger ones can't be told from what the command has left.
    fn all_strangers(&self, tree: &Tree) -> Vec<Pid> {
        let mut strangers = self.strangers.clone();
        if let Some(guard_began) = self.guard_began.filter(|_| self.had_strangers) {
            let is_older = |child: &Pid| ProcStat::of(*child).is_some_and(|stat| stat.began < guard_began);
            strangers.extend(tree.children().unwrap_or_default().into_iter().filter(is_older));
        }
        strangers
    }

    /// Reaps what nobody else does: orphans, as PID 1 has to, and children from before an exec of leaderrun, whose zombies would hide
    /// others. A guard that isn't known to be lost is left out: its socket shows its death.
    fn reap(&mut self) {
        let guard = self.pid;
        let kept = (!self.lost).then_some(guard);
        tree::reap_all_but(kept, |child, ending| {
            // From now on the process id may be another's.
            self.strangers.retain(|&stranger| stranger != child);
            self.unreaped &= child != guard;
            self.killing.count_reaped();
            if Some(child) == self.main {
                self.main_ending = self.main_ending.or(ending);
            }
        });
    }
}

impl Guard for GuardHandle {
    fn order(&self, order: &Order, with: &[RawFd]) -> Result<(), Errno> {
        self.socket.get_ref().send(&encode(order)?, with)
    }

    fn pass_on(&mut self, order: &Order) {
        if self.order(order, &[]) == Err(Errno::EAGAIN) {
            self.unsent = encode(order).ok();
        }
    }

    async fn hear(&mut self) -> GuardEvent {
        let event = loop {
            let is_sent = self.lost || self.unsent.is_none();
            tokio::select! {
                biased;
                message = receive(&self.socket, self.pid), if !self.lost => {
                    break message.map_or(GuardEvent::GuardDied, GuardEvent::Message);
                }
                () = send(&self.socket, &mut self.unsent), if !is_sent => {}
                signal = self.signals.next(), if is_sent => break match signal {
                    Ok(signal) if signal.number == libc::SIGCHLD => GuardEvent::Child,
                    Ok(signal) => GuardEvent::Signal(signal),
                    Err(_) => GuardEvent::GuardDied,
                },
            }
        };
        match event {
            GuardEvent::GuardDied => self.kill(),
            GuardEvent::Child => self.reap(),
            GuardEvent::Message(GuardMessage::Started { pid }) => self.main = Some(pid),
            GuardEvent::Message(_) | GuardEvent::Signal(_) => {}
        }
        event
    }

    fn is_stopped(&self) -> bool {
        self.unreaped && proc_stat::is_stopped(self.pid)
    }

    fn kill(&mut self) {
        self.lost = true;
        if self.unreaped {
            self.guard_began = ProcStat::of(self.pid).map(|stat| stat.began);
            let _ = send_to_child(self.pid, libc::SIGKILL);
        }
        self.reap();
    }

    async fn end(&mut self) {
        self.kill();
        let reaped = async {
            while self.unreaped {
                self.hear().await;
            }
        };
        let _ = timeout(LAST_WAIT, reaped).await;
    }

    fn clear_after_death(&mut self) -> bool {
        self.reap();
        // Its children are ours once it has ended, reaped or not: a debugger may keep us from that.
        let guard = self.unreaped.then_some(self.pid);
        let has_ended = guard.is_none_or(is_dead);
        let Some(tree) = &self.tree else { return has_ended || tree::has_ended_with_its_namespace(self.pid) };
        let spared: Vec<Pid> = self.all_strangers(tree).into_iter().chain(guard).collect();
        if let Some(guard) = guard.filter(|_| !has_ended) {
            tree.kill_below(guard);
        }
        // Children that can't be listed now are not gone. They are looked for again.
        let _ = self.killing.go_on(tree, &spared, None);
        self.reap();
        let Some(tree) = &self.tree else { return has_ended };
        let spared: Vec<Pid> = self.all_strangers(tree).into_iter().chain(guard.filter(|_| self.unreaped)).collect();
        has_ended && tree.is_dead_but_for(&spared)
    }

    fn ending_left(&self) -> Option<Ending> {
        self.main_ending.filter(|&ending| ending != Ending::Signal(libc::SIGKILL))
    }

    fn let_go(&self) {
        let_go();
    }

    fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    fn leads_session(&self) -> bool {
        self.terminal.as_ref().is_some_and(Terminal::is_led_by_us)
    }

    fn stop_self_by(&self, signal: i32) {
        let owner = self.terminal.as_ref().and_then(Terminal::foreground);
        let owner = owner.filter(|&leader| tree::descends(leader, self.pid));
        match Signal::try_from(signal) {
            // Somebody continues us, or the command, already.
            _ if is_pending(libc::SIGCONT) => return,
            // The kernel stops by it whether anybody can continue us or not.
            Ok(Signal::SIGSTOP) if !has_job_control(getppid()) => return,
            Ok(signal) => stop_self_by(signal),
            Err(_) => return,
        }
        if let (Some(terminal), Some(owner)) = (&self.terminal, owner) {
            terminal.hand_to(owner);
        }
    }

    fn put_terminal_back(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.put_back();
        }
    }
}

/// Sends a packet once there is room for it. Cancel-safe.
async fn send(socket: &AsyncFd<PacketSocket>, packet: &mut Option<Vec<u8>>) {
    while let Some(unsent) = packet {
        let Ok(mut ready) = socket.writable().await else { return };
        match ready.get_inner().send(unsent, &[]) {
            Err(Errno::EAGAIN) => ready.clear_ready(),
            // The guard may be gone; then nobody is to get it.
            _ => *packet = None,
        }
    }
}

/// Waits for the guard's next message; `None` once the guard is dead, or can't be understood. Cancel-safe.
async fn receive(socket: &AsyncFd<PacketSocket>, guard: Pid) -> Option<GuardMessage> {
    loop {
        let mut ready = socket.readable().await.ok()?;
        let mut bytes = [0; LONGEST];
        match ready.get_inner().receive(&mut bytes) {
            Ok(packet) if packet.length == 0 => return None,
            Ok(packet) => {
                let message: GuardMessage = decode(&bytes[..packet.length]).ok()?;
                // A packet that names no other process names its sender.
                let named = packet.process.filter(|&named| named != guard);
                return Some(match named {
                    Some(process) => message.with_process(process),
                    None => message,
                });
            }
            Err(Errno::EAGAIN | Errno::EINTR) => ready.clear_ready(),
            Err(_) => return None,
        }
    }
}
