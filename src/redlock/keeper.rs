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
    Address,
    failure::Failure,
    meter::{Gauge, Metered},
    news::{News, Newswire},
    sentinel::Sentinels,
    tls::Tls,
    wire,
};
use crate::clock::Moment;

/// The state of a node's connection.
#[derive(Clone)]
pub enum Link {
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
    pub gauge: Gauge,
    /// The server at the other end, which is another one with each failover where Sentinels name it.
    pub server: ConnectionAddr,
}

/// A second connection, on which messages come, and what has come on it that is none yet.
struct Messages {
    pubsub: PubSub,
    gauge: Gauge,
}

/// What the rounds ask of a keeper.
#[derive(Default)]
pub struct Wishes {
    /// Somebody needs a connection now: the present one is broken, or there is none.
    pub connection: Notify,
    /// The connection is to listen on the lock's channel from now on.
    pub listening: Notify,
    /// The connection is gone, but nobody needs it now.
    lost: Notify,
}

pub struct Keeper {
    pub address: Address,
    pub channel: String,
    pub newswire: Newswire,
    pub links: watch::Sender<Link>,
    pub wishes: Arc<Wishes>,
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

impl Keeper {
    /// Runs until nobody watches the link any more.
    pub async fn keep(self) {
        let mut listening = Listening::Not;
        let mut pause = self.pause;
        loop {
            let connected = match timeout(self.connect_timeout, self.connect(&mut listening)).await {
                Ok(connected) => connected,
                Err(_) => Err(Failure::timed_out()),
            };
            let mut wait = Duration::MAX;
            match connected {
                Ok((connection, messages)) => {
                    let (began, gauge) = (Moment::now(), connection.gauge.clone());
                    // Those who wanted a connection have one; whoever finds it broken says so again.
                    let _ = self.wishes.connection.notified().now_or_never();
                    if self.links.send(Link::Up(connection)).is_err() {
                        return;
                    }
                    if listening != Listening::Not {
                        self.newswire.tell(News::Connected);
                    }
                    tokio::select! {
                        () = self.wishes.connection.notified() => {}
                        () = self.wishes.listening.notified(), if listening == Listening::Not => {
                            listening = Listening::Pushed;
                        }
                        () = self.wishes.lost.notified() => wait = jittered(pause),
                        () = self.hear(messages) => wait = jittered(pause),
                    }
                    if gauge.is_flooded() {
                        // Nobody is in a hurry to have it again.
                        let _ = self.links.send(Link::Down(Failure::flooded()));
                        sleep(jittered(self.longest_pause)).await;
                        wait = Duration::MAX;
                    }
                    // One that is soon gone again is not tried any faster.
                    let lasted = Moment::now().since(began) > self.longest_pause;
                    pause = if lasted { self.pause } else { (pause * 2).min(self.longest_pause) };
                }
                Err(failure) => {
                    if self.links.send(Link::Down(failure)).is_err() {
                        return;
                    }
                    wait = jittered(pause);
                    pause = (pause * 2).min(self.longest_pause);
                }
            }
            if wait < Duration::MAX {
                tokio::select! {
                    () = self.wishes.connection.notified() => {}
                    () = self.wishes.listening.notified(), if listening == Listening::Not => {
                        listening = Listening::Pushed;
                    }
                    () = sleep(wait) => {}
                }
            }
            let _ = self.links.send(Link::Connecting);
        }
    }

    async fn connect(&self, listening: &mut Listening) -> Result<(Connection, Option<Messages>), Failure> {
        let mut info = self.address.info().await;
        if let Some(sentinels) = &self.sentinels {
            info = info.set_addr(sentinels.master().await?.server);
        }
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        if *listening == Listening::Pushed {
            let (newswire, wishes, gauge) = (self.newswire.clone(), self.wishes.clone(), Gauge::default());
            let settled = gauge.clone();
            let pushed = config.clone().set_push_sender(move |push| {
                settled.settle();
                if newswire.push(push) {
                    wishes.lost.notify_one();
                }
                Ok::<(), ()>(())
            });
            match self.open(&info, ProtocolVersion::RESP3, pushed, gauge).await {
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
        let connection = self.open(&info, ProtocolVersion::RESP2, config, Gauge::default()).await?;
        if *listening != Listening::Apart {
            return Ok((connection, None));
        }
        let gauge = Gauge::default();
        let stream = Metered::new(self.stream(&info).await?, gauge.clone());
        let mut pubsub = PubSub::new(&settings(&info, ProtocolVersion::RESP2), stream).await?;
        match pubsub.subscribe(&self.channel).await {
            Err(error) if !is_refusal(&error) => Err(error.into()),
            Err(_) => {
                *listening = Listening::Refused;
                Ok((connection, None))
            }
            Ok(()) => Ok((connection, Some(Messages { pubsub, gauge }))),
        }
    }

    async fn open(
        &self,
        info: &ConnectionInfo,
        protocol: ProtocolVersion,
        config: AsyncConnectionConfig,
        gauge: Gauge,
    ) -> RedisResult<Connection> {
        let stream = Metered::new(self.stream(info).await?, gauge.clone());
        let settings = settings(info, protocol);
        let (asked, driver) = MultiplexedConnection::new_with_config(&settings, stream, config).await?;
        tokio::spawn(driver);
        Ok(Connection { asked, gauge, server: info.addr().clone() })
    }

    async fn stream(&self, info: &ConnectionInfo) -> io::Result<Box<dyn wire::Stream>> {
        // Within the time of the whole, so that it can be told what has taken so long.
        let handshake = self.connect_timeout * 3 / 4;
        wire::connect(info.addr(), self.tls.as_ref(), handshake, self.unanswered).await
    }

    /// Passes on what a second connection tells, until that is gone.
    async fn hear(&self, messages: Option<Messages>) {
        let Some(Messages { mut pubsub, gauge }) = messages else { return std::future::pending().await };
        let each = pubsub.on_message().for_each(async |message| {
            gauge.settle();
            self.newswire.message(&message);
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
