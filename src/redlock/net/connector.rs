//! Keeps the connection to one server up, independently of the rounds that use it. Connects whenever there is no
//! connection: at once if somebody needs one, otherwise after pauses that grow.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::FutureExt;
use redis::aio::MultiplexedConnection;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    connection::{Delivery, Endpoint, Messages, Opened, is_refusal},
    failure::Failure,
    pubsub::Notification,
    shared_state::{ConnectionState, SharedState},
    transport::Timeouts,
};
use crate::{clock::Moment, host::spawn, lease::Times};

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The shortest time after which data that is not acknowledged ends a connection.
const SHORTEST_UNACKNOWLEDGED: Duration = Duration::from_millis(500);

/// What users of a connection ask of its connector.
#[derive(Default)]
pub(super) struct ConnectionRequests {
    /// Somebody needs a connection now: the present one is broken, or there is none.
    pub connection: Notify,
    /// Somebody wants the messages on the channel from now on.
    pub listening: Notify,
    /// Nobody wants the messages any more.
    pub silence: Notify,
}

/// Keeps one connection up.
pub(super) struct Connector {
    endpoint: Endpoint,
    delivery: Delivery,
    /// Shared with those who use the connection.
    state: Weak<SharedState>,
    requests: Arc<ConnectionRequests>,
    connect_timeout: Duration,
    timeouts: Timeouts,
    backoff: Backoff,
}

/// How a connection has ended.
#[derive(PartialEq, Eq)]
enum End {
    /// It is gone, and nobody has asked for another yet.
    Lost,
    /// Somebody needs another.
    Replaced,
}

/// Nobody uses the connection any more.
struct Unused;

impl Connector {
    /// Starts to connect. Requires a runtime.
    pub(super) fn start(endpoint: Endpoint, times: &Times) -> (Arc<SharedState>, Arc<ConnectionRequests>) {
        let state = Arc::new(SharedState::first());
        let requests = Arc::new(ConnectionRequests::default());
        let connect_timeout = times.connect_timeout();
        let connector = Connector {
            endpoint,
            delivery: Delivery::Unwanted,
            state: Arc::downgrade(&state),
            requests: requests.clone(),
            connect_timeout,
            // Each part ends before the whole does, so that the failure names the part that took too long.
            timeouts: Timeouts {
                patience: connect_timeout / 2,
                handshake: connect_timeout * 3 / 4,
                unacknowledged: connect_timeout.max(SHORTEST_UNACKNOWLEDGED),
            },
            backoff: Backoff::new(times.retry_after(), times.extend_every().min(LONGEST_PAUSE)),
        };
        spawn(connector.keep());
        (state, requests)
    }

    async fn keep(mut self) {
        while let Ok(()) = self.take_turn().await {}
    }

    /// Connects once, offers the connection for as long as it lasts, and pauses before the next turn.
    async fn take_turn(&mut self) -> Result<(), Unused> {
        let pause = match self.connect().await {
            Ok(opened) => self.offer(opened).await?,
            Err(failure) => {
                self.announce(ConnectionState::Down(failure))?;
                Some(self.backoff.grow())
            }
        };
        if let Some(pause) = pause {
            tokio::select! {
                biased;
                () = self.next_request() => {}
                () = sleep(pause) => {}
            }
        }
        let _ = self.announce(ConnectionState::Connecting);
        Ok(())
    }

    async fn connect(&mut self) -> Result<Opened, Failure> {
        let connecting = self.endpoint.connect(&mut self.delivery, self.timeouts);
        timeout(self.connect_timeout, connecting).await.unwrap_or_else(|_| Err(Failure::TimedOut))
    }

    /// Offers a connection until it ends. Returns the pause before the next attempt; `None` if that is due at once.
    async fn offer(&mut self, opened: Opened) -> Result<Option<Duration>, Unused> {
        let Opened { connection, messages } = opened;
        let (began, budget, commands) = (Moment::now(), connection.budget.clone(), connection.commands.clone());
        // Those who asked for a connection have one. Whoever finds it broken asks again.
        let _ = self.requests.connection.notified().now_or_never();
        self.announce(ConnectionState::Up(connection))?;
        self.tell_connected();
        let end = self.until_end(messages, commands).await;
        if self.delivery != Delivery::Unwanted {
            // What was refused before may be allowed now: the server may be another, the user have other rights.
            self.delivery = Delivery::Pushed;
        }
        let flooded = budget.is_flooded();
        if flooded {
            let _ = self.announce(ConnectionState::Down(Failure::Flooded));
            // There is no hurry to reconnect to such a server.
            sleep(self.backoff.longest()).await;
        }
        let pause = self.backoff.after(Moment::now().since(began));
        Ok((end == End::Lost && !flooded).then_some(pause))
    }

    async fn until_end(&mut self, messages: Messages, commands: MultiplexedConnection) -> End {
        let (is_separate, mut forward) = (messages.is_separate(), messages.forward().boxed());
        loop {
            let requests = self.requests.clone();
            tokio::select! {
                biased;
                () = self.next_request() => return End::Replaced,
                () = requests.silence.notified(), if self.delivery != Delivery::Unwanted => {
                    self.delivery = Delivery::Unwanted;
                    if is_separate {
                        forward = Messages::None.forward().boxed();
                    } else if let Some(subscription) = &self.endpoint.subscription {
                        let (mut commands, channels) = (commands.clone(), subscription.channels());
                        spawn(async move {
                            // A user who may not do this needs a connection that has never listened.
                            if commands.unsubscribe(channels).await.is_err_and(|error| is_refusal(&error)) {
                                requests.connection.notify_one();
                            }
                        });
                    }
                }
                () = &mut forward => return End::Lost,
            }
        }
    }

    /// Waits until somebody needs a new connection, or one that delivers messages.
    async fn next_request(&mut self) {
        tokio::select! {
            // A connection that delivers messages serves whoever needs one, too.
            biased;
            () = self.requests.listening.notified(), if self.delivery == Delivery::Unwanted => {
                self.delivery = Delivery::Pushed;
            }
            () = self.requests.connection.notified() => {}
        }
    }

    fn announce(&self, state: ConnectionState) -> Result<(), Unused> {
        self.state.upgrade().map(|shared| shared.set(state)).ok_or(Unused)
    }

    fn tell_connected(&self) {
        if self.delivery != Delivery::Unwanted
            && let Some(subscription) = &self.endpoint.subscription
        {
            subscription.notifications.send(Notification::Connected);
        }
    }
}

/// The pauses between attempts to connect. Each is jittered by half of its length.
struct Backoff {
    shortest: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    fn new(shortest: Duration, longest: Duration) -> Self {
        Backoff { shortest, longest, next: shortest }
    }

    /// Returns the next pause, and doubles the one after it.
    fn grow(&mut self) -> Duration {
        let pause = jittered(self.next);
        self.next = (self.next * 2).min(self.longest);
        pause
    }

    /// Returns the next pause, after a connection that has lasted this long. A connection that soon ends is not tried
    /// any faster than none at all.
    fn after(&mut self, lasted: Duration) -> Duration {
        let pause = self.grow();
        if lasted > self.longest {
            self.next = self.shortest;
        }
        pause
    }

    fn longest(&self) -> Duration {
        jittered(self.longest)
    }
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64())
}
