//! Keeps one node's connection up, beside the rounds: connects whenever there is no connection, at once where somebody needs
//! one, else after growing, jittered pauses. Names are looked up here, off the elector's loop.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, ProtocolVersion, RedisError, RedisResult,
    aio::{MultiplexedConnection, PubSub},
};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{
    failure::Failure,
    news::{News, Newswire},
};

/// The state of a node's connection.
#[derive(Clone)]
pub enum Link {
    /// The first attempt: nothing is known of the node yet.
    First,
    Connecting,
    Up(MultiplexedConnection),
    Down(Failure),
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
    pub info: ConnectionInfo,
    pub channel: String,
    pub newswire: Newswire,
    pub links: watch::Sender<Link>,
    pub wishes: Arc<Wishes>,
    pub connect_timeout: Duration,
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
                Ok(connected) => connected.map_err(|e| Failure::from(&e)),
                Err(_) => Err(Failure::timed_out()),
            };
            let mut wait = Duration::MAX;
            match connected {
                Ok((connection, pubsub)) => {
                    pause = self.pause;
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
                        () = self.hear(pubsub) => wait = jittered(pause),
                    }
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

    async fn connect(&self, listening: &mut Listening) -> RedisResult<(MultiplexedConnection, Option<PubSub>)> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        if *listening == Listening::Pushed {
            let (newswire, wishes) = (self.newswire.clone(), self.wishes.clone());
            let pushed = config.clone().set_push_sender(move |push| {
                if newswire.push(push) {
                    wishes.lost.notify_one();
                }
                Ok::<(), ()>(())
            });
            match self.client(ProtocolVersion::RESP3)?.get_multiplexed_async_connection_with_config(&pushed).await {
                Ok(mut connection) => match connection.subscribe(&self.channel).await {
                    Err(error) if !is_refusal(&error) => return Err(error),
                    Err(_) => *listening = Listening::Refused,
                    Ok(()) => return Ok((connection, None)),
                },
                Err(error) if !is_refusal(&error) => return Err(error),
                // Redis before 6 doesn't know HELLO; some proxies and configurations don't, either.
                Err(_) => *listening = Listening::Apart,
            }
        }
        let client = self.client(ProtocolVersion::RESP2)?;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        if *listening != Listening::Apart {
            return Ok((connection, None));
        }
        let mut pubsub = client.get_async_pubsub().await?;
        match pubsub.subscribe(&self.channel).await {
            Err(error) if !is_refusal(&error) => Err(error),
            Err(_) => {
                *listening = Listening::Refused;
                Ok((connection, None))
            }
            Ok(()) => Ok((connection, Some(pubsub))),
        }
    }

    fn client(&self, protocol: ProtocolVersion) -> RedisResult<Client> {
        let settings = self.info.redis_settings().clone().set_protocol(protocol);
        Client::open(self.info.clone().set_redis_settings(settings))
    }

    /// Passes on what a second connection tells, until that is gone.
    async fn hear(&self, pubsub: Option<PubSub>) {
        match pubsub {
            Some(mut pubsub) => pubsub.on_message().for_each(async |message| self.newswire.message(&message)).await,
            None => std::future::pending().await,
        }
    }
}

/// The server has answered, and doesn't want to.
fn is_refusal(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::RESP3NotSupported | ErrorKind::AuthenticationFailed | ErrorKind::Server(_))
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64())
}
