//! One node: a connection that is kept up beside the rounds, and requests that end within their time.

use std::{future::Future, time::Duration};

use futures_util::FutureExt;
use redis::{
    AsyncConnectionConfig, Client, Cmd, Value,
    aio::MultiplexedConnection,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use std::sync::Arc;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{Address, Failure};
use crate::lease::Times;

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long an idle connection is left unprobed, and the time between probes.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// The node as the rounds see it.
pub struct Node {
    /// Its place among the nodes.
    pub index: usize,
    pub address: Address,
    link: watch::Receiver<Link>,
    /// Somebody needs a connection now: the present one is broken, or there is none.
    wanted: Arc<Notify>,
    answer_timeout: Duration,
    connect_timeout: Duration,
}

/// The state of the connection.
#[derive(Clone)]
enum Link {
    /// The first attempt: nothing is known of the node yet.
    First,
    Connecting,
    Up(MultiplexedConnection),
    Down(Failure),
}

impl Node {
    /// Begins to connect; from within a runtime.
    ///
    /// # Errors
    /// An address that can't be used, in words without secrets.
    pub fn new(index: usize, address: Address, times: &Times) -> Result<Self, Failure> {
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))
            // Sent and not acknowledged for so long: the network is gone, and a new connection is tried.
            .set_user_timeout(times.connect_timeout().max(Duration::from_millis(500)));
        let client = Client::open(address.info().clone().set_tcp_settings(tcp)).map_err(|e| Failure::from(&e))?;
        let (links, link) = watch::channel(Link::First);
        let wanted = Arc::new(Notify::new());
        let (answer_timeout, connect_timeout) = (times.answer_timeout(), times.connect_timeout());
        let pause = times.retry_after();
        tokio::spawn(keep_connected(client, links, wanted.clone(), connect_timeout, pause));
        Ok(Node { index, address, link, wanted, answer_timeout, connect_timeout })
    }

    /// Sends a command and waits for its answer, no longer than a node may take; for a node that has never been connected,
    /// as long as a new connection may take besides.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn ask(&self, cmd: Cmd) -> impl Future<Output = Result<Value, Failure>> + Send + use<> {
        let mut link = self.link.clone();
        let wanted = self.wanted.clone();
        let fresh = matches!(*link.borrow(), Link::First);
        let within = self.answer_timeout + if fresh { self.connect_timeout } else { Duration::ZERO };
        async move {
            match timeout(within, ask_linked(&mut link, &wanted, &cmd)).await {
                Ok(answer) => answer,
                Err(_) => Err(Failure::timed_out()),
            }
        }
    }
}

/// Asks once, and once more over a new connection if the present one turns out to be broken.
async fn ask_linked(link: &mut watch::Receiver<Link>, wanted: &Notify, cmd: &Cmd) -> Result<Value, Failure> {
    let mut retried = false;
    loop {
        let now = link.borrow_and_update().clone();
        match now {
            Link::First | Link::Connecting => {}
            Link::Down(failure) if retried => return Err(failure),
            Link::Down(_) => {
                retried = true;
                wanted.notify_one();
            }
            Link::Up(mut connection) => match cmd.query_async::<Value>(&mut connection).await {
                Ok(value) => return Ok(value),
                Err(error) if error.is_unrecoverable_error() && !retried => {
                    retried = true;
                    wanted.notify_one();
                }
                Err(error) => return Err(Failure::from(&error)),
            },
        }
        if link.changed().await.is_err() {
            return Err(Failure::not_heard());
        }
    }
}

/// Connects whenever there is no connection: at once where somebody needs one, else after growing, jittered pauses.
async fn keep_connected(
    client: Client,
    links: watch::Sender<Link>,
    wanted: Arc<Notify>,
    connect_timeout: Duration,
    first_pause: Duration,
) {
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let mut pause = first_pause;
    loop {
        let attempt = timeout(connect_timeout, client.get_multiplexed_async_connection_with_config(&config));
        let failure = match attempt.await {
            Ok(Ok(connection)) => {
                pause = first_pause;
                // Those who wanted a connection have one; whoever finds it broken says so again.
                let _ = wanted.notified().now_or_never();
                if links.send(Link::Up(connection)).is_err() {
                    return;
                }
                wanted.notified().await;
                let _ = links.send(Link::Connecting);
                continue;
            }
            Ok(Err(error)) => Failure::from(&error),
            Err(_) => Failure::timed_out(),
        };
        if links.send(Link::Down(failure)).is_err() {
            return;
        }
        let jittered = pause.mul_f64(0.5 + fastrand::f64());
        tokio::select! {
            () = wanted.notified() => {}
            () = sleep(jittered) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
        let _ = links.send(Link::Connecting);
    }
}
