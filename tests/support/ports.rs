//! Ports of the loopback that stay reserved for one test.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt::ReuseAddr,
};

/// Where to look for ports. A cluster's bus port is 10,000 higher, where no test looks.
const PORTS: std::ops::Range<u16> = 10_000..20_000;

/// Returns a port that nobody else gets until the process ends: neither another test nor an outgoing connection, even
/// while nothing listens on it.
pub fn free_port() -> u16 {
    let outgoing = outgoing();
    let start = fastrand::u16(PORTS);
    let candidates = (start..PORTS.end).chain(PORTS.start..start).filter(|port| !outgoing.contains(port));
    // If outgoing connections may use the whole range, the kernel finds a free port.
    candidates.chain([0]).find_map(reserve).expect("a free port")
}

/// Returns the ports that outgoing connections use.
fn outgoing() -> std::ops::RangeInclusive<u16> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = range.split_ascii_whitespace().filter_map(|bound| bound.parse().ok());
    bounds.next().unwrap_or(0)..=bounds.next().unwrap_or(u16::MAX)
}

/// Reserves a port with a socket that is bound but doesn't listen. Binding fails if anybody has the port; after that, a
/// listener that allows address reuse, as all servers do, can share it.
fn reserve(port: u16) -> Option<u16> {
    let held: OwnedFd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    bind(held.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))).ok()?;
    setsockopt(&held, ReuseAddr, &true).expect("an option");
    let port = getsockname::<SockaddrIn>(held.as_raw_fd()).expect("its address").port();
    // The process keeps the socket until it ends.
    std::mem::forget(held);
    Some(port)
}
