//! Findings from the lock of the resource: whether its holder is configured as we are.

use super::finding::Finding;
use crate::{
    lease::Times,
    redlock::{
        config::RedlockConfig,
        net::node::Node,
        scripts::{Keys, LookReply},
    },
};

/// Returns what the holder of the lock on a node is configured with otherwise.
pub(super) async fn findings(node: &Node, config: &RedlockConfig, slots: u16, times: &Times) -> Vec<Finding> {
    let keys = Keys::new(&config.lock, node.address.database());
    let looked = node.ask(keys.look(None)).await.ok().and_then(LookReply::read);
    let Some(value) = looked.and_then(|looked| looked.value) else { return Vec::new() };
    let ours = config.quorums.sizes();
    let list = value.lists().filter(|theirs| !theirs.shares(ours));
    let ttl = value.ttl().filter(|&theirs| theirs != times.ttl());
    let list = list.map(|theirs| Finding::OtherList { holder: value.holder(), theirs, ours });
    let theirs = value.slots();
    let slots = (theirs != slots).then(|| Finding::OtherSlots { holder: value.holder(), theirs, ours: slots });
    let ttl = ttl.map(|theirs| Finding::OtherTtl { holder: value.holder(), theirs, ours: times.ttl() });
    list.into_iter().chain(slots).chain(ttl).collect()
}
