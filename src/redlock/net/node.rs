//! One node: requests that end within their time, over a connection that somebody else keeps up.

use std::{future::Future, sync::Arc, time::Duration};

use redis::{Cmd, ConnectionAddr, Value};
use tokio::{sync::watch, time::timeout};

use super::{
    address::Address,
    connection::{ConnectionRequests, ConnectionState, Connector},
    failure::Failure,
    pubsub::NotificationSender,
    sentinel::Sentinels,
    tls::Tls,
};
use crate::{lease::Times, redlock::config::RedlockConfig};

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The node as the rounds see it.
pub struct Node {
    /// Its place among the nodes.
    pub index: usize,
    pub address: Address,
    link: watch::Receiver<ConnectionState>,
    requests: Arc<ConnectionRequests>,
    sentinels: Option<Arc<Sentinels>>,
    answer_timeout: Duration,
    connect_timeout: Duration,
}

/// What a node is reached by, and where its news go.
pub struct NodeContext {
    pub tls: Option<Tls>,
    pub sentinels: Option<Arc<Sentinels>>,
    pub notifications: NotificationSender,
}

/// An answer that may count.
#[derive(Debug)]
pub struct Vote {
    pub answer: Value,
    /// For how long its server has been the node's master; always, where nobody replaces it.
    pub master_for: Duration,
}

impl Node {
    /// Begins to connect to one of a config's nodes; from within a runtime.
    pub fn at(
        config: &RedlockConfig,
        index: usize,
        channel: &str,
        notifications: NotificationSender,
        times: &Times,
    ) -> Self {
        let address = &config.addresses[index];
        let sentinels = address.group().map(|group| Arc::new(Sentinels::new(group, config, times)));
        Self::new(index, address, channel, NodeContext { tls: config.tls.clone(), sentinels, notifications }, times)
    }

    /// Begins to connect; from within a runtime.
    pub fn new(index: usize, address: &Address, channel: &str, context: NodeContext, times: &Times) -> Self {
        let NodeContext { tls, sentinels, notifications } = context;
        let (links, link) = watch::channel(ConnectionState::First);
        let requests = Arc::new(ConnectionRequests::default());
        let connector = Connector {
            address: address.clone(),
            channel: channel.to_owned(),
            notifications,
            tls,
            sentinels: sentinels.clone(),
            links,
            requests: requests.clone(),
            connect_timeout: times.connect_timeout(),
            // Sent and not acknowledged for so long: the network is gone, and a new connection is tried.
            unanswered: times.connect_timeout().max(Duration::from_millis(500)),
            pause: times.retry_after(),
            longest_pause: times.extend_every().min(LONGEST_PAUSE),
        };
        tokio::spawn(connector.keep());
        let (answer_timeout, connect_timeout) = (times.answer_timeout(), times.connect_timeout());
        Node { index, address: address.clone(), link, requests, sentinels, answer_timeout, connect_timeout }
    }

    pub fn is_connected(&self) -> bool {
        matches!(*self.link.borrow(), ConnectionState::Up(_))
    }

    /// Makes the connection listen on the lock's channel, from now on.
    pub fn listen(&self) {
        self.requests.listening.notify_one();
    }

    /// Sends a command and waits for its answer, no longer than a node may take; for a node that has never been connected,
    /// as long as a new connection may take besides.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn ask(&self, cmd: Cmd) -> impl Future<Output = Result<Value, Failure>> + Send + use<> {
        let asked = self.ask_server(cmd);
        async move { asked.await.map(|(value, _)| value) }
    }

    /// Asks for what counts only of the server that the Sentinels, where there are some, still have for the master when it has
    /// answered: one that was replaced doesn't know that.
    ///
    /// # Errors
    /// Why there is no answer, or why it doesn't count.
    pub fn ask_for_vote(&self, cmd: Cmd) -> impl Future<Output = Result<Vote, Failure>> + Send + use<> {
        let (asked, sentinels, requests) = (self.ask_server(cmd), self.sentinels.clone(), self.requests.clone());
        let link = self.link.clone();
        async move {
            let answered = asked.await;
            let Some(sentinels) = sentinels else {
                return answered.map(|(answer, _)| Vote { answer, master_for: Duration::MAX });
            };
            let (answer, server) = match answered {
                Ok(answered) => answered,
                Err(failure) => {
                    tokio::spawn(leave_replaced(link, sentinels, requests));
                    return Err(failure);
                }
            };
            let master = sentinels.master().await?;
            if master.server != server {
                requests.connection.notify_one();
                return Err(Failure::Replaced);
            }
            Ok(Vote { answer, master_for: master.known_for })
        }
    }

    /// Sends a command and waits for its answer, and says which server that came from.
    fn ask_server(&self, cmd: Cmd) -> impl Future<Output = Result<(Value, ConnectionAddr), Failure>> + Send + use<> {
        let mut link = self.link.clone();
        let requests = self.requests.clone();
        let plain = !self.address.has_tls();
        let fresh = matches!(*link.borrow(), ConnectionState::First);
        let within = self.answer_timeout + if fresh { self.connect_timeout } else { Duration::ZERO };
        async move {
            let mut unconnected = None;
            match timeout(within, ask_linked(&mut link, &requests, &cmd, plain, &mut unconnected)).await {
                Ok(answer) => answer,
                // Why there was no connection says more than that there is none again yet.
                Err(_) => Err(unconnected.unwrap_or(Failure::TimedOut)),
            }
        }
    }
}

/// A server that doesn't answer may have been replaced, and its connection stay.
async fn leave_replaced(
    link: watch::Receiver<ConnectionState>,
    sentinels: Arc<Sentinels>,
    requests: Arc<ConnectionRequests>,
) {
    let ConnectionState::Up(connection) = link.borrow().clone() else { return };
    if sentinels.master().await.is_ok_and(|master| master.server != connection.server) {
        requests.connection.notify_one();
    }
}

/// Asks once, and once more over a new connection if the present one turns out to be broken.
async fn ask_linked(
    link: &mut watch::Receiver<ConnectionState>,
    requests: &ConnectionRequests,
    cmd: &Cmd,
    plain: bool,
    unconnected: &mut Option<Failure>,
) -> Result<(Value, ConnectionAddr), Failure> {
    let mut retried = false;
    loop {
        let now = link.borrow_and_update().clone();
        match now {
            ConnectionState::First | ConnectionState::Connecting => {}
            ConnectionState::Down(failure) if retried => return Err(failure),
            ConnectionState::Down(failure) => {
                *unconnected = Some(failure);
                retried = true;
                requests.connection.notify_one();
            }
            ConnectionState::Up(mut connection) => {
                let answer = cmd.query_async::<Value>(&mut connection.asked).await;
                connection.budget.settle();
                match answer {
                    Ok(value) => return Ok((value, connection.server)),
                    Err(error) if error.is_unrecoverable_error() && !retried => {
                        retried = true;
                        requests.connection.notify_one();
                    }
                    Err(error) if error.is_connection_dropped() && unconnected.is_none() => {
                        return Err(Failure::closed_unanswered(plain));
                    }
                    Err(error) => return Err(Failure::of(&error, cmd)),
                }
            }
        }
        if link.changed().await.is_err() {
            return Err(Failure::NotHeard);
        }
    }
}
