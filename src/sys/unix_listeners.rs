//! The Unix sockets that listen in our network namespace (sock_diag(7)), with their owners (UDIAG_SHOW_UID of Linux 5.3).
//!
//! /proc/net/unix lists them as well, but as lines of text, which a name with a line feed forges.

use std::os::fd::AsRawFd;

use nix::{
    errno::Errno,
    libc,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv, send, setsockopt,
            socket, sockopt::ReceiveTimeout,
        },
        time::{TimeVal, TimeValLike},
    },
};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SHOW_NAME: u32 = 0x01;
const SHOW_UID: u32 = 0x40;
const ATTRIBUTE_NAME: u16 = 0;
const ATTRIBUTE_UID: u16 = 7;

/// TCP_LISTEN, the state of every socket that listens.
const LISTENS: u8 = 10;

/// The sizes of nlmsghdr, unix_diag_msg and nlattr, in bytes.
const HEADER: usize = 16;
const MESSAGE: usize = 16;
const ATTRIBUTE: usize = 4;

/// The most that the kernel sends at once, in bytes.
const PACKET: usize = 32 * 1024;

/// A socket that listens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    /// Begins with NUL if it is abstract.
    pub name: Vec<u8>,
    /// The user who has made it, in our user namespace.
    pub owner: u32,
}

/// Returns the Unix sockets that listen and have a name.
///
/// # Errors
/// Those of netlink(7): ENOENT if the kernel can't say. EBADMSG: it says something else.
pub(crate) fn unix_listeners() -> Result<Vec<Listener>, Errno> {
    let netlink = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
    // The kernel answers at once.
    setsockopt(&netlink, ReceiveTimeout, &TimeVal::seconds(1))?;
    // Connected, so that nobody but the kernel answers.
    connect(netlink.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    send(netlink.as_raw_fd(), &question(), MsgFlags::empty())?;
    let (mut listeners, mut packet) = (Vec::new(), vec![0; PACKET]);
    loop {
        // With MSG_TRUNC, the length is that of the whole packet.
        let length = recv(netlink.as_raw_fd(), &mut packet, MsgFlags::MSG_TRUNC)?;
        if read_packet(packet.get(..length).ok_or(Errno::EBADMSG)?, &mut listeners)? {
            return Ok(listeners);
        }
    }
}

/// Returns a nlmsghdr with a unix_diag_req: family, protocol, padding, states, inode, what to show, and a cookie. It asks about
/// all sockets: kernels before 6.1 may follow a null pointer where they show the owner of a single one.
fn question() -> Vec<u8> {
    let mut request = vec![libc::AF_UNIX as u8, 0, 0, 0];
    for word in [1 << LISTENS, 0, SHOW_NAME | SHOW_UID, 0, 0] {
        request.extend(u32::to_ne_bytes(word));
    }
    let mut message = ((HEADER + request.len()) as u32).to_ne_bytes().to_vec();
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    // Its number, and ours.
    message.extend([0; 8]);
    message.extend(request);
    message
}

/// Reads the messages of a packet. Returns whether the last one was among them.
fn read_packet(packet: &[u8], listeners: &mut Vec<Listener>) -> Result<bool, Errno> {
    let mut rest = packet;
    while !rest.is_empty() {
        let length = u32_at(rest, 0).ok_or(Errno::EBADMSG)? as usize;
        let message = rest.get(..length).filter(|_| length >= HEADER).ok_or(Errno::EBADMSG)?;
        match u16_at(message, 4).map(i32::from) {
            Some(libc::NLMSG_NOOP) => {}
            // Both have a negative error number, or 0, after the header.
            Some(kind @ (libc::NLMSG_DONE | libc::NLMSG_ERROR)) => {
                let errno = u32_at(message, HEADER).map_or(0, |number| (number as i32).wrapping_neg());
                return if kind == libc::NLMSG_DONE && errno == 0 { Ok(true) } else { Err(Errno::from_raw(errno)) };
            }
            Some(kind) if kind == i32::from(SOCK_DIAG_BY_FAMILY) => listeners.extend(listener(message)?),
            _ => return Err(Errno::EBADMSG),
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Reads a socket; `None` if it has no name or doesn't listen.
fn listener(message: &[u8]) -> Result<Option<Listener>, Errno> {
    let attributes = message.get(HEADER + MESSAGE..).ok_or(Errno::EBADMSG)?;
    // Before it are the family and the type.
    if message.get(HEADER + 2) != Some(&LISTENS) {
        return Ok(None);
    }
    let (mut name, mut owner, mut rest) = (None, None, attributes);
    while !rest.is_empty() {
        let length = usize::from(u16_at(rest, 0).ok_or(Errno::EBADMSG)?);
        let attribute = rest.get(..length).filter(|_| length >= ATTRIBUTE).ok_or(Errno::EBADMSG)?;
        match u16_at(attribute, 2) {
            Some(ATTRIBUTE_NAME) => name = attribute.get(ATTRIBUTE..).map(<[u8]>::to_vec),
            Some(ATTRIBUTE_UID) => owner = u32_at(attribute, ATTRIBUTE),
            _ => {}
        }
        // Each begins at a multiple of four.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    let Some(name) = name else { return Ok(None) };
    // Kernels before 5.3 don't say.
    Ok(Some(Listener { name, owner: owner.ok_or(Errno::EBADMSG)? }))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram, UnixListener},
    };

    use nix::unistd::geteuid;

    use super::*;

    #[test]
    fn sockets_that_listen_are_listed_with_their_names_as_they_are_and_owners() {
        let name = format!("leaderrun test\n{:016x} \u{e4}", fastrand::u64(..)).into_bytes();
        let address = |name: &[u8]| SocketAddr::from_abstract_name(name).expect("a name");
        let bound = UnixListener::bind_addr(&address(&name)).expect("a socket");
        let unheard = [&name[..], b"2"].concat();
        let _unheard = UnixDatagram::bind_addr(&address(&unheard)).expect("a socket");
        // More than one packet has.
        let many = (0..1000).map(|number| [&name[..], format!(" {number}").as_bytes()].concat());
        let many: Vec<_> = many.map(|name| UnixListener::bind_addr(&address(&name)).expect("a socket")).collect();
        let listed = |start: &[u8]| match unix_listeners() {
            Err(Errno::ENOENT | Errno::EPROTONOSUPPORT) => None,
            all => Some(all.expect("a list").into_iter().filter(|l| l.name[1..].starts_with(start)).collect()),
        };
        let Some(all): Option<Vec<Listener>> = listed(&name) else {
            println!("not tried: this kernel has no sock_diag for them");
            return;
        };
        assert_eq!(all.len(), many.len() + 1);
        let ours = Listener { name: [b"\0", &name[..]].concat(), owner: geteuid().as_raw() };
        assert!(all.contains(&ours));
        drop((bound, many));
        assert_eq!(listed(&name), Some(Vec::new()));
    }

    fn message(kind: u16, body: &[&[u8]]) -> Vec<u8> {
        let body = body.concat();
        let header = [&((HEADER + body.len()) as u32).to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10]];
        [&header.concat()[..], &body].concat()
    }

    #[test]
    fn half_an_answer_says_nothing() {
        let attribute = |kind: u16, value: &[u8]| {
            [&((ATTRIBUTE + value.len()) as u16).to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
        };
        let head = [&[1, 1, LISTENS][..], &[0; MESSAGE - 3]].concat();
        let whole = message(
            SOCK_DIAG_BY_FAMILY,
            &[&head, &attribute(ATTRIBUTE_NAME, b"\0abc"), &attribute(ATTRIBUTE_UID, &[1; 4])],
        );
        let mut listeners = Vec::new();
        assert_eq!(read_packet(&whole, &mut listeners), Ok(false));
        let expected = [Listener { name: b"\0abc".to_vec(), owner: u32::from_ne_bytes([1; 4]) }];
        assert_eq!(listeners, expected);
        for length in 1..whole.len() {
            assert!(read_packet(&whole[..length], &mut Vec::new()).is_err(), "{length}");
        }
        let done = message(libc::NLMSG_DONE as u16, &[&[0; 4]]);
        assert_eq!(read_packet(&[&whole[..], &done].concat(), &mut listeners), Ok(true));
        let failed = message(libc::NLMSG_ERROR as u16, &[&(-libc::ENOENT).to_ne_bytes()]);
        assert_eq!(read_packet(&failed, &mut listeners), Err(Errno::ENOENT));
    }
}
