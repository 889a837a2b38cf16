//! The state of a connection, as its connector announces it to those who use it. They learn of a change in the order in
//! which they began to wait for it: what waits for a connection leaves in the order in which it was asked.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, futures::Notified};

use super::{connection::Connection, failure::Failure};

/// The state of a connection.
#[derive(Clone)]
pub(super) enum ConnectionState {
    /// The first attempt: nothing is known of the server yet.
    First,
    Connecting,
    Up(Connection),
    Down(Failure),
}

/// A state that is shared.
pub(super) struct SharedState {
    state: Mutex<ConnectionState>,
    changed: Notify,
}

impl SharedState {
    /// Creates the state before the first attempt has ended.
    pub(super) fn first() -> Self {
        SharedState { state: Mutex::new(ConnectionState::First), changed: Notify::new() }
    }

    /// Returns what `read` makes of the present state.
    pub(super) fn read<T>(&self, read: impl FnOnce(&ConnectionState) -> T) -> T {
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, state: ConnectionState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.changed.notify_waiters();
    }

    /// Waits for the next change after this call.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}
