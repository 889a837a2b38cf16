//! System calls that Rust's standard library has no safe form of, as safe, typed functions. Every unsafe block of the program
//! is in this folder.

#[macro_use]
pub mod entry;

pub mod descriptors;
pub mod inherited;
pub mod launch;
pub mod pidfd;
pub mod process;
pub mod readiness;
pub mod signal;
pub mod socket;
pub mod strings;
pub mod wait;
