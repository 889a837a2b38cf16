//! The network below the rounds: addresses, names, connections and the messages on them.

pub mod address;
mod client;
mod connection;
mod connector;
pub mod failure;
mod files;
mod limit;
pub mod node;
pub mod pubsub;
mod resolver;
mod sentinel;
pub mod tls;
mod transport;
