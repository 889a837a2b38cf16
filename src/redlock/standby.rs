//! Standing by: sends nothing until the lock may be free, then takes turns with the other standbys.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::net::{
    node::Node,
    pubsub::{Change, Notification},
};
use crate::{
    clock::{Moment, reach},
    lease::{Times, handover_turn},
    lock::ReleaseProof,
};

/// How long it takes one that was woken to get its votes on a busy machine, besides the leader's round trips. Then all are told.
pub(crate) const ELECTED_WITHIN: Duration = Duration::from_millis(20);

/// Waits on behalf of a standby, for all slots at once.
pub(crate) struct StandbyWaiter {
    /// In the order of the slots.
    pub timers: Vec<TakeoverTimer>,
    notifications: mpsc::Receiver<Notification>,
    listening: bool,
}

impl StandbyWaiter {
    /// Creates a waiter that doesn't listen yet.
    pub(crate) fn new(slots: usize, notifications: mpsc::Receiver<Notification>) -> Self {
        StandbyWaiter { timers: vec![TakeoverTimer::new(); slots], notifications, listening: false }
    }

    /// Returns whether we are among the listeners, so that a release of ours must not count us.
    pub(crate) fn is_listening(&self) -> bool {
        self.listening
    }

    /// Takes in the notifications from before a new round. The round shows what they say, but for a release that not every node knows
    /// of yet: its proof is needed.
    pub(crate) fn catch_up(&mut self, times: &Times) {
        while let Ok(notification) = self.notifications.try_recv() {
            if let Notification::Message { slot, change } = notification {
                self.hear(slot, change, times);
            }
        }
    }

    fn hear(&mut self, slot: u16, change: Change, times: &Times) {
        if let Some(timer) = self.timers.get_mut(usize::from(slot).wrapping_sub(1)) {
            timer.hear(change, times, Moment::now(), fastrand::f64());
        }
    }

    /// Stops waiting for good: a leader never stands by again. It is no listener any more, so that only standbys are counted, and
    /// are told of other slots.
    pub(crate) fn close(&mut self, nodes: &[Arc<Node>]) {
        self.notifications.close();
        while self.notifications.try_recv().is_ok() {}
        if std::mem::take(&mut self.listening) {
            nodes.iter().for_each(|node| node.listen_no_more());
        }
    }

    /// Starts to listen on the nodes. Returns whether we did not listen before: earlier notifications are lost then,
    /// and a round must follow.
    pub(crate) async fn listen(&mut self, nodes: &[Arc<Node>], times: &Times) -> bool {
        if self.listening {
            return false;
        }
        self.listening = true;
        nodes.iter().for_each(|node| node.listen());
        // Ends as soon as all are connected, or one reports a change. A node that can't be reached now sends a notification once it can.
        let mut connected = 0;
        let all = async {
            while connected < nodes.len()
                && let Some(notification) = self.notifications.recv().await
            {
                match notification {
                    Notification::Connected => connected += 1,
                    Notification::Message { slot, change } => return self.hear(slot, change, times),
                }
            }
        };
        let _ = tokio::time::timeout(times.answer_timeout(), all).await;
        true
    }

    /// Waits until the votes that were seen could have expired or a node reports a release, then for our turn among the
    /// standbys. Returns at once when a node is connected again. If another candidate gets votes meanwhile, waits until
    /// that candidate's lease could have expired. `free_in`: in the order of the slots. Returns the index of a slot that was
    /// released.
    pub(crate) async fn wait(&mut self, free_in: &[Option<Duration>], times: &Times) -> Option<usize> {
        for (timer, free_in) in self.timers.iter_mut().zip(free_in) {
            timer.begin(*free_in, times, Moment::now(), fastrand::f64());
        }
        loop {
            let (goes_at, released) = self.next();
            let notification = tokio::select! {
                biased;
                notification = self.notifications.recv() => notification,
                () = reach(goes_at) => return released,
            };
            let Some(notification) = notification else {
                // No more notifications can come.
                reach(goes_at).await;
                return released;
            };
            match notification {
                Notification::Connected => return None,
                Notification::Message { slot, change } => self.hear(slot, change, times),
            }
        }
    }

    /// Returns when to campaign for the slot that is due first, and its index if it was released.
    fn next(&self) -> (Option<Moment>, Option<usize>) {
        let due = self.timers.iter().enumerate().filter_map(|(slot, timer)| Some((timer.goes_at()?, slot)));
        match due.min() {
            Some((goes_at, slot)) => (Some(goes_at), self.timers[slot].released.then_some(slot)),
            None => (None, None),
        }
    }
}

/// Decides when a standby campaigns for a slot, from what it knows. Pure: no I/O and no clock of its own.
#[derive(Clone)]
pub(crate) struct TakeoverTimer {
    /// How long a round takes.
    round_trip: Duration,
    /// How many standbys listen, by the last round that told. What a message says of that counts for its own turn alone.
    listeners: u32,
    /// What proves the release of the lock that was released last. A node that doesn't know of the release yet may treat
    /// that lock as free.
    freed: Option<ReleaseProof>,
    /// A node may notify us of a vote in a round of ours that was lost.
    own_vote_told: bool,
    /// The lock was released, according to a message, and no other candidate has got votes since.
    released: bool,
    /// Only those on our wake-up channel know of that.
    woken: bool,
    go: Option<Moment>,
    /// The latest moment to which messages may put that off.
    latest: Option<Moment>,
}

impl TakeoverTimer {
    pub(crate) fn new() -> Self {
        TakeoverTimer {
            round_trip: Duration::from_millis(1),
            listeners: 0,
            freed: None,
            own_vote_told: false,
            released: false,
            woken: false,
            go: None,
            latest: None,
        }
    }

    /// Returns what proves the last release, as far as is known.
    pub(crate) fn freed(&self) -> Option<&ReleaseProof> {
        self.freed.as_ref()
    }

    /// Returns whether only those on our wake-up channel need to hear of our campaign: the others are told of the release only if
    /// it takes long.
    pub(crate) fn is_woken(&self) -> bool {
        self.woken && self.round_trip < ELECTED_WITHIN
    }

    /// Returns how long a round takes.
    pub(crate) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Records how long a round took, and how many listen.
    pub(crate) fn learn(&mut self, round_trip: Duration, listeners: Option<u32>) {
        self.round_trip = round_trip;
        self.listeners = listeners.unwrap_or(self.listeners);
    }

    /// Notes whether a node may notify us of a vote in a round of ours that was lost.
    pub(crate) fn expect_own_vote(&mut self, may_be_told: bool) {
        self.own_vote_told = may_be_told;
    }

    /// Returns when to campaign, unless a notification changes that; `None` if it isn't known.
    pub(crate) fn goes_at(&self) -> Option<Moment> {
        self.go
    }

    /// Begins to wait. A live leader extends at about the time when the votes that were seen expire. The campaign comes
    /// after that. `chance`: a random number, at least 0 and below 1.
    pub(crate) fn begin(&mut self, free_in: Option<Duration>, times: &Times, now: Moment, chance: f64) {
        // Messages may be anybody's. After a ttl at the latest, what they say can be seen on the nodes.
        let latest = now + free_in.unwrap_or_default() + times.ttl() + times.drift();
        self.go =
            free_in.map(|free_in| (now + free_in + times.drift() + self.turn(self.listeners, chance)).min(latest));
        self.latest = Some(latest);
        (self.released, self.woken) = (false, false);
    }

    /// Takes a message about the slot.
    pub(crate) fn hear(&mut self, change: Change, times: &Times, now: Moment, chance: f64) {
        let is_wake_up = matches!(change, Change::Woken { .. });
        match change {
            Change::Released { proof, listeners }
            | Change::Woken { proof, listeners }
            | Change::Done { proof, listeners }
                if proof.is_none() || proof != self.freed =>
            {
                self.woken = is_wake_up;
                self.freed = proof.or(self.freed.take());
                let turn = now + self.turn(listeners, chance);
                self.go = [self.go, self.latest, Some(turn)].into_iter().flatten().min();
                self.released = true;
            }
            Change::Woken { .. } => {}
            // Now the others know as well.
            Change::Released { .. } | Change::Done { .. } => self.woken = false,
            Change::Held { left, listeners } => self.put_off(now, left, times, self.turn(listeners, chance)),
            // Our own vote isn't another candidate's: it must not make us wait for a ttl. If it is another's after all, that costs
            // a round.
            Change::Acquired { .. } if std::mem::take(&mut self.own_vote_told) => {}
            Change::Acquired { freed } => {
                // Another node may report the release that this vote follows only later. It is nothing new then.
                self.freed = freed.or(self.freed.take());
                self.put_off(now, times.ttl(), times, self.turn(self.listeners, chance));
            }
        }
    }

    /// Waits for a lock that, by a message, is taken for this long.
    fn put_off(&mut self, now: Moment, taken: Duration, times: &Times, turn: Duration) {
        let longest = if broken!("longest_wait") { Duration::MAX } else { times.ttl() };
        let go = now + taken.min(longest) + times.drift() + turn;
        let latest = self.latest.filter(|_| !broken!("longest_wait"));
        self.go = Some(latest.map_or(go, |latest| go.min(latest)));
        (self.released, self.woken) = (false, false);
    }

    /// Returns the time until our turn among so many.
    fn turn(&self, listeners: u32, chance: f64) -> Duration {
        handover_turn(listeners, self.round_trip, chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(times: &Times, now: Moment) -> TakeoverTimer {
        let mut timer = TakeoverTimer::new();
        timer.begin(Some(times.ttl()), times, now, 0.0);
        timer
    }

    fn released(value: &str) -> Change {
        Change::Released { proof: ReleaseProof::from_message(value), listeners: 1 }
    }

    #[test]
    fn a_vote_for_another_candidate_keeps_a_standby_waiting_for_a_ttl() {
        let (times, now) = (Times::new(Duration::from_secs(15), None).expect("times that fit"), Moment::now());
        let mut timer = waiting(&times, now);
        timer.hear(released("a"), &times, now, 0.0);
        assert_eq!(timer.goes_at(), Some(now));
        timer.hear(Change::Acquired { freed: None }, &times, now, 0.0);
        assert!(timer.goes_at() >= Some(now + times.ttl()));
    }

    #[tokio::test]
    async fn what_is_said_of_one_slot_makes_a_standby_campaign_for_that_one_and_look_when_another_could_expire() {
        let (sender, receiver) = mpsc::channel(8);
        let mut standby = StandbyWaiter::new(3, receiver);
        let times = Times::new(Duration::from_secs(15), None).expect("times that fit");
        let taken = [Some(times.ttl()); 3];
        let message = |slot, change| sender.try_send(Notification::Message { slot, change }).expect("room");
        message(2, released("a"));
        message(3, Change::Acquired { freed: None });
        message(4, released("b"));
        assert_eq!(standby.wait(&taken, &times).await, Some(1));
        assert_eq!(standby.timers[1].freed(), ReleaseProof::from_message("a").as_ref());
        assert_eq!(standby.timers[0].freed(), None);
        let soon = [taken[0], taken[1], Some(Duration::ZERO)];
        assert_eq!(standby.wait(&soon, &times).await, None);
    }

    #[test]
    fn what_proves_a_release_is_remembered_though_a_round_follows_at_once() {
        let (sender, receiver) = mpsc::channel(8);
        let mut standby = StandbyWaiter::new(1, receiver);
        let message = Notification::Message { slot: 1, change: released("a") };
        for notification in [Notification::Connected, message] {
            sender.try_send(notification).expect("room");
        }
        standby.catch_up(&Times::new(Duration::from_secs(15), None).expect("times that fit"));
        assert_eq!(standby.timers[0].freed(), ReleaseProof::from_message("a").as_ref());
    }

    #[test]
    fn no_number_in_a_message_puts_a_look_off_for_more_than_a_ttl() {
        let (times, now) = (Times::new(Duration::from_secs(15), None).expect("times that fit"), Moment::now());
        let mut timer = waiting(&times, now);
        let latest = now + 2 * times.ttl() + times.drift();
        for left in [Duration::ZERO, Duration::from_millis(u64::MAX)] {
            timer.hear(Change::Held { left, listeners: u32::MAX }, &times, now, 0.9);
            assert!(timer.goes_at() <= Some(latest));
        }
        timer.learn(Duration::from_millis(1), None);
        timer.begin(Some(Duration::ZERO), &times, now, 0.9);
        assert!(timer.goes_at() <= Some(latest));
        timer.hear(released("a"), &times, now, 0.9);
        assert!(timer.goes_at() <= Some(now + times.ttl() + times.drift()));
        timer.hear(Change::Released { proof: None, listeners: u32::MAX }, &times, now, 0.9);
        timer.begin(Some(Duration::ZERO), &times, now, 0.9);
        assert_eq!(timer.goes_at(), Some(now + times.drift()), "a later turn");
    }

    #[test]
    fn only_the_campaign_for_which_a_standby_was_woken_needs_no_other_to_hear_of_it() {
        let (times, now) = (Times::new(Duration::from_secs(15), None).expect("times that fit"), Moment::now());
        let woken = |then: &[Change]| {
            let mut timer = waiting(&times, now);
            timer.hear(Change::Woken { proof: ReleaseProof::from_message("a"), listeners: 1 }, &times, now, 0.0);
            assert_eq!(timer.goes_at(), Some(now));
            then.iter().for_each(|change| timer.hear(change.clone(), &times, now, 0.0));
            timer
        };
        assert!(woken(&[]).is_woken());
        assert!(!woken(&[released("a")]).is_woken(), "all are told");
        assert!(
            !woken(&[Change::Acquired { freed: None }]).is_woken(),
            "it campaigns when the votes could have expired"
        );
        let mut far = woken(&[]);
        far.learn(2 * ELECTED_WITHIN, None);
        assert!(!far.is_woken(), "all are told before its request arrives");
    }

    #[test]
    fn a_vote_in_a_lost_round_of_its_own_does_not() {
        let (times, now) = (Times::new(Duration::from_secs(15), None).expect("times that fit"), Moment::now());
        let mut timer = waiting(&times, now);
        timer.expect_own_vote(true);
        timer.hear(released("a"), &times, now, 0.0);
        timer.hear(Change::Acquired { freed: None }, &times, now, 0.0);
        assert_eq!(timer.goes_at(), Some(now));
    }
}
