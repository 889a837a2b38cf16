//! Signals of which the command has got a copy of its own: systemd signals each process of a unit (KillMode=control-group).
//! What the elector passes on then waits for a moment. If the same signal comes from the same sender to the guard as well,
//! it has gone to all, and isn't passed on. Pure: no I/O and no clock of its own.

use std::{collections::VecDeque, time::Duration};

use nix::libc::c_int;

use super::protocol::Recipient;
use crate::clock::Moment;

/// How far apart a sender sends a signal to all processes of a unit, at most.
const A_MOMENT: Duration = Duration::from_millis(100);

/// How long the guard's copy of a signal is remembered: on a busy host, the elector takes its own much later. It accounts
/// for one signal only, so that a longer time does no harm.
const REMEMBERED: Duration = Duration::from_secs(10);

/// The signals of a moment.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Those that the elector has got, until it is clear that they were for it alone.
    held: VecDeque<Held>,
    /// Those that the guard has got.
    heard: Vec<Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    signal: c_int,
    to: Recipient,
    sender: i32,
    until: Moment,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    signal: c_int,
    /// 0: a process outside of the guard's PID namespace.
    sender: i32,
    until: Moment,
}

impl Copies {
    /// Holds a signal that the elector has got back, unless the guard has got it, too.
    pub(super) fn hold(&mut self, signal: c_int, to: Recipient, sender: i32, now: Moment) {
        self.forget(now);
        let held = Held { signal, to, sender, until: now + A_MOMENT };
        match self.heard.iter().position(|heard| heard.is_copy_of(&held)) {
            Some(copy) => drop(self.heard.swap_remove(copy)),
            None => self.held.push_back(held),
        }
    }

    /// Takes note of a signal that the guard has got. One like it that is held was sent to all.
    pub(super) fn hear(&mut self, signal: c_int, sender: i32, now: Moment) {
        self.forget(now);
        let heard = Heard { signal, sender, until: now + REMEMBERED };
        match self.held.iter().position(|held| heard.is_copy_of(held)) {
            Some(held) => drop(self.held.remove(held)),
            None => self.heard.push(heard),
        }
    }

    /// Returns when the next signal is to be passed on.
    pub(super) fn next(&self) -> Option<Moment> {
        self.held.front().map(|held| held.until)
    }

    /// Returns the next signal that is to be passed on by now.
    pub(super) fn due(&mut self, now: Moment) -> Option<(c_int, Recipient)> {
        let held = *self.held.front().filter(|held| now >= held.until)?;
        self.held.pop_front();
        Some((held.signal, held.to))
    }

    fn forget(&mut self, now: Moment) {
        self.heard.retain(|heard| now < heard.until);
    }
}

impl Heard {
    fn is_copy_of(&self, held: &Held) -> bool {
        self.signal == held.signal && [0, held.sender].contains(&self.sender)
    }
}

#[cfg(test)]
mod tests {
    use nix::libc::{SIGTERM, SIGUSR1};

    use super::*;

    const MANAGER: i32 = 1;

    #[test]
    fn a_signal_to_all_is_not_passed_on_whoever_gets_it_first() {
        let now = Moment::now();
        let mut copies = Copies::default();
        copies.hold(SIGTERM, Recipient::Group, MANAGER, now);
        copies.hear(SIGTERM, MANAGER, now);
        copies.hear(SIGUSR1, 0, now);
        copies.hold(SIGUSR1, Recipient::Command, MANAGER, now);
        assert_eq!((copies.next(), copies.due(now + 2 * A_MOMENT)), (None, None));
    }

    #[test]
    fn a_signal_to_the_elector_alone_is_passed_on_after_a_moment() {
        let now = Moment::now();
        let mut copies = Copies::default();
        copies.hear(SIGTERM, 7, now);
        copies.hear(SIGUSR1, MANAGER, now);
        copies.hold(SIGTERM, Recipient::Group, MANAGER, now);
        assert_eq!((copies.next(), copies.due(now)), (Some(now + A_MOMENT), None));
        assert_eq!(copies.due(now + A_MOMENT), Some((SIGTERM, Recipient::Group)));
        assert_eq!(copies.due(now + A_MOMENT), None);
    }

    #[test]
    fn one_copy_accounts_for_one_signal_and_not_for_ever() {
        let now = Moment::now();
        let mut copies = Copies::default();
        copies.hear(SIGTERM, MANAGER, now);
        copies.hold(SIGTERM, Recipient::Group, MANAGER, now);
        copies.hold(SIGTERM, Recipient::Group, MANAGER, now);
        assert_eq!(copies.due(now + A_MOMENT), Some((SIGTERM, Recipient::Group)));
        copies.hear(SIGTERM, MANAGER, now);
        copies.hold(SIGTERM, Recipient::Group, MANAGER, now + REMEMBERED - A_MOMENT);
        assert_eq!(copies.next(), None);
        copies.hear(SIGTERM, MANAGER, now);
        let late = now + REMEMBERED;
        copies.hold(SIGTERM, Recipient::Group, MANAGER, late);
        assert_eq!(copies.due(late + A_MOMENT), Some((SIGTERM, Recipient::Group)));
    }
}
