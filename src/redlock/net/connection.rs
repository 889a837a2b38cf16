//! Opens the connections to one server: one for commands and, where messages cannot be pushed on it, a second one for
//! them.

use std::{io, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::BoxFuture};
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, ProtocolVersion, RedisConnectionInfo, RedisError,
    RedisResult,
    aio::{MultiplexedConnection, PubSub},
};
use tokio::sync::Notify;

use super::{
    address::Address,
    failure::Failure,
    limit::{ByteBudget, LimitedStream},
    pubsub::Subscription,
    tls::Tls,
    transport::{self, Timeouts},
};
use crate::{clock::Moment, host::spawn};

/// Returns which server is the master now.
pub(super) type Locate = Box<dyn Fn() -> BoxFuture<'static, Result<Master, Failure>> + Send + Sync>;

/// The server that a majority of the Sentinels names as the master.
#[derive(Clone, Debug)]
pub(super) struct Master {
    pub server: ConnectionAddr,
    /// How long at least a majority has named it.
    pub known_for: Duration,
}

/// A server to connect to.
pub(super) struct Endpoint {
    pub address: Address,
    /// Finds the server; without it, the server is where the address says.
    pub locate: Option<Locate>,
    pub tls: Option<Tls>,
    /// What to subscribe to once somebody wants messages.
    pub subscription: Option<Subscription>,
}

/// A connection for commands.
#[derive(Clone)]
pub(super) struct Connection {
    pub commands: MultiplexedConnection,
    pub budget: ByteBudget,
    /// The server at the other end. Behind Sentinels, each failover brings another one.
    pub server: ConnectionAddr,
    /// When Sentinels named it, and how long they had done so by then.
    named: Option<(Moment, Duration)>,
}

impl Connection {
    /// Returns how long the server has been the master, if it still is: [`Duration::MAX`] if no Sentinels can replace it.
    pub(super) fn master_for(&self) -> Duration {
        self.named.map_or(Duration::MAX, |(at, known_for)| known_for.saturating_add(Moment::now().since(at)))
    }
}

/// A connection that has just been opened.
pub(super) struct Opened {
    pub connection: Connection,
    pub messages: Messages,
}

/// How messages reach us from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Nobody wants any yet.
    Unwanted,
    /// Pushed on the connection for commands (RESP3, Redis 6 and newer).
    Pushed,
    /// On a second connection.
    Separate,
    /// Not at all: the user may not subscribe. A standby then looks when the votes could have run out.
    Denied,
}

/// The messages that come with an open connection.
pub(super) enum Messages {
    None,
    Pushed { lost: Arc<Notify> },
    Separate { pubsub: PubSub, budget: ByteBudget, subscription: Subscription },
}

impl Messages {
    /// Returns whether they come over a connection of their own.
    pub(super) fn is_separate(&self) -> bool {
        matches!(self, Messages::Separate { .. })
    }

    /// Passes on what comes until the connection is lost. Never returns where only a command would find that out.
    pub(super) async fn forward(self) {
        match self {
            Messages::None => std::future::pending().await,
            Messages::Pushed { lost } => lost.notified().await,
            Messages::Separate { mut pubsub, budget, subscription } => {
                let each = pubsub.on_message().for_each(async |message| {
                    budget.settle();
                    subscription.notifications.message(&message);
                });
                each.await;
            }
        }
    }
}

impl Endpoint {
    /// Connects, signs in, and subscribes if `delivery` asks for it. Sets `delivery` to what the server turns out to
    /// support.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(super) async fn connect(&self, delivery: &mut Delivery, timeouts: Timeouts) -> Result<Opened, Failure> {
        let mut info = self.address.info().await;
        let mut named = None;
        if let Some(locate) = &self.locate {
            let Master { server, known_for } = locate().await?;
            info = info.set_addr(server);
            named = Some((Moment::now(), known_for));
        }
        let dialer = Dialer { info, named, tls: self.tls.as_ref(), timeouts };
        let Some(subscription) = &self.subscription else { return dialer.without_messages().await };
        if *delivery == Delivery::Pushed
            && let Some(opened) = dialer.with_pushed(subscription, delivery).await?
        {
            return Ok(opened);
        }
        let mut opened = dialer.without_messages().await?;
        if *delivery == Delivery::Separate {
            opened.messages = dialer.separate(subscription, delivery).await?;
        }
        Ok(opened)
    }
}

/// Subscribes; first to the second channel, so that no watcher is taken for a standby, and each standby can be woken.
async fn subscribe(commands: &mut MultiplexedConnection, subscription: &Subscription) -> RedisResult<()> {
    if let Some(second) = &subscription.second {
        allowed(commands.subscribe(second).await)?;
    }
    commands.subscribe(&subscription.channel).await
}

/// Lets a refusal pass. Where the user may subscribe to the lock's channel alone, a watcher is taken for a standby, and a standby
/// is woken only with all others.
fn allowed(subscribed: RedisResult<()>) -> RedisResult<()> {
    subscribed.or_else(|error| if is_refusal(&error) { Ok(()) } else { Err(error) })
}

/// One attempt to connect.
struct Dialer<'a> {
    info: ConnectionInfo,
    named: Option<(Moment, Duration)>,
    tls: Option<&'a Tls>,
    timeouts: Timeouts,
}

impl Dialer<'_> {
    async fn without_messages(&self) -> Result<Opened, Failure> {
        let connection = self.open(ProtocolVersion::RESP2, config(), ByteBudget::default()).await?;
        Ok(Opened { connection, messages: Messages::None })
    }

    /// Opens one connection for both commands and messages. Returns `None` if the server refuses, with what to try
    /// instead in `delivery`.
    async fn with_pushed(
        &self,
        subscription: &Subscription,
        delivery: &mut Delivery,
    ) -> Result<Option<Opened>, Failure> {
        let (lost, budget) = (Arc::new(Notify::new()), ByteBudget::default());
        let config = config().set_push_sender({
            let (notifications, lost, budget) = (subscription.notifications.clone(), lost.clone(), budget.clone());
            move |push| {
                budget.settle();
                if notifications.push(push) {
                    lost.notify_one();
                }
                Ok::<(), ()>(())
            }
        });
        let refused = match self.open(ProtocolVersion::RESP3, config, budget).await {
            Ok(mut connection) => match subscribe(&mut connection.commands, subscription).await {
                Ok(()) => return Ok(Some(Opened { connection, messages: Messages::Pushed { lost } })),
                Err(error) => (error, Delivery::Denied),
            },
            // Redis before 6 doesn't know HELLO, and some proxies and configurations refuse it.
            Err(error) => (error, Delivery::Separate),
        };
        match refused {
            (error, instead) if is_refusal(&error) => *delivery = instead,
            (error, _) => return Err(error.into()),
        }
        Ok(None)
    }

    /// Opens a second connection, for messages, unless the user may not subscribe.
    async fn separate(&self, subscription: &Subscription, delivery: &mut Delivery) -> Result<Messages, Failure> {
        let budget = ByteBudget::default();
        let stream = LimitedStream::new(self.stream().await?, budget.clone());
        let mut pubsub = PubSub::new(&self.settings(ProtocolVersion::RESP2), stream).await?;
        if let Some(second) = &subscription.second {
            allowed(pubsub.subscribe(second).await)?;
        }
        match pubsub.subscribe(&subscription.channel).await {
            Ok(()) => Ok(Messages::Separate { pubsub, budget, subscription: subscription.clone() }),
            Err(error) if is_refusal(&error) => {
                *delivery = Delivery::Denied;
                Ok(Messages::None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn open(
        &self,
        protocol: ProtocolVersion,
        config: AsyncConnectionConfig,
        budget: ByteBudget,
    ) -> RedisResult<Connection> {
        let stream = LimitedStream::new(self.stream().await?, budget.clone());
        let (commands, driver) =
            MultiplexedConnection::new_with_config(&self.settings(protocol), stream, config).await?;
        spawn(driver);
        Ok(Connection { commands, budget, server: self.info.addr().clone(), named: self.named })
    }

    async fn stream(&self) -> io::Result<Box<dyn transport::Stream>> {
        transport::connect(self.info.addr(), self.tls, self.timeouts).await
    }

    fn settings(&self, protocol: ProtocolVersion) -> RedisConnectionInfo {
        self.info.redis_settings().clone().set_protocol(protocol)
    }
}

/// Without the library's timeouts: a request has its own.
fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None)
}

/// Whether the server has answered, and refuses.
pub(super) fn is_refusal(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::RESP3NotSupported | ErrorKind::AuthenticationFailed | ErrorKind::Server(_))
}
