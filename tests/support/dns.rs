//! A name server over UDP and TCP. A test sets its answers and counts its queries.
//!
//! It behaves like a recursive server: an alias is answered together with the addresses of its target. Its messages are
//! built by hand (RFC 1035, section 4), not by the library with which leaderrun reads them.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How often the server checks whether to end.
const TICK: Duration = Duration::from_millis(20);

/// The record types that it knows.
const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const AAAA: u16 = 28;

/// Response codes.
const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;

/// What a name server answers for a name.
#[derive(Clone, Debug)]
pub enum Says {
    /// All addresses, of both families; a family without any gets an answer without records.
    Addresses(Vec<IpAddr>),
    /// Another name for this one.
    Alias(&'static str),
    /// NXDOMAIN.
    NoSuchName,
    /// SERVFAIL.
    Fails,
    Refuses,
    /// No answer.
    Nothing,
    /// No answer to the first queries of each type, this many; then these addresses.
    NothingAtFirst(usize, Vec<IpAddr>),
    /// These addresses, after a delay.
    Late(Duration, Vec<IpAddr>),
    /// These addresses; over UDP only a truncated answer.
    OverTcp(Vec<IpAddr>),
}

impl Says {
    /// Parses addresses separated by spaces.
    pub fn addresses(list: &str) -> Self {
        Says::Addresses(addresses(list))
    }
}

/// Parses IP addresses separated by spaces.
pub fn addresses(list: &str) -> Vec<IpAddr> {
    list.split(' ').map(|address| address.parse().expect("an address")).collect()
}

/// A query that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The name in lower case, without the dot at its end.
    pub name: String,
    pub kind: u16,
    pub tcp: bool,
    pub at: Instant,
}

/// Ends when it is dropped, which closes its port.
pub struct NameServer {
    pub address: IpAddr,
    zone: Arc<Zone>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Zone {
    names: Mutex<HashMap<String, Says>>,
    otherwise: Mutex<Option<Says>>,
    queries: Mutex<Vec<Query>>,
    ended: AtomicBool,
}

impl NameServer {
    /// Starts on port 53 of this address, as resolv.conf(5) requires. It knows no name yet.
    pub fn at(address: &str) -> Self {
        let address: IpAddr = address.parse().expect("an address");
        let udp = UdpSocket::bind((address, 53)).expect("UDP port 53");
        let tcp = TcpListener::bind((address, 53)).expect("TCP port 53");
        udp.set_read_timeout(Some(TICK)).expect("a time-out");
        tcp.set_nonblocking(true).expect("a listener that doesn't block");
        let zone = Arc::new(Zone::default());
        let thread = {
            let zone = zone.clone();
            thread::spawn(move || zone.serve(&udp, &tcp))
        };
        NameServer { address, zone, thread: Some(thread) }
    }

    /// Sets the answer for a name from now on.
    pub fn set(&self, name: &str, says: Says) {
        held(&self.zone.names).insert(name.to_owned(), says);
    }

    /// Does the same for a server under construction.
    pub fn with(self, name: &str, says: Says) -> Self {
        self.set(name, says);
        self
    }

    /// Sets one answer for all names from now on; `None` returns to the answer of each name.
    pub fn set_all(&self, says: Option<Says>) {
        *held(&self.zone.otherwise) = says;
    }

    /// Returns the line for resolv.conf.
    pub fn line(&self) -> String {
        format!("nameserver {}\n", self.address)
    }

    /// Returns all queries so far, in the order in which they arrived.
    pub fn queries(&self) -> Vec<Query> {
        held(&self.zone.queries).clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.zone.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Zone {
    fn serve(self: &Arc<Self>, udp: &UdpSocket, tcp: &TcpListener) {
        let mut message = [0; 4096];
        while !self.ended.load(Ordering::Relaxed) {
            if let Ok((length, from)) = udp.recv_from(&mut message)
                && let Some(answer) = self.answer(&message[..length], false)
            {
                let _ = udp.send_to(&answer, from);
            }
            while let Ok((stream, _)) = tcp.accept() {
                let zone = self.clone();
                thread::spawn(move || zone.serve_stream(stream));
            }
        }
    }

    /// Answers what arrives on a connection, until either side closes it.
    fn serve_stream(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(TICK))?;
        let mut received = Vec::new();
        let mut bytes = [0; 4096];
        while !self.ended.load(Ordering::Relaxed) {
            match stream.read(&mut bytes) {
                Ok(0) => break,
                Ok(length) => received.extend(&bytes[..length]),
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
                Err(error) => return Err(error),
            }
            while let Some((length, rest)) = received.split_first_chunk()
                && let Some(message) = rest.get(..usize::from(u16::from_be_bytes(*length)))
            {
                if let Some(answer) = self.answer(message, true) {
                    stream.write_all(&[&(answer.len() as u16).to_be_bytes()[..], &answer].concat())?;
                }
                received.drain(..2 + message.len());
            }
        }
        Ok(())
    }

    /// Returns the answer to a message, if there is one.
    fn answer(&self, message: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let (name, question) = question(message)?;
        let kind = u16::from_be_bytes(question.last_chunk::<4>()?.first_chunk().copied()?);
        let before = {
            let mut queries = held(&self.queries);
            let before = queries.iter().filter(|query| query.name == name && query.kind == kind).count();
            queries.push(Query { name: name.clone(), kind, tcp, at: Instant::now() });
            before
        };
        let mut records = Vec::new();
        let (mut truncated, mut says) = (false, self.says(&name));
        let mut owner = name;
        while let Says::Alias(target) = says {
            records.push(record(&owner, CNAME, &encoded(target)));
            (says, owner) = (self.says(target), target.to_owned());
        }
        let mut list = |addresses: &[IpAddr]| {
            records.extend(addresses.iter().filter_map(|address| match address {
                IpAddr::V4(address) if kind == A => Some(record(&owner, A, &address.octets())),
                IpAddr::V6(address) if kind == AAAA => Some(record(&owner, AAAA, &address.octets())),
                _ => None,
            }));
            NOERROR
        };
        let code = match &says {
            Says::Addresses(addresses) => list(addresses),
            Says::Late(by, addresses) => {
                thread::sleep(*by);
                list(addresses)
            }
            Says::NothingAtFirst(number, addresses) if before >= *number => list(addresses),
            Says::OverTcp(addresses) if tcp => list(addresses),
            Says::OverTcp(_) => {
                truncated = true;
                NOERROR
            }
            Says::NoSuchName | Says::Alias(_) => NXDOMAIN,
            Says::Fails => SERVFAIL,
            Says::Refuses => REFUSED,
            Says::Nothing | Says::NothingAtFirst(..) => return None,
        };
        // A negative answer says how long it holds (RFC 2308).
        let nothing = matches!(code, NOERROR | NXDOMAIN) && records.is_empty() && !truncated;
        let authority =
            if nothing { record("", SOA, &[&[0, 0][..], &[0, 0, 0, 1].repeat(5)].concat()) } else { vec![] };
        let mut answer = message[..2].to_vec();
        answer.extend([0x81 | u8::from(truncated) << 1, 0x80 | code, 0, 1]);
        answer.extend((records.len() as u16).to_be_bytes());
        answer.extend([0, u8::from(nothing), 0, 0]);
        answer.extend(question);
        answer.extend(records.concat());
        answer.extend(authority);
        Some(answer)
    }

    fn says(&self, name: &str) -> Says {
        let otherwise = held(&self.otherwise).clone();
        otherwise.or_else(|| held(&self.names).get(name).cloned()).unwrap_or(Says::NoSuchName)
    }
}

/// Returns the name that a message asks for, and the bytes of its question.
fn question(message: &[u8]) -> Option<(String, &[u8])> {
    let question = message.get(12..)?;
    let (mut labels, mut at) = (Vec::new(), 0);
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + length)?).to_lowercase());
        at += length;
    }
    Some((labels.join("."), question.get(..at + 4)?))
}

/// Encodes a name as labels.
fn encoded(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut bytes: Vec<u8> = labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    bytes.push(0);
    bytes
}

/// Returns a record of class IN, valid for a second.
fn record(name: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u16).to_be_bytes();
    [&encoded(name), &kind.to_be_bytes()[..], &[0, 1, 0, 0, 0, 1], &length, data].concat()
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread of ours panics")
}
