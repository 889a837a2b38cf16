//! Descriptors that tokio watches.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::signalfd::SignalFd;
use tokio::io::{Interest, unix::AsyncFd};

use super::socket::PacketSocket;

/// A value that owns one descriptor.
///
/// # Safety
/// `as_raw_fd` returns the same descriptor for the whole life of the value, and it is open until the value is dropped.
pub(crate) unsafe trait OwnsDescriptor: AsRawFd {}

// SAFETY: it owns its descriptor, hands it out only borrowed, and has no method that replaces it.
unsafe impl OwnsDescriptor for PacketSocket {}

// SAFETY: nix's type owns its descriptor, and hands it out only borrowed; changing the mask keeps it.
unsafe impl OwnsDescriptor for SignalFd {}

// SAFETY: that is what it is.
unsafe impl OwnsDescriptor for OwnedFd {}

/// Registers a descriptor with the runtime, from within it, to wait until it can be read.
///
/// # Errors
/// Those of epoll_ctl(2).
pub(crate) fn watch<T: OwnsDescriptor>(descriptor: T) -> io::Result<AsyncFd<T>> {
    watch_for(Interest::READABLE, descriptor)
}

/// The same, to wait until it can be read, or has room.
///
/// # Errors
/// Those of [`watch`].
pub(crate) fn watch_both_ways<T: OwnsDescriptor>(descriptor: T) -> io::Result<AsyncFd<T>> {
    watch_for(Interest::READABLE | Interest::WRITABLE, descriptor)
}

/// The same for one that is written to, to wait until nobody can read that any more.
///
/// # Errors
/// Those of [`watch`]: no end of a file can be seen.
pub(crate) fn watch_for_no_reader<T: OwnsDescriptor>(descriptor: T) -> io::Result<AsyncFd<T>> {
    watch_for(Interest::ERROR, descriptor)
}

fn watch_for<T: OwnsDescriptor>(interest: Interest, descriptor: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: what is asked for is what `OwnsDescriptor` promises; an AsyncFd owns the value, and lends it only.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, interest) }?)
}
