//! Whose a Unix socket is (sock_diag(7), UDIAG_SHOW_UID of Linux 5.3).

use std::os::fd::AsRawFd;

use nix::{
    errno::Errno,
    libc,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
            sockopt::ReceiveTimeout,
        },
        time::{TimeVal, TimeValLike},
    },
};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const ANY_STATE: u32 = u32::MAX;
const SHOW_UID: u32 = 0x40;
const ATTRIBUTE_UID: u16 = 7;

/// The sizes of nlmsghdr, unix_diag_msg and nlattr, in bytes.
const HEADER: usize = 16;
const MESSAGE: usize = 16;
const ATTRIBUTE: usize = 4;

/// Returns the user id of who has made the Unix socket with this inode number, in our network namespace.
///
/// # Errors
/// Those of netlink(7): ENOENT if there is no such socket, or the kernel can't say. EBADMSG: it doesn't say.
pub(crate) fn owner_of_socket(inode: u32) -> Result<u32, Errno> {
    let netlink = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
    // The kernel answers at once.
    setsockopt(&netlink, ReceiveTimeout, &TimeVal::seconds(1))?;
    sendto(netlink.as_raw_fd(), &question(inode), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 1024];
    let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    uid_in(answer.get(..length).unwrap_or_default())
}

/// Returns a nlmsghdr with a unix_diag_req: family, protocol, padding, states, inode, what to show, and any cookie.
fn question(inode: u32) -> Vec<u8> {
    let mut request = vec![libc::AF_UNIX as u8, 0, 0, 0];
    for word in [ANY_STATE, inode, SHOW_UID, u32::MAX, u32::MAX] {
        request.extend(word.to_ne_bytes());
    }
    let mut message = ((HEADER + request.len()) as u32).to_ne_bytes().to_vec();
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    // Its number, and ours.
    message.extend([0; 8]);
    message.extend(request);
    message
}

fn uid_in(answer: &[u8]) -> Result<u32, Errno> {
    if u16_at(answer, 4) != Some(SOCK_DIAG_BY_FAMILY) {
        // An error has its negative number after the header.
        let errno = u32_at(answer, HEADER).map_or(0, |number| (number as i32).wrapping_neg());
        return Err(Errno::from_raw(errno));
    }
    let mut at = HEADER + MESSAGE;
    while let (Some(length), Some(kind)) = (u16_at(answer, at), u16_at(answer, at + 2)) {
        if kind == ATTRIBUTE_UID {
            return u32_at(answer, at + ATTRIBUTE).ok_or(Errno::EBADMSG);
        }
        // Each begins at a multiple of four.
        at += usize::from(length).max(ATTRIBUTE).next_multiple_of(4);
    }
    Err(Errno::EBADMSG)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::{fd::AsFd, unix::net::UnixDatagram};

    use nix::{sys::stat::fstat, unistd::geteuid};

    use super::*;

    #[test]
    fn a_socket_of_ours_is_ours_and_one_that_is_gone_is_nobodys() {
        let ours = UnixDatagram::unbound().expect("a socket");
        let inode = fstat(ours.as_fd()).expect("a socket").st_ino as u32;
        match owner_of_socket(inode) {
            Err(Errno::ENOENT | Errno::EPROTONOSUPPORT) => println!("not tried: this kernel has no sock_diag for them"),
            owner => assert_eq!(owner, Ok(geteuid().as_raw())),
        }
        drop(ours);
        assert!(owner_of_socket(inode).is_err());
    }

    #[test]
    fn half_an_answer_says_nothing() {
        let whole =
            [&question(1)[..HEADER], &[0; MESSAGE], &8_u16.to_ne_bytes(), &ATTRIBUTE_UID.to_ne_bytes(), &[1; 4]];
        let whole = whole.concat();
        assert_eq!(uid_in(&whole), Ok(u32::from_ne_bytes([1; 4])));
        (0..whole.len()).for_each(|length| assert!(uid_in(&whole[..length]).is_err(), "{length}"));
    }
}
