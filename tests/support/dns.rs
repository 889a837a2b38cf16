//! A name server that knows every name of IPv4 as this machine, and none of IPv6.

use std::{net::UdpSocket, thread};

pub struct NameServer(pub String);

impl NameServer {
    /// On port 53 of this address of the loopback, as resolv.conf(5) wants it; root may. It ends with the test.
    pub fn at(address: &str) -> Self {
        let socket = UdpSocket::bind((address, 53)).expect("port 53");
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                if let Some(answer) = answer(&question[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        NameServer(address.to_owned())
    }
}

/// The header, the question, and an address (RFC 1035, section 4).
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let name = question.get(12..)?;
    let end = 12 + name.iter().position(|&length| length == 0)? + 1;
    let wants_ipv4 = question.get(end..end + 2)? == [0, 1];
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(wants_ipv4), 0, 0, 0, 0]);
    answer.extend(&question[12..end + 4]);
    if wants_ipv4 {
        // The question's name, an address of the internet, good for a second.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
