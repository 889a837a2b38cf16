//! Standing by: silent until the nodes tell that the lead may be had, then one of many at a time.

use std::{collections::HashSet, time::Duration};

use tokio::{sync::mpsc, time::sleep};

use super::{news::News, node::Node};
use crate::{
    clock::Moment,
    lease::{Times, handover_window},
};
use std::sync::Arc;

/// What a standby knows and waits for.
pub struct Standby {
    news: mpsc::UnboundedReceiver<News>,
    listening: bool,
    /// How long a round takes.
    round_trip: Duration,
    /// How many listen, as far as was told.
    listeners: u32,
}

impl Standby {
    pub fn new(news: mpsc::UnboundedReceiver<News>) -> Self {
        Standby { news, listening: false, round_trip: Duration::from_millis(1), listeners: 0 }
    }

    /// Whether the nodes tell us of a release, so that ours must not count us.
    pub fn is_listening(&self) -> bool {
        self.listening
    }

    /// A round begins: what was told before it is no news.
    pub fn forget(&mut self) {
        while self.news.try_recv().is_ok() {}
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

    /// Waits until the votes that were seen could have run out, a quorum of nodes tells of a release, or a node is there
    /// again; then for a random part of a window that grows with the number of those who wait. Whoever hears meanwhile that
    /// another has votes waits on, for that one's lease to run out.
    pub async fn wait(&mut self, free_in: Option<Duration>, quorum: usize, times: &Times) {
        let mut go = free_in.map(|free_in| Moment::now() + free_in + self.turn());
        let mut released: HashSet<usize> = HashSet::new();
        loop {
            let news = tokio::select! {
                biased;
                news = self.news.recv() => news,
                () = at(go) => return,
            };
            match news {
                Some(News::Released { node, listeners }) => {
                    self.listeners = listeners;
                    released.insert(node);
                    // Where one node's message stays away, its release may all the same have come.
                    let patience = if released.len() < quorum { times.answer_timeout() / 4 } else { Duration::ZERO };
                    if released.len() == 1 || released.len() == quorum {
                        let turn = Moment::now() + patience + self.turn();
                        go = Some(go.map_or(turn, |go| go.min(turn)));
                    }
                }
                Some(News::Acquired) => {
                    released.clear();
                    go = Some(Moment::now() + times.ttl() + self.turn());
                }
                Some(News::Connected) => return,
                // Nobody tells anything any more.
                None => return at(go).await,
            }
        }
    }

    fn turn(&self) -> Duration {
        handover_window(self.listeners, self.round_trip).mul_f64(fastrand::f64())
    }
}

async fn at(moment: Option<Moment>) {
    match moment {
        Some(moment) => sleep(moment.remaining()).await,
        None => std::future::pending().await,
    }
}
