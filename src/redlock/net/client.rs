//! Requests to one server that end within their time, over a connection that a connector keeps up.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{Cmd, ConnectionAddr, Value};
use tokio::time::timeout;

use super::{
    connection::{Connection, Endpoint},
    connector::{ConnectionRequests, Connector},
    failure::Failure,
    shared_state::{ConnectionState, SharedState},
};
use crate::lease::Times;

/// Sends requests to one server.
#[derive(Clone)]
pub(super) struct Client {
    state: Arc<SharedState>,
    requests: Arc<ConnectionRequests>,
    /// The last request whose end is known got no answer in time. A server that is frozen, or cut off, keeps its connections.
    silent: Arc<AtomicBool>,
    has_tls: bool,
    answer_timeout: Duration,
    connect_timeout: Duration,
}

/// An answer, and the server that gave it.
pub(super) struct ServerAnswer {
    pub value: Value,
    pub server: ConnectionAddr,
}

impl Client {
    /// Starts to connect. Requires a runtime.
    pub(super) fn new(endpoint: Endpoint, times: &Times) -> Self {
        let has_tls = endpoint.address.has_tls();
        let (state, requests) = Connector::start(endpoint, times);
        let (answer_timeout, connect_timeout) = (times.answer_timeout(), times.connect_timeout());
        Client { state, requests, silent: Arc::default(), has_tls, answer_timeout, connect_timeout }
    }

    /// Sends a command and waits for the answer, for at most the answer timeout; before the first attempt to connect
    /// has ended, for the connect timeout as well.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) fn ask(&self, cmd: Cmd) -> impl Future<Output = Result<ServerAnswer, Failure>> + Send + use<> {
        self.ask_by_age(cmd, None)
    }

    /// Does the same, but asks something else of a server that has not been the master for this long.
    ///
    /// # Errors
    /// As for [`Client::ask`].
    pub(super) fn ask_by_age(
        &self,
        cmd: Cmd,
        of_new_master: Option<(Duration, Cmd)>,
    ) -> impl Future<Output = Result<ServerAnswer, Failure>> + Send + use<> {
        let is_first = self.state.read(|state| matches!(state, ConnectionState::First));
        let within = self.answer_timeout + if is_first { self.connect_timeout } else { Duration::ZERO };
        let mut request = Request { client: self.clone(), cmd, of_new_master, retried: false, unconnected: None };
        async move {
            let answered = timeout(within, request.answer()).await;
            request.client.silent.store(answered.is_err(), Relaxed);
            match answered {
                Ok(answer) => answer,
                // Why there was no connection says more than that there is still none.
                Err(_) => Err(request.unconnected.unwrap_or(Failure::TimedOut)),
            }
        }
    }

    /// Subscribes to the channel, from now on.
    pub(super) fn listen(&self) {
        self.requests.listening.notify_one();
    }

    /// Ends the subscription.
    pub(super) fn listen_no_more(&self) {
        self.requests.silence.notify_one();
    }

    /// Replaces the connection with a new one.
    pub(super) fn reconnect(&self) {
        self.requests.connection.notify_one();
    }

    /// Returns whether there is a connection, and the server has not been silent.
    pub(super) fn is_heard(&self) -> bool {
        self.state.read(|state| matches!(state, ConnectionState::Up(_))) && !self.silent.load(Relaxed)
    }

    /// Returns the server at the other end of the connection, if there is one.
    pub(super) fn server(&self) -> Option<ConnectionAddr> {
        self.state.read(|state| match state {
            ConnectionState::Up(connection) => Some(connection.server.clone()),
            _ => None,
        })
    }
}

/// A command on its way.
struct Request {
    client: Client,
    cmd: Cmd,
    /// What to ask in its place of a server that has not been the master for this long.
    of_new_master: Option<(Duration, Cmd)>,
    /// A new connection has been asked for.
    retried: bool,
    /// Why there was no connection.
    unconnected: Option<Failure>,
}

impl Request {
    /// Asks once, and once more over a new connection if the present one is down or turns out to be broken.
    async fn answer(&mut self) -> Result<ServerAnswer, Failure> {
        let shared = self.client.state.clone();
        loop {
            let changed = shared.changed();
            match shared.read(ConnectionState::clone) {
                ConnectionState::First | ConnectionState::Connecting => {}
                ConnectionState::Down(failure) if self.retried => return Err(failure),
                ConnectionState::Down(failure) => {
                    self.unconnected = Some(failure);
                    self.retry();
                }
                ConnectionState::Up(connection) => {
                    if let Some(answer) = self.ask_over(connection).await? {
                        return Ok(answer);
                    }
                }
            }
            changed.await;
        }
    }

    /// Returns `None` if the connection is broken and a new one is on its way.
    async fn ask_over(&mut self, mut connection: Connection) -> Result<Option<ServerAnswer>, Failure> {
        let is_new = |(age, _): &&(Duration, Cmd)| connection.master_for() < *age;
        let cmd = self.of_new_master.as_ref().filter(is_new).map_or(&self.cmd, |(_, cmd)| cmd);
        connection.budget.ask();
        let answer = cmd.query_async::<Value>(&mut connection.commands).await;
        connection.budget.settle();
        match answer {
            Ok(value) => Ok(Some(ServerAnswer { value, server: connection.server })),
            Err(error) if error.is_unrecoverable_error() && !self.retried => {
                self.retry();
                Ok(None)
            }
            Err(error) if error.is_connection_dropped() && self.unconnected.is_none() => {
                Err(Failure::closed_unanswered(!self.client.has_tls))
            }
            Err(error) => Err(Failure::of(&error, &self.cmd)),
        }
    }

    fn retry(&mut self) {
        self.retried = true;
        self.client.reconnect();
    }
}
