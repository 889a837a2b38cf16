//! The campaign's nodes: real servers, each behind a proxy, in two clusters; and when a quorum of each was up.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use crate::{
    TTL,
    support::{Proxy, Server, monotonic},
};

pub(crate) struct Node {
    pub server: Server,
    pub proxy: Proxy,
    /// A fault is in progress.
    pub failing: bool,
    /// The end of the startup grace, before which it doesn't vote.
    pub young_until: Instant,
    /// When the last fault ended.
    pub mended: Instant,
    /// No other node of its cluster may fail before then, because data was deleted from this one.
    pub alone_until: Instant,
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
                let server = Server::start();
                let proxy = Proxy::new(server.port, seed + index as u64);
                let now = Instant::now();
                nodes.all.push(Node {
                    server,
                    proxy,
                    failing: false,
                    young_until: now + YOUNG,
                    mended: now,
                    alone_until: now,
                });
            }
            nodes.clusters.push(Cluster { members: first..first + size, quorum: vec![(monotonic(), false)] });
        }
        nodes
    }

    pub(crate) fn urls(&self, cluster: usize) -> String {
        let members = &self.all[self.clusters[cluster].members.clone()];
        members.iter().map(|node| node.proxy.url.as_str()).collect::<Vec<_>>().join(",")
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

impl Node {
    /// Returns whether the node has been well long enough for a leader to restore its locks.
    pub(crate) fn is_healed(&self) -> bool {
        self.is_well() && self.mended.elapsed() > TTL
    }

    pub(crate) fn is_well(&self) -> bool {
        !self.failing && Instant::now() >= self.young_until
    }
}
