//! Where a lease is held: the nodes, how to reach them, and the lock's name there.

use super::net::{address::Address, tls::Tls};
use crate::lease::Quorums;

#[derive(Clone, Debug)]
pub(crate) struct RedlockConfig {
    /// The nodes of all lists, each once.
    pub addresses: Vec<Address>,
    pub quorums: Quorums,
    pub lock: String,
    pub tls: Option<Tls>,
}
