//! The network below the rounds: addresses, names, connections and the messages on them.

pub mod address;
mod client;
mod connection;
mod connector;
mod diagnosis;
pub mod failure;
mod files;
mod limit;
pub mod node;
pub mod pubsub;
mod resolver;
mod sentinel;
mod server_error;
pub mod tls;
mod tls_problem;
mod transport;
