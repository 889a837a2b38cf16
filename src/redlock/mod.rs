//! A lease that a quorum of nodes holds.

mod campaign;
mod config;
mod extension;
#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/redlock.rs"]
pub(crate) mod fuzz;
mod health;
mod known_clocks;
mod known_processes;
mod known_votes;
mod listing;
mod lock;
mod net;
mod observer;
pub(crate) mod outcome;
mod outlook;
mod release;
mod restoring;
mod round;
mod run_history;
mod scripts;
mod session;
mod shortfall;
mod slots;
mod standby;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    config::RedlockConfig,
    health::{Finding, NodeHealth, Severity, check},
    listing::Listing,
    lock::Redlock,
    net::{
        address::{Address, urls},
        tls::Tls,
    },
    observer::RedlockObserver,
    release::release_alone,
    scripts::KEY_SUFFIXES,
};
#[cfg(test)]
pub(crate) use self::{
    known_clocks::NodeTime,
    net::failure::Failure,
    scripts::{
        AcquireReply, Acquisition, Answer, Audience, DatedNote, ExtendReply, Keys, PresentRun, RunTimes, Settled, Tell,
        acquired, extended,
    },
    session::LockSession,
};
