//! The network below the rounds: addresses, names, connections and the messages on them.

pub(super) mod address;
mod client;
mod connection;
mod connector;
mod diagnosis;
pub(super) mod failure;
mod files;
#[cfg(any(test, fuzzing))]
#[path = "../../../tests/fuzz/net.rs"]
pub(crate) mod fuzz;
mod limit;
pub(super) mod node;
pub(super) mod pubsub;
mod resolver;
mod sentinel;
mod server_error;
mod shared_state;
pub(super) mod tls;
mod tls_problem;
mod transport;
