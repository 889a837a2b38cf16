//! Where a lease is held: the nodes, how to reach them, and the lock's name there.

use super::net::{address::Address, tls::Tls};

#[derive(Clone, Debug)]
pub(crate) struct RedlockConfig {
    pub addresses: Vec<Address>,
    pub lock: String,
    pub tls: Option<Tls>,
}
