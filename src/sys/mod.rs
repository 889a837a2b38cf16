//! What Rust's standard library has no safe form of, with typed functions for everyone else.

#[macro_use]
pub mod entry;
