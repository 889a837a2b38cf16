//! Standing by: silent until the nodes tell that the lead may be had, then one of many at a time.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{news::News, node::Node};
use crate::{
    clock::{Moment, reach},
    lease::{Times, handover_turn},
    store::Change,
};

/// What a standby knows and waits for.
pub struct Standby {
    news: mpsc::UnboundedReceiver<News>,
    listening: bool,
    /// How long a round takes.
    round_trip: Duration,
    /// How many listen, as far as was told.
    listeners: u32,
    /// The value of the lock that was released last: nodes that have not heard of it yet may take it for free.
    freed: String,
    /// The command is not to run once it has succeeded for this period.
    once: bool,
}

impl Standby {
    pub fn new(news: mpsc::UnboundedReceiver<News>, once: bool) -> Self {
        Standby {
            news,
            listening: false,
            round_trip: Duration::from_millis(1),
            listeners: 0,
            freed: String::new(),
            once,
        }
    }

    /// Whether the nodes tell us of a release, so that ours must not count us.
    pub fn is_listening(&self) -> bool {
        self.listening
    }

    pub fn freed(&self) -> &str {
        &self.freed
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

    /// So long did a round take, and so many listen.
    pub fn learn(&mut self, round_trip: Duration, listeners: Option<u32>) {
        self.round_trip = round_trip;
        self.listeners = listeners.unwrap_or(self.listeners);
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
            while connected < nodes.len() && self.news.recv().await.is_some_and(|news| news == News::Connected) {
                connected += 1;
            }
        };
        let _ = tokio::time::timeout(times.answer_timeout(), all).await;
        true
    }

    /// Waits until the votes that were seen could have run out, a node tells of a release, or a node is there again; then
    /// for our turn among those who wait. Whoever hears meanwhile that another has votes waits on, for that one's lease to
    /// run out.
    pub async fn wait(&mut self, free_in: Option<Duration>, times: &Times) -> Change {
        // A leader that is alive extends at about the time that its votes would have run out: after that, not before.
        let mut go = free_in.map(|free_in| Moment::now() + free_in + times.drift() + self.turn());
        loop {
            let news = tokio::select! {
                biased;
                news = self.news.recv() => news,
                () = reach(go) => return Change::LookAgain,
            };
            match news {
                Some(News::Done { .. }) if self.once => return Change::Done,
                Some(News::Released { value, listeners } | News::Done { value, listeners }) if value != self.freed => {
                    self.freed = value;
                    self.listeners = listeners;
                    let turn = Moment::now() + self.turn();
                    go = Some(go.map_or(turn, |go| go.min(turn)));
                }
                Some(News::Released { .. } | News::Done { .. }) => {}
                Some(News::Held { left, listeners }) => {
                    self.listeners = listeners;
                    go = Some(Moment::now() + left + times.drift() + self.turn());
                }
                Some(News::Acquired { freed }) => {
                    // Another node may have told it before the release that it came of, which then is no news.
                    if !freed.is_empty() {
                        self.freed = freed;
                    }
                    go = Some(Moment::now() + times.ttl() + times.drift() + self.turn());
                }
                Some(News::Connected) => return Change::LookAgain,
                // Nobody tells anything any more.
                None => {
                    reach(go).await;
                    return Change::LookAgain;
                }
            }
        }
    }

    /// The time until our turn.
    fn turn(&self) -> Duration {
        handover_turn(self.listeners, self.round_trip, fastrand::f64())
    }
}
