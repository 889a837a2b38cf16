//! What the elector asks of its guard and hears from it.

use std::os::fd::RawFd;

use nix::errno::Errno;

use super::{
    protocol::{GuardMessage, Order},
    signals::Signaled,
};
use crate::sys::wait::Ending;

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

/// The guard, seen from the elector. The simulation has one of its own.
pub(crate) trait Guard {
    /// Sends an order, and copies of descriptors with it.
    ///
    /// # Errors
    /// The guard is dead, or frozen and has not read for long.
    fn order(&self, order: &Order, with: &[RawFd]) -> Result<(), Errno>;

    /// Sends an order about a signal, later if there is no room for it now: many signals may come at once.
    fn pass_on(&mut self, order: &Order);

    /// Waits for the next thing to happen. Cancel-safe.
    async fn hear(&mut self) -> GuardEvent;

    /// Returns whether the guard is stopped, by a signal or a debugger, as far as can be seen.
    fn is_stopped(&self) -> bool {
        false
    }

    /// Kills the guard, if it has not ended. What is left of its tree becomes ours. Doesn't wait: a guard that is stuck, or
    /// under a debugger, may not die.
    fn kill(&mut self);

    /// Kills the guard, which has nothing left to do, and waits for its end, for a second at most.
    async fn end(&mut self);

    /// Kills what a dead guard has left to us. Returns whether nothing is left.
    fn clear_after_death(&mut self) -> bool;

    /// Returns how the command ended, if it ended by itself and its guard died before it could say so.
    fn ending_left(&self) -> Option<Ending>;

    /// Closes what the command has inherited through us.
    fn let_go(&self);

    /// Returns whether there is a terminal. Then the command is started in our process group, which gets the terminal's
    /// signals as a whole.
    fn has_terminal(&self) -> bool;

    /// Returns whether we lead the terminal's session: then the kernel tells us alone of a hang-up.
    fn leads_session(&self) -> bool;

    /// Stops this process by the signal that has stopped the command, if a shell can continue it, until it has been
    /// continued. Then a process group of the command's own has the terminal again, if it had that.
    fn stop_self_by(&self, signal: i32);

    /// Restores the terminal settings that a killed command may have changed.
    fn put_terminal_back(&self);

    /// Lets the guard end.
    fn dismiss(&self) {
        let _ = self.order(&Order::End, &[]);
    }

    /// Waits for a signal that would end a process. Cancel-safe.
    async fn terminated(&mut self) {
        loop {
            match self.hear().await {
                GuardEvent::Signal(signal) if signal.ends_a_process() => return,
                GuardEvent::GuardDied => std::future::pending().await,
                _ => {}
            }
        }
    }
}
