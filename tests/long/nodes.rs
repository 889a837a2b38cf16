//! The campaign's nodes: real servers in two clusters, each behind proxies; and when a quorum of each was up.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::TTL;
use crate::support::{Mode, Proxy, Server, monotonic};

pub(crate) struct Node {
    pub server: Server,
    /// One from each place.
    pub links: Vec<Link>,
    /// A fault is in progress.
    pub failing: bool,
    /// The end of the startup grace, before which it doesn't vote.
    pub young_until: Instant,
    /// When the last fault ended.
    pub mended: Instant,
    /// How far its clock is ahead, in milliseconds.
    pub ahead: i64,
    /// No other node of its cluster may fail before then, because data was deleted from this one.
    pub alone_until: Instant,
}

/// How many places there are. Instances of one place have their own links, to some of the nodes near, to others far.
pub(crate) const PLACES: usize = 2;

/// The node whose clock is set now and then: one of the cluster with three.
const CLOCK: usize = 0;

/// How long a message takes over a far link.
const FAR: Duration = Duration::from_millis(10);

/// What is between a place and a node.
pub(crate) struct Link {
    pub proxy: Proxy,
    sound: Mode,
}

/// Nodes that hold the lease of some resources together.
pub(crate) struct Cluster {
    pub members: Range<usize>,
    /// When a quorum was gained or lost: nanoseconds of CLOCK_MONOTONIC.
    pub quorum: Vec<(u64, bool)>,
}

pub(crate) struct Nodes {
    pub all: Vec<Node>,
    pub clusters: Vec<Cluster>,
}

/// The startup grace of a node: the protocol's time, plus two seconds because uptime is counted in whole seconds.
pub(crate) const YOUNG: Duration = Duration::from_millis(TTL.as_millis() as u64 * 101 / 100 + 2 + 2000);

impl Nodes {
    /// Starts clusters of these sizes.
    pub(crate) fn start(sizes: &[usize], seed: u64) -> Self {
        let mut nodes = Nodes { all: Vec::new(), clusters: Vec::new() };
        for size in sizes {
            let first = nodes.all.len();
            for index in first..first + size {
                // One clock may be wrong where a quorum is left without it.
                let server = Some(()).filter(|()| index == CLOCK).and_then(|()| Server::with_clock());
                let server = server.unwrap_or_else(Server::start);
                let links = (0..PLACES).map(|place| Link::new(place, index, &server, seed)).collect();
                let now = Instant::now();
                nodes.all.push(Node {
                    server,
                    links,
                    failing: false,
                    young_until: now + YOUNG,
                    mended: now,
                    ahead: 0,
                    alone_until: now,
                });
            }
            nodes.clusters.push(Cluster { members: first..first + size, quorum: vec![(monotonic(), false)] });
        }
        if nodes.with_clock().is_none() {
            println!("no clock is set: there is no libfaketime");
        }
        nodes
    }

    /// Returns the URLs of a cluster's nodes as seen from each place.
    pub(crate) fn urls(&self, cluster: usize) -> Vec<String> {
        let members = &self.all[self.clusters[cluster].members.clone()];
        let from = |place: usize| members.iter().map(|node| node.links[place].proxy.url.as_str()).collect::<Vec<_>>();
        (0..PLACES).map(|place| from(place).join(",")).collect()
    }

    /// Returns the node whose clock can be set.
    pub(crate) fn with_clock(&self) -> Option<usize> {
        self.all.iter().position(|node| node.server.has_clock())
    }

    /// Returns the cluster of a node.
    pub(crate) fn around(&self, node: usize) -> &[Node] {
        let cluster = self.clusters.iter().find(|cluster| cluster.members.contains(&node)).expect("its cluster");
        &self.all[cluster.members.clone()]
    }

    /// Notes whether a quorum is up, if that has changed.
    pub(crate) fn note_quorum(&mut self) {
        for cluster in &mut self.clusters {
            let members = &self.all[cluster.members.clone()];
            let up = members.iter().filter(|node| node.is_well()).count() > members.len() / 2;
            if cluster.quorum.last().is_some_and(|&(_, was)| was != up) {
                cluster.quorum.push((monotonic(), up));
            }
        }
    }
}

impl Link {
    fn new(place: usize, node: usize, server: &Server, seed: u64) -> Self {
        let sound = if (node + place).is_multiple_of(2) { Mode::Pass } else { Mode::Late(FAR) };
        let proxy = Proxy::new(server.port, seed + (PLACES * node + place) as u64);
        proxy.set(sound);
        Link { proxy, sound }
    }

    /// Ends what is wrong with it.
    pub(crate) fn mend(&self) {
        self.proxy.set(self.sound);
    }
}

impl Node {
    /// Has this happen to all that passes its links.
    pub(crate) fn set_links(&self, mode: Mode) {
        self.links.iter().for_each(|link| link.proxy.set(mode));
    }

    /// Returns whether the node has been well long enough for a leader to restore its locks.
    pub(crate) fn is_healed(&self) -> bool {
        self.is_well() && self.mended.elapsed() > TTL
    }

    pub(crate) fn is_well(&self) -> bool {
        !self.failing && Instant::now() >= self.young_until
    }
}
