//! Standing by: silent until the nodes tell that the lead may be had, then one of many at a time.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::net::{node::Node, pubsub::Notification};
use crate::{
    clock::{Moment, reach},
    lease::{Times, handover_turn},
    lock::WaitOutcome,
};

/// What a standby waits with.
pub struct StandbyWaiter {
    pub watch: TakeoverTimer,
    news: mpsc::Receiver<Notification>,
    listening: bool,
}

impl StandbyWaiter {
    pub fn new(news: mpsc::Receiver<Notification>, once: bool) -> Self {
        StandbyWaiter { watch: TakeoverTimer::new(once), news, listening: false }
    }

    /// Whether the nodes tell us of a release, so that ours must not count us.
    pub fn is_listening(&self) -> bool {
        self.listening
    }

    /// A round begins: what was told before it is no news.
    pub fn forget(&mut self) {
        while self.news.try_recv().is_ok() {}
    }

    /// We lead, and never stand by again.
    pub fn close(&mut self) {
        self.news.close();
        self.forget();
    }

    /// Makes the nodes tell us. What was told meanwhile is lost, so that a round must follow. True if that is new.
    pub async fn listen(&mut self, nodes: &[Arc<Node>], times: &Times) -> bool {
        if self.listening {
            return false;
        }
        self.listening = true;
        nodes.iter().for_each(|node| node.listen());
        // As soon as all listen; those that can't be reached now say so when they can.
        let mut connected = 0;
        let all = async {
            while connected < nodes.len() && self.news.recv().await.is_some_and(|news| news == Notification::Connected)
            {
                connected += 1;
            }
        };
        let _ = tokio::time::timeout(times.answer_timeout(), all).await;
        true
    }

    /// Waits until the votes that were seen could have run out, a node tells of a release, or a node is there again; then
    /// for our turn among those who wait. Whoever hears meanwhile that another has votes waits on, for that one's lease to
    /// run out.
    pub async fn wait(&mut self, free_in: Option<Duration>, times: &Times) -> WaitOutcome {
        self.watch.begin(free_in, times, Moment::now(), fastrand::f64());
        loop {
            let news = tokio::select! {
                biased;
                news = self.news.recv() => news,
                () = reach(self.watch.goes_at()) => return WaitOutcome::LookAgain,
            };
            let Some(news) = news else {
                // Nobody tells anything any more.
                reach(self.watch.goes_at()).await;
                return WaitOutcome::LookAgain;
            };
            if let Some(change) = self.watch.hear(news, times, Moment::now(), fastrand::f64()) {
                return change;
            }
        }
    }
}

/// What a standby knows, and when it goes for the lead. Pure: no I/O and no clock of its own.
pub struct TakeoverTimer {
    /// How long a round takes.
    round_trip: Duration,
    /// How many listen, as far as was told.
    listeners: u32,
    /// The value of the lock that was released last: nodes that have not heard of it yet may take it for free.
    freed: String,
    /// The command is not to run once it has succeeded for this period.
    once: bool,
    go: Option<Moment>,
}

impl TakeoverTimer {
    pub fn new(once: bool) -> Self {
        TakeoverTimer { round_trip: Duration::from_millis(1), listeners: 0, freed: String::new(), once, go: None }
    }

    pub fn freed(&self) -> &str {
        &self.freed
    }

    /// So long did a round take, and so many listen.
    pub fn learn(&mut self, round_trip: Duration, listeners: Option<u32>) {
        self.round_trip = round_trip;
        self.listeners = listeners.unwrap_or(self.listeners);
    }

    /// When to go, unless more is heard; `None`: not known.
    pub fn goes_at(&self) -> Option<Moment> {
        self.go
    }

    /// Begins to wait. A leader that is alive extends at about the time that its votes, as they were seen, run out: `go` is
    /// after that, not before. `chance`: a random number, at least 0 and below 1.
    pub fn begin(&mut self, free_in: Option<Duration>, times: &Times, now: Moment, chance: f64) {
        self.go = free_in.map(|free_in| now + free_in + times.drift() + self.turn(chance));
    }

    /// Takes news; gives what has changed if that ends the wait at once.
    pub fn hear(&mut self, news: Notification, times: &Times, now: Moment, chance: f64) -> Option<WaitOutcome> {
        match news {
            Notification::Done { .. } if self.once => return Some(WaitOutcome::Done),
            Notification::Released { value, listeners } | Notification::Done { value, listeners }
                if value != self.freed =>
            {
                self.freed = value;
                self.listeners = listeners;
                let turn = now + self.turn(chance);
                self.go = Some(self.go.map_or(turn, |go| go.min(turn)));
            }
            Notification::Released { .. } | Notification::Done { .. } => {}
            Notification::Held { left, listeners } => {
                self.listeners = listeners;
                self.go = Some(now + left + times.drift() + self.turn(chance));
            }
            Notification::Acquired { freed } => {
                // Another node may have told it before the release that it came of, which then is no news.
                if !freed.is_empty() {
                    self.freed = freed;
                }
                self.go = Some(now + times.ttl() + times.drift() + self.turn(chance));
            }
            Notification::Connected => return Some(WaitOutcome::LookAgain),
        }
        None
    }

    /// The time until our turn.
    fn turn(&self, chance: f64) -> Duration {
        handover_turn(self.listeners, self.round_trip, chance)
    }
}
