//! The network below the rounds: addresses, names, connections and what comes on them.

pub mod address;
pub mod connection;
mod diagnosis;
pub mod failure;
mod files;
mod limit;
pub mod node;
pub mod pubsub;
mod resolver;
pub mod sentinel;
mod server_error;
pub mod tls;
mod tls_problem;
mod transport;
