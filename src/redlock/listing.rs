//! The resources that the nodes know of, by the fences of their locks.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::timeout;

use super::{
    net::{failure::Failure, node::Node},
    observer::RedlockObserver,
    outcome::nodes_that,
    round::Round,
    scripts::{self, ListReply},
};
use crate::{
    lease::{Nodes, Turnout},
    lock::{LONGEST_NAME, MOST_SLOTS},
};

/// The most resources that are listed.
const MOST: usize = 1000;

/// The most requests to a node: ten million keys.
const MOST_REQUESTS: usize = 5000;

/// How long a node may take for all of them.
const LISTS_WITHIN: Duration = Duration::from_secs(10);

/// The resources of a prefix.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// Sorted, with the number of slots that there are at least.
    pub names: Vec<(String, u16)>,
    /// There are more.
    pub is_cut_off: bool,
    pub turnout: Turnout,
}

impl RedlockObserver {
    /// Returns the resources whose locks have the name of this lock as their prefix.
    pub(crate) async fn list(&self) -> Listing {
        let list = |node| timeout(LISTS_WITHIN, names_on(node, &self.lock));
        let asked = join_all(self.nodes.iter().map(list)).await;
        let mut listing = Listing::default();
        let (mut nodes_of, mut answered, mut failed) = (BTreeMap::<String, usize>::new(), Nodes::new(), Vec::new());
        for (node, found) in self.nodes.iter().zip(asked) {
            match found.unwrap_or(Err(Failure::TimedOut)) {
                Ok((found, is_cut_off)) => {
                    found.into_iter().for_each(|name| *nodes_of.entry(name).or_default() += 1);
                    answered.insert(node.index);
                    listing.is_cut_off |= is_cut_off;
                }
                Err(failure) => failed.push((node.index, format!("{} {failure}", node.address))),
            }
        }
        listing.is_cut_off |= nodes_of.len() > MOST;
        let mut resources: BTreeMap<String, u16> = BTreeMap::new();
        for name in best_known(nodes_of) {
            let (name, slot) = without_slot(&name);
            let slots = resources.entry(name.to_owned()).or_insert(1);
            *slots = slot.max(*slots);
        }
        listing.names = resources.into_iter().collect();
        listing.turnout = self.quorums.turnout(&answered, failed);
        listing
    }

    /// Returns an observer of a resource with this prefix.
    pub(crate) fn of_listed(&self, name: &str) -> Self {
        self.of_other(name, format!("{}{name}", self.lock))
    }

    /// Returns how many nodes there are.
    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Returns how many nodes can vote: those that answer, and are past their startup grace.
    pub(crate) async fn count_voters(&self) -> usize {
        let mut info = redis::cmd("INFO");
        info.arg("server");
        let mut round = Round::ask(&self.nodes, |node| {
            let asked = node.ask(info.clone());
            async move { asked.await.map(|answer| redis::from_redis_value::<String>(answer).unwrap_or_default()) }
        });
        self.hear_out(&mut round).await;
        let grace = self.times.startup_grace();
        let votes = |info: &String| {
            let up =
                info.lines().find_map(|line| line.strip_prefix("uptime_in_seconds:")?.trim_end().parse::<u64>().ok());
            up.is_some_and(|up| up >= grace.as_secs())
        };
        nodes_that(round.replies(), votes).len()
    }
}

/// Returns the names that most nodes know, as many as are listed: one node that makes names up can't hide the others.
fn best_known(nodes_of: BTreeMap<String, usize>) -> impl Iterator<Item = String> {
    let mut names: Vec<_> = nodes_of.into_iter().collect();
    names.sort_by_key(|(_, nodes)| Reverse(*nodes));
    names.into_iter().map(|(name, _)| name).take(MOST)
}

/// Returns the name of a resource, and the slot that follows it in the name of a lock; 1 if none does.
fn without_slot(lock: &str) -> (&str, u16) {
    let slot = lock.rsplit_once(":slot").and_then(|(name, slot)| Some((name, slot.parse().ok()?)));
    slot.filter(|(_, slot)| (1..=MOST_SLOTS).contains(slot)).unwrap_or((lock, 1))
}

/// Returns the names that a node knows of, and whether there are more.
async fn names_on(node: &Arc<Node>, prefix: &str) -> Result<(BTreeSet<String>, bool), Failure> {
    let (mut names, mut cursor) = (BTreeSet::new(), "0".to_owned());
    for _ in 0..MOST_REQUESTS {
        let answer = node.ask(scripts::list(&cursor, prefix)).await?;
        let ListReply { cursor: next, keys } = ListReply::read(answer).ok_or(Failure::StrangeAnswer)?;
        let named = keys.iter().filter_map(|key| scripts::name_in_fence(key, prefix));
        names.extend(named.filter(|name| without_slot(name).0.len() <= LONGEST_NAME).map(ToOwned::to_owned));
        match next {
            Some(next) if names.len() <= MOST => cursor = next,
            Some(_) => return Ok((names, true)),
            None => return Ok((names, false)),
        }
    }
    Ok((names, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_makes_names_up_hides_no_resource() {
        let made_up = (0..2 * MOST).map(|number| (format!("!{number}"), 1));
        let names: Vec<_> = best_known(made_up.chain([("real".to_owned(), 2)]).collect()).collect();
        assert_eq!((names.len(), names[0].as_str()), (MOST, "real"));
    }
}
