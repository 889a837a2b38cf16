//! Where a lease is held: the servers and how to reach them, and the lock's name on them.

use super::net::{address::Address, tls::Tls};

#[derive(Clone, Debug)]
pub struct RedlockConfig {
    pub addresses: Vec<Address>,
    pub lock: String,
    pub tls: Option<Tls>,
}
