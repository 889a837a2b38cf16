//! Links that stay cut. Faults that come and go hide a livelock: they break the circle in which candidates keep each other out.

use super::{
    network::{Afterwards, NEVER, Way},
    world::World,
};
use crate::lease::quorum;

impl World {
    /// Cuts links for good, in one way or both. Each instance keeps a quorum. In half of the schedules, only one of them reaches the
    /// first node.
    pub fn cut_for_good(&self) {
        let (places, nodes) = (self.instances.len(), self.nodes.len());
        let the_only_one = fastrand::bool().then(|| fastrand::usize(0..places));
        for place in 0..places {
            let mut candidates: Vec<usize> = (0..nodes).collect();
            fastrand::shuffle(&mut candidates);
            match the_only_one {
                Some(only) if only == place => candidates.retain(|&node| node != 0),
                // The first to be cut.
                Some(_) => candidates.sort_by_key(|&node| node != 0),
                None => {}
            }
            let most = nodes - quorum(nodes);
            let cut = if the_only_one.is_some() { fastrand::usize(1..=most) } else { fastrand::usize(0..=most) };
            for node in candidates.into_iter().take(cut) {
                let ways = Way::some();
                self.ledger.tell(|| format!("instance {place} and node {node} are cut off for good: {ways:?}"));
                for way in ways {
                    self.network.cut(place, node, *way, NEVER, Afterwards::Delivered);
                }
            }
        }
    }
}
