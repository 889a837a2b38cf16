//! What a quorum is, also while the servers of a running system are changed. Pure, like all rules of the lease.

use std::{collections::HashSet, fmt, iter};

use serde::{Deserialize, Serialize};

/// Returns the quorum of N configured nodes: N/2 + 1.
pub(crate) fn quorum(nodes: usize) -> usize {
    nodes / 2 + 1
}

/// Returns a number of nodes in words.
pub(crate) fn shown_nodes(nodes: usize) -> String {
    format!("{nodes} node{}", if nodes == 1 { "" } else { "s" })
}

/// Nodes, by their indices.
pub(crate) type Nodes = HashSet<usize>;

/// The lists of nodes that a lease needs a quorum of: one or, while the nodes are changed, the new one and the one before.
/// Whoever leads with the old list, and whoever leads with the new one, then shares a quorum with whoever leads with both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quorums {
    now: Nodes,
    before: Option<Nodes>,
}

/// How many nodes the lists of an instance have. That is all that instances can compare: one may give a server another name
/// than the other does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListSizes {
    #[serde(rename = "nodes")]
    pub now: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<usize>,
}

impl Quorums {
    /// Creates the quorums of one list with so many nodes, at least one.
    pub(crate) fn of(nodes: usize) -> Self {
        Self::among(0..nodes)
    }

    /// Creates the quorums of one list with these nodes.
    pub(crate) fn among(nodes: impl IntoIterator<Item = usize>) -> Self {
        Quorums { now: nodes.into_iter().collect(), before: None }
    }

    /// Adds the list of the nodes before. A node may be in both.
    pub(crate) fn and_before(self, nodes: impl IntoIterator<Item = usize>) -> Self {
        Quorums { before: Some(nodes.into_iter().collect()), ..self }
    }

    /// Returns the lists: the present one first.
    pub(crate) fn lists(&self) -> impl Iterator<Item = &Nodes> {
        iter::once(&self.now).chain(&self.before)
    }

    /// Returns the nodes of all lists.
    pub(crate) fn nodes(&self) -> Nodes {
        self.lists().flatten().copied().collect()
    }

    /// Returns how many nodes the lists have.
    pub(crate) fn sizes(&self) -> ListSizes {
        ListSizes { now: self.now.len(), before: self.before.as_ref().map(Nodes::len) }
    }

    /// Returns whether each list has a quorum of these votes.
    pub(crate) fn is_reached(&self, votes: &Nodes) -> bool {
        self.lists().all(|list| is_quorum(list, votes))
    }

    /// Returns whether one list has a quorum of these votes.
    pub(crate) fn is_reached_in_one(&self, votes: &Nodes) -> bool {
        self.lists().any(|list| is_quorum(list, votes))
    }

    /// Returns whether an instance whose lists have these sizes has what it needs with these votes, as far as our lists show.
    /// `None`: it doesn't say.
    pub(crate) fn is_reached_by(&self, theirs: Option<ListSizes>, votes: &Nodes) -> bool {
        let is_theirs = |list: &&Nodes| theirs.is_none_or(|theirs| theirs.has(list.len()));
        let known = self.lists().filter(is_theirs).count();
        let needed = theirs.map_or(1, ListSizes::lists).min(known).max(1);
        self.lists().filter(is_theirs).filter(|list| is_quorum(list, votes)).count() >= needed
    }

    /// Returns the lists that have a quorum of these votes, if any.
    pub(crate) fn reached(&self, votes: &Nodes) -> Option<Quorums> {
        let mut reached = self.lists().filter(|list| is_quorum(list, votes)).cloned();
        Some(Quorums { now: reached.next()?, before: reached.next() })
    }

    /// Returns whether one list has so many of these nodes that no quorum is left of the others.
    pub(crate) fn is_prevented(&self, refusals: &Nodes) -> bool {
        self.lists().any(|list| count(list, refusals) + quorum(list.len()) > list.len())
    }

    /// Returns whether these votes are enough and, with one of them less, might not be, though there are more nodes.
    pub(crate) fn is_bare(&self, votes: &Nodes) -> bool {
        let is_bare = |list: &Nodes| count(list, votes) == quorum(list.len()) && count(list, votes) < list.len();
        self.is_reached(votes) && self.lists().any(is_bare)
    }

    /// Returns the list in which these votes are the farthest from a quorum, and how many it has.
    pub(crate) fn shortest_of(&self, votes: &Nodes) -> (&Nodes, usize) {
        let missing = |list: &Nodes| quorum(list.len()).saturating_sub(count(list, votes));
        let list = self.before.as_ref().filter(|before| missing(before) > missing(&self.now)).unwrap_or(&self.now);
        (list, count(list, votes))
    }

    /// Returns the smallest value that a quorum of each list doesn't exceed; `None` if too few nodes have a value.
    pub(crate) fn reached_at<T: Ord>(&self, value: impl Fn(usize) -> Option<T>) -> Option<T> {
        let at = |list: &Nodes| {
            let mut values: Vec<T> = list.iter().filter_map(|&node| value(node)).collect();
            values.sort_unstable();
            values.into_iter().nth(quorum(list.len()) - 1)
        };
        self.lists().map(at).collect::<Option<Vec<T>>>()?.into_iter().max()
    }
}

fn count(list: &Nodes, votes: &Nodes) -> usize {
    list.intersection(votes).count()
}

fn is_quorum(list: &Nodes, votes: &Nodes) -> bool {
    count(list, votes) >= quorum(list.len())
}

impl ListSizes {
    fn has(self, size: usize) -> bool {
        self.now == size || self.before == Some(size)
    }

    fn lists(self) -> usize {
        1 + usize::from(self.before.is_some())
    }

    /// Returns whether two instances can have a list in common.
    pub(crate) fn shares(self, other: ListSizes) -> bool {
        self.has(other.now) || other.before.is_some_and(|size| self.has(size))
    }
}

impl fmt::Display for ListSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.now)?;
        self.before.map_or(Ok(()), |before| write!(f, ", before {before}"))
    }
}

/// The votes of one round, counted as they come in.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    quorums: Quorums,
    yes: Nodes,
    no: Nodes,
}

/// The result of the votes counted so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VoteResult {
    Won,
    Lost,
    /// The outstanding votes decide.
    Pending,
}

impl Tally {
    /// Starts a count.
    pub(crate) fn new(quorums: Quorums) -> Self {
        Tally { quorums, yes: Nodes::new(), no: Nodes::new() }
    }

    /// Counts one node's answer.
    pub(crate) fn count(&mut self, node: usize, vote: bool) {
        let counted = if vote { &mut self.yes } else { &mut self.no };
        counted.insert(node);
    }

    /// Returns the result: won with a quorum of votes, lost as soon as the outstanding votes can't complete one.
    pub(crate) fn result(&self) -> VoteResult {
        if self.quorums.is_reached(&self.yes) {
            VoteResult::Won
        } else if self.quorums.is_prevented(&self.no) {
            VoteResult::Lost
        } else {
            VoteResult::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nodes<const N: usize>(nodes: [usize; N]) -> Nodes {
        nodes.into()
    }

    const fn sizes(now: usize, before: Option<usize>) -> Option<ListSizes> {
        Some(ListSizes { now, before })
    }

    #[test]
    fn a_quorum_is_more_than_half() {
        assert_eq!([1, 2, 3, 4, 5, 7].map(quorum), [1, 2, 2, 3, 3, 4]);
    }

    #[test]
    fn both_lists_need_a_quorum_and_a_node_of_both_counts_in_both() {
        let one_to_three = Quorums::of(3).and_before([0]);
        assert!(one_to_three.is_reached(&nodes([0, 2])) && !one_to_three.is_reached(&nodes([1, 2])));
        assert!(one_to_three.is_prevented(&nodes([0])) && !one_to_three.is_prevented(&nodes([2])));
        assert!(one_to_three.is_bare(&nodes([0, 2])) && !one_to_three.is_bare(&nodes([0, 1, 2])));
        assert_eq!(one_to_three.reached_at(|node| [9, 5, 7].get(node).copied()), Some(9));
        let disjoint = Quorums::among([2, 3, 4]).and_before([0, 1]);
        assert!(disjoint.is_reached(&nodes([0, 1, 2, 3])) && !disjoint.is_reached(&nodes([0, 2, 3, 4])));
        assert_eq!(disjoint.nodes().len(), 5);
    }

    #[test]
    fn what_another_needs_depends_on_its_lists() {
        let one_to_three = Quorums::of(3).and_before([0]);
        assert!(one_to_three.is_reached_by(sizes(1, None), &nodes([0])));
        assert!(one_to_three.is_reached_by(sizes(3, None), &nodes([1, 2])));
        assert!(!one_to_three.is_reached_by(sizes(3, Some(1)), &nodes([0])));
        assert!(!one_to_three.is_reached_by(sizes(3, Some(1)), &nodes([1, 2])));
        assert!(one_to_three.is_reached_by(None, &nodes([0])));
        assert!(!one_to_three.is_reached_by(sizes(5, None), &nodes([0, 1, 2])), "none of our lists");
        let replaced = Quorums::of(3).and_before([3, 4, 5]);
        assert!(replaced.is_reached_by(sizes(3, None), &nodes([4, 5])));
        assert!(!replaced.is_reached_by(sizes(3, Some(3)), &nodes([4, 5])));
        let new = Quorums::of(3);
        assert!(new.is_reached_by(sizes(3, Some(1)), &nodes([1, 2])), "the other list isn't seen from here");
    }

    #[test]
    fn lists_are_known_by_their_sizes() {
        let shares =
            |a: Option<ListSizes>, b: Option<ListSizes>| a.zip(b).is_some_and(|(a, b)| a.shares(b) && b.shares(a));
        assert!(shares(sizes(3, None), sizes(3, Some(1))) && shares(sizes(1, None), sizes(3, Some(1))));
        assert!(!shares(sizes(1, None), sizes(3, None)) && !shares(sizes(5, Some(2)), sizes(3, Some(1))));
    }

    #[test]
    fn a_value_is_reached_by_the_last_node_of_a_quorum() {
        let reached = |values: &[Option<u64>]| Quorums::of(values.len()).reached_at(|node| values[node]);
        assert_eq!(reached(&[Some(9)]), Some(9));
        assert_eq!(reached(&[Some(9), Some(5), Some(7)]), Some(7));
        assert_eq!(reached(&[Some(9), Some(5), Some(7), Some(6)]), Some(7));
        assert_eq!(reached(&[Some(9), None, Some(7)]), Some(9));
        assert_eq!(reached(&[Some(9), None, None]), None);
    }

    /// Returns any lists: one, or two that may overlap.
    fn any_quorums() -> impl Strategy<Value = Quorums> {
        (1usize..8, prop::option::of((0usize..8, 1usize..8))).prop_map(|(nodes, before)| match before {
            None => Quorums::of(nodes),
            Some((first, number)) => Quorums::of(nodes).and_before(first..first + number),
        })
    }

    proptest! {
        #[test]
        fn two_rounds_cannot_both_win(quorums in any_quorums(), votes in prop::collection::vec(0..2usize, 16)) {
            // Each node votes for one of two candidates.
            let result = |candidate| {
                let mut tally = Tally::new(quorums.clone());
                quorums.nodes().into_iter().for_each(|node| tally.count(node, votes[node] == candidate));
                tally.result()
            };
            prop_assert!(!(result(0) == VoteResult::Won && result(1) == VoteResult::Won));
        }

        #[test]
        fn nobody_leads_beside_one_with_both_lists(both in any_quorums(), votes in prop::collection::vec(0..2usize, 16)) {
            let voters = |candidate| both.nodes().into_iter().filter(|&node| votes[node] == candidate).collect::<Nodes>();
            for list in both.lists() {
                let alone = Quorums::among(list.iter().copied());
                prop_assert!(!(both.is_reached(&voters(0)) && alone.is_reached(&voters(1))));
            }
        }

        #[test]
        fn a_decided_round_stays_decided(quorums in any_quorums(), votes in prop::collection::vec(any::<bool>(), 16)) {
            let mut tally = Tally::new(quorums.clone());
            let mut decided = VoteResult::Pending;
            for node in quorums.nodes() {
                prop_assert!(decided == VoteResult::Pending || decided == tally.result());
                decided = tally.result();
                tally.count(node, votes[node]);
            }
            prop_assert!(tally.result() != VoteResult::Pending, "decided at the latest by the last answer");
            let yes: Nodes = quorums.nodes().into_iter().filter(|&node| votes[node]).collect();
            prop_assert_eq!(tally.result() == VoteResult::Won, quorums.is_reached(&yes));
        }
    }
}
