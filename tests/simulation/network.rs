//! The network between instances and nodes: how long things take, and which links are cut.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, Weak, atomic::AtomicBool},
    time::Duration,
};

use tokio::{
    sync::mpsc::UnboundedSender,
    time::{Instant, sleep_until},
};

use super::stream::{End, Socket, Stream, lock};

/// A far moment: nothing of a simulation lasts that long.
pub const NEVER: Duration = Duration::from_secs(1_000_000);

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToNode,
    FromNode,
}

impl Way {
    /// Draws which ways of a link are cut: both or one.
    pub fn some() -> &'static [Way] {
        [&[Way::ToNode, Way::FromNode][..], &[Way::ToNode], &[Way::FromNode]][fastrand::usize(0..3)]
    }

    pub fn back(self) -> Self {
        if self == Way::ToNode { Way::FromNode } else { Way::ToNode }
    }
}

/// What happens to a connection whose link is cut for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    Delivered,
    Reset,
}

/// How long things take beyond the latency of a link.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jitter {
    pub mean: Duration,
    /// Of a hundred messages, how many take up to `longest`.
    pub slow: u8,
    pub longest: Duration,
}

/// What listens at a node's address.
pub enum Listener {
    Open(UnboundedSender<Socket>, Arc<AtomicBool>),
    /// The machine is up, the server isn't.
    Closed,
    /// The machine is down.
    Silent,
}

#[derive(Clone)]
pub struct Network(Arc<Mutex<Links>>);

pub struct Links {
    nodes: usize,
    links: Vec<Link>,
    listeners: Vec<Listener>,
    jitter: Jitter,
}

struct Link {
    latency: Duration,
    /// Until when nothing gets through, for each way.
    cut: [Option<(Instant, Afterwards)>; 2],
    streams: Vec<Weak<Mutex<Stream>>>,
}

impl Network {
    /// Creates a network between so many places and nodes.
    pub fn new(places: usize, nodes: usize) -> Self {
        let link = || Link { latency: Duration::from_millis(1), cut: [None; 2], streams: Vec::new() };
        Network(Arc::new(Mutex::new(Links {
            nodes,
            links: (0..places * nodes).map(|_| link()).collect(),
            listeners: (0..nodes).map(|_| Listener::Closed).collect(),
            jitter: Jitter::default(),
        })))
    }

    pub fn set_latency(&self, place: usize, node: usize, latency: Duration) {
        self.links().link(place, node).latency = latency;
    }

    pub fn set_jitter(&self, jitter: Jitter) {
        self.links().jitter = jitter;
    }

    /// Sets what listens at a node's address.
    pub fn listen(&self, node: usize, listener: Listener) {
        self.links().listeners[node] = listener;
    }

    /// Cuts a link, in one way, for a while.
    pub fn cut(&self, place: usize, node: usize, way: Way, lasts: Duration, then: Afterwards) {
        let until = Instant::now() + lasts;
        let mut links = self.links();
        let link = links.link(place, node);
        if link.cut[way as usize].is_none_or(|(before, _)| before < until) {
            link.cut[way as usize] = Some((until, then));
        }
    }

    /// Breaks off all connections of a link.
    pub fn reset(&self, place: usize, node: usize) {
        let streams = std::mem::take(&mut self.links().link(place, node).streams);
        for stream in streams.iter().filter_map(Weak::upgrade) {
            lock(&stream).break_off(Instant::now());
        }
    }

    /// Heals all links. What is held back arrives.
    pub fn heal(&self) {
        let mut links = self.links();
        let now = Instant::now();
        for link in &mut links.links {
            link.cut = [None; 2];
            for stream in link.streams.iter().filter_map(Weak::upgrade) {
                lock(&stream).hurry(now + link.latency);
            }
        }
    }

    pub fn links(&self) -> MutexGuard<'_, Links> {
        lock(&self.0)
    }

    /// Connects to a node.
    pub async fn connect(
        self,
        place: usize,
        node: Option<usize>,
        power: Arc<AtomicBool>,
        unacknowledged: Duration,
    ) -> io::Result<Socket> {
        let node = node.ok_or(io::ErrorKind::NotFound)?;
        let there = self.links().trip(place, node, Way::ToNode).at;
        sleep_until(there).await;
        let opened = self.links().open(place, node, power, unacknowledged);
        let back = self.links().trip(place, node, Way::FromNode).at;
        let answer = match opened {
            Opened::Silent => return std::future::pending().await,
            Opened::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
            Opened::Accepted(ours, theirs) => {
                if let Listener::Open(listener, _) = &self.links().listeners[node] {
                    // A server that is gone by now has closed it.
                    let _ = listener.send(Socket::new(theirs, self.clone()));
                }
                Ok(Socket::new(ours, self.clone()))
            }
        };
        sleep_until(back).await;
        answer
    }
}

enum Opened {
    Silent,
    Refused,
    Accepted(End, End),
}

/// When something arrives, and what a cut does to its connection.
pub struct Trip {
    pub at: Instant,
    pub reset: bool,
}

impl Links {
    fn link(&mut self, place: usize, node: usize) -> &mut Link {
        &mut self.links[place * self.nodes + node]
    }

    pub fn trip(&mut self, place: usize, node: usize, way: Way) -> Trip {
        let (now, jitter) = (Instant::now(), self.jitter);
        let link = self.link(place, node);
        let mut at = now + link.latency;
        if !jitter.mean.is_zero() {
            at += jitter.mean.mul_f64(-(1.0 - fastrand::f64()).ln());
            if fastrand::u8(0..100) < jitter.slow {
                at += jitter.longest.mul_f64(fastrand::f64());
            }
        }
        match link.cut[way as usize] {
            Some((until, then)) if until > now => {
                // TCP sends again after pauses that grow.
                let again = (until - now).mul_f64(fastrand::f64() / 2.0).min(Duration::from_secs(1));
                Trip { at: at.max(until + again + link.latency), reset: then == Afterwards::Reset }
            }
            _ => Trip { at, reset: false },
        }
    }

    fn open(&mut self, place: usize, node: usize, power: Arc<AtomicBool>, unacknowledged: Duration) -> Opened {
        let their_power = match &self.listeners[node] {
            Listener::Open(_, power) => power.clone(),
            Listener::Closed => return Opened::Refused,
            Listener::Silent => return Opened::Silent,
        };
        let streams = [Stream::new(), Stream::new()].map(|stream| Arc::new(Mutex::new(stream)));
        let [to_node, from_node] = &streams;
        let end = |incoming: &Arc<Mutex<Stream>>, outgoing: &Arc<Mutex<Stream>>, way, power, unacknowledged| End {
            place,
            node,
            way,
            incoming: incoming.clone(),
            outgoing: outgoing.clone(),
            power,
            unacknowledged,
        };
        let ours = end(from_node, to_node, Way::ToNode, power, unacknowledged);
        let theirs = end(to_node, from_node, Way::FromNode, their_power, NEVER);
        let link = self.link(place, node);
        link.streams.retain(|stream| stream.strong_count() > 0);
        link.streams.extend(streams.iter().map(Arc::downgrade));
        Opened::Accepted(ours, theirs)
    }
}
