//! The network below the rounds: addresses, names, connections and what comes on them.

pub mod address;
pub mod connection;
pub mod failure;
mod files;
mod limit;
pub mod node;
pub mod pubsub;
mod resolver;
pub mod sentinel;
pub mod tls;
mod transport;
