//! A lease that a quorum of nodes holds.

mod config;
mod health;
mod net;
mod observer;
pub mod outcome;
mod reasons;
mod round;
mod scripts;
mod session;
mod standby;

#[cfg(test)]
pub mod simulated;
#[cfg(test)]
mod tests;

pub use self::{
    config::RedlockConfig,
    health::{Finding, NodeHealth, Severity, check},
    net::{
        address::{Address, urls},
        tls::Tls,
    },
    observer::RedlockObserver,
    round::{Redlock, release_alone},
};
