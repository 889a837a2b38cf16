//! Keeps one node's connection up, beside the rounds: connects whenever there is no connection, at once where somebody needs
//! one, else after growing, jittered pauses. Names are looked up here, off the elector's loop.

use std::{io, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt};
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, ProtocolVersion, RedisConnectionInfo, RedisError,
    RedisResult,
    aio::{MultiplexedConnection, PubSub},
};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{
    address::Address,
    failure::Failure,
    limit::{ByteBudget, LimitedStream},
    pubsub::{Notification, NotificationSender},
    sentinel::Sentinels,
    tls::Tls,
    transport,
};
use crate::clock::Moment;

/// The state of a node's connection.
#[derive(Clone)]
pub enum ConnectionState {
    /// The first attempt: nothing is known of the node yet.
    First,
    Connecting,
    Up(Connection),
    Down(Failure),
}

/// A connection, and what has come on it that is no whole answer yet.
#[derive(Clone)]
pub struct Connection {
    pub asked: MultiplexedConnection,
    pub budget: ByteBudget,
    /// The server at the other end, which is another one with each failover where Sentinels name it.
    pub server: ConnectionAddr,
}

/// A second connection, on which messages come, and what has come on it that is none yet.
struct Messages {
    pubsub: PubSub,
    budget: ByteBudget,
}

/// What the rounds ask of a connector.
#[derive(Default)]
pub struct ConnectionRequests {
    /// Somebody needs a connection now: the present one is broken, or there is none.
    pub connection: Notify,
    /// The connection is to listen on the lock's channel from now on.
    pub listening: Notify,
    /// The connection is gone, but nobody needs it now.
    lost: Notify,
}

pub struct Connector {
    pub address: Address,
    pub channel: String,
    pub notifications: NotificationSender,
    pub links: watch::Sender<ConnectionState>,
    pub requests: Arc<ConnectionRequests>,
    pub tls: Option<Tls>,
    /// They name the server.
    pub sentinels: Option<Arc<Sentinels>>,
    pub connect_timeout: Duration,
    /// How long TCP may wait for what was sent to be acknowledged.
    pub unanswered: Duration,
    /// The first pause between two attempts, and the longest.
    pub pause: Duration,
    pub longest_pause: Duration,
}

/// How news come from this server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listening {
    Not,
    /// Pushed on the one connection (RESP3, Redis 6 and newer).
    Pushed,
    /// On a second connection.
    Apart,
    /// Not at all: the user may not subscribe. Such a standby looks when the votes could have run out.
    Refused,
}

impl Connector {
    /// Runs until nobody watches the link any more.
    pub async fn keep(self) {
        let mut listening = Listening::Not;
        let mut pause = self.pause;
        loop {
            let connected = match timeout(self.connect_timeout, self.connect(&mut listening)).await {
                Ok(connected) => connected,
                Err(_) => Err(Failure::TimedOut),
            };
            let mut wait = Duration::MAX;
            match connected {
                Ok((connection, messages)) => {
                    let (began, budget) = (Moment::now(), connection.budget.clone());
                    // Those who wanted a connection have one; whoever finds it broken says so again.
                    let _ = self.requests.connection.notified().now_or_never();
                    if self.links.send(ConnectionState::Up(connection)).is_err() {
                        return;
                    }
                    if listening != Listening::Not {
                        self.notifications.tell(Notification::Connected);
                    }
                    tokio::select! {
                        () = self.requests.connection.notified() => {}
                        () = self.requests.listening.notified(), if listening == Listening::Not => {
                            listening = Listening::Pushed;
                        }
                        () = self.requests.lost.notified() => wait = jittered(pause),
                        () = self.hear(messages) => wait = jittered(pause),
                    }
                    if budget.is_flooded() {
                        // Nobody is in a hurry to have it again.
                        let _ = self.links.send(ConnectionState::Down(Failure::Flooded));
                        sleep(jittered(self.longest_pause)).await;
                        wait = Duration::MAX;
                    }
                    // One that is soon gone again is not tried any faster.
                    let lasted = Moment::now().since(began) > self.longest_pause;
                    pause = if lasted { self.pause } else { (pause * 2).min(self.longest_pause) };
                }
                Err(failure) => {
                    if self.links.send(ConnectionState::Down(failure)).is_err() {
                        return;
                    }
                    wait = jittered(pause);
                    pause = (pause * 2).min(self.longest_pause);
                }
            }
            if wait < Duration::MAX {
                tokio::select! {
                    () = self.requests.connection.notified() => {}
                    () = self.requests.listening.notified(), if listening == Listening::Not => {
                        listening = Listening::Pushed;
                    }
                    () = sleep(wait) => {}
                }
            }
            let _ = self.links.send(ConnectionState::Connecting);
        }
    }

    async fn connect(&self, listening: &mut Listening) -> Result<(Connection, Option<Messages>), Failure> {
        let mut info = self.address.info().await;
        if let Some(sentinels) = &self.sentinels {
            info = info.set_addr(sentinels.master().await?.server);
        }
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        if *listening == Listening::Pushed {
            let (notifications, requests, budget) =
                (self.notifications.clone(), self.requests.clone(), ByteBudget::default());
            let settled = budget.clone();
            let pushed = config.clone().set_push_sender(move |push| {
                settled.settle();
                if notifications.push(push) {
                    requests.lost.notify_one();
                }
                Ok::<(), ()>(())
            });
            match self.open(&info, ProtocolVersion::RESP3, pushed, budget).await {
                Ok(mut connection) => match connection.asked.subscribe(&self.channel).await {
                    Err(error) if !is_refusal(&error) => return Err(error.into()),
                    Err(_) => *listening = Listening::Refused,
                    Ok(()) => return Ok((connection, None)),
                },
                Err(error) if !is_refusal(&error) => return Err(error.into()),
                // Redis before 6 doesn't know HELLO; some proxies and configurations don't, either.
                Err(_) => *listening = Listening::Apart,
            }
        }
        let connection = self.open(&info, ProtocolVersion::RESP2, config, ByteBudget::default()).await?;
        if *listening != Listening::Apart {
            return Ok((connection, None));
        }
        let budget = ByteBudget::default();
        let stream = LimitedStream::new(self.stream(&info).await?, budget.clone());
        let mut pubsub = PubSub::new(&settings(&info, ProtocolVersion::RESP2), stream).await?;
        match pubsub.subscribe(&self.channel).await {
            Err(error) if !is_refusal(&error) => Err(error.into()),
            Err(_) => {
                *listening = Listening::Refused;
                Ok((connection, None))
            }
            Ok(()) => Ok((connection, Some(Messages { pubsub, budget }))),
        }
    }

    async fn open(
        &self,
        info: &ConnectionInfo,
        protocol: ProtocolVersion,
        config: AsyncConnectionConfig,
        budget: ByteBudget,
    ) -> RedisResult<Connection> {
        let stream = LimitedStream::new(self.stream(info).await?, budget.clone());
        let settings = settings(info, protocol);
        let (asked, driver) = MultiplexedConnection::new_with_config(&settings, stream, config).await?;
        tokio::spawn(driver);
        Ok(Connection { asked, budget, server: info.addr().clone() })
    }

    async fn stream(&self, info: &ConnectionInfo) -> io::Result<Box<dyn transport::Stream>> {
        // Within the time of the whole, so that it can be told what has taken so long.
        let handshake = self.connect_timeout * 3 / 4;
        transport::connect(info.addr(), self.tls.as_ref(), handshake, self.unanswered).await
    }

    /// Passes on what a second connection tells, until that is gone.
    async fn hear(&self, messages: Option<Messages>) {
        let Some(Messages { mut pubsub, budget }) = messages else { return std::future::pending().await };
        let each = pubsub.on_message().for_each(async |message| {
            budget.settle();
            self.notifications.message(&message);
        });
        each.await;
    }
}

fn settings(info: &ConnectionInfo, protocol: ProtocolVersion) -> RedisConnectionInfo {
    info.redis_settings().clone().set_protocol(protocol)
}

/// The server has answered, and doesn't want to.
fn is_refusal(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::RESP3NotSupported | ErrorKind::AuthenticationFailed | ErrorKind::Server(_))
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64())
}
