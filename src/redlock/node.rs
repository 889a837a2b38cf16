//! One node: requests that end within their time, over a connection that somebody else keeps up.

use std::{future::Future, sync::Arc, time::Duration};

use redis::{Cmd, Value};
use tokio::{sync::watch, time::timeout};

use super::{
    Address, Failure, Site,
    keeper::{Keeper, Link, Wishes},
    news::Newswire,
};
use crate::lease::Times;

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The node as the rounds see it.
pub struct Node {
    /// Its place among the nodes.
    pub index: usize,
    pub address: Address,
    link: watch::Receiver<Link>,
    wishes: Arc<Wishes>,
    answer_timeout: Duration,
    connect_timeout: Duration,
}

impl Node {
    /// Begins to connect; from within a runtime.
    pub fn new(index: usize, site: &Site, channel: &str, newswire: Newswire, times: &Times) -> Self {
        let address = site.addresses[index].clone();
        let (links, link) = watch::channel(Link::First);
        let wishes = Arc::new(Wishes::default());
        let keeper = Keeper {
            address: address.clone(),
            channel: channel.to_owned(),
            newswire,
            tls: site.tls.clone(),
            links,
            wishes: wishes.clone(),
            connect_timeout: times.connect_timeout(),
            // Sent and not acknowledged for so long: the network is gone, and a new connection is tried.
            unanswered: times.connect_timeout().max(Duration::from_millis(500)),
            pause: times.retry_after(),
            longest_pause: times.extend_every().min(LONGEST_PAUSE),
        };
        tokio::spawn(keeper.keep());
        let (answer_timeout, connect_timeout) = (times.answer_timeout(), times.connect_timeout());
        Node { index, address, link, wishes, answer_timeout, connect_timeout }
    }

    pub fn is_connected(&self) -> bool {
        matches!(*self.link.borrow(), Link::Up(_))
    }

    /// Makes the connection listen on the lock's channel, from now on.
    pub fn listen(&self) {
        self.wishes.listening.notify_one();
    }

    /// Sends a command and waits for its answer, no longer than a node may take; for a node that has never been connected,
    /// as long as a new connection may take besides.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn ask(&self, cmd: Cmd) -> impl Future<Output = Result<Value, Failure>> + Send + use<> {
        let mut link = self.link.clone();
        let wishes = self.wishes.clone();
        let plain = !self.address.has_tls();
        let fresh = matches!(*link.borrow(), Link::First);
        let within = self.answer_timeout + if fresh { self.connect_timeout } else { Duration::ZERO };
        async move {
            let mut unconnected = None;
            match timeout(within, ask_linked(&mut link, &wishes, &cmd, &mut unconnected)).await {
                Ok(Err(failure)) if failure == Failure::hung_up() => Err(failure.perhaps_for_tls(plain)),
                Ok(answer) => answer,
                // Why there was no connection says more than that there is none again yet.
                Err(_) => Err(unconnected.unwrap_or_else(Failure::timed_out)),
            }
        }
    }
}

/// Asks once, and once more over a new connection if the present one turns out to be broken.
async fn ask_linked(
    link: &mut watch::Receiver<Link>,
    wishes: &Wishes,
    cmd: &Cmd,
    unconnected: &mut Option<Failure>,
) -> Result<Value, Failure> {
    let mut retried = false;
    loop {
        let now = link.borrow_and_update().clone();
        match now {
            Link::First | Link::Connecting => {}
            Link::Down(failure) if retried => return Err(failure),
            Link::Down(failure) => {
                *unconnected = Some(failure);
                retried = true;
                wishes.connection.notify_one();
            }
            Link::Up(mut connection) => match cmd.query_async::<Value>(&mut connection.asked).await {
                Ok(value) => {
                    connection.gauge.settle();
                    return Ok(value);
                }
                Err(error) if error.is_unrecoverable_error() && !retried => {
                    retried = true;
                    wishes.connection.notify_one();
                }
                Err(error) => {
                    connection.gauge.settle();
                    let hung_up = error.is_connection_dropped() && unconnected.is_none();
                    return Err(if hung_up { Failure::hung_up() } else { Failure::of(&error, cmd) });
                }
            },
        }
        if link.changed().await.is_err() {
            return Err(Failure::not_heard());
        }
    }
}
