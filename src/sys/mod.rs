//! System calls that Rust's standard library has no safe form of, as safe, typed functions. Every unsafe block of the
//! program is in this folder.

#[macro_use]
pub(crate) mod entry;

pub(crate) mod boottime;
pub(crate) mod descriptors;
pub(crate) mod inherited;
pub(crate) mod launch;
pub(crate) mod pidfd;
pub(crate) mod priority;
pub(crate) mod process;
pub(crate) mod readiness;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod strings;
pub(crate) mod unix_listeners;
pub(crate) mod wait;
