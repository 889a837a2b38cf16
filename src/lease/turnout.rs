//! How many nodes have answered a question.

use std::fmt;

use serde::Serialize;

use super::quorums::{Nodes, Quorums, quorum, shown_nodes};

/// How many nodes of a list have answered a question, and whether that is enough to rely on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Turnout {
    /// Whether a quorum of each list has answered.
    pub known: bool,
    pub answered: usize,
    /// How many nodes the list has.
    #[serde(skip)]
    pub nodes: usize,
    pub quorum: usize,
    /// Why nodes have not answered, in their order.
    #[serde(skip)]
    pub failures: Vec<String>,
}

impl Turnout {
    /// Creates the turnout of a machine that has been asked about itself.
    pub(crate) fn of_this_machine() -> Self {
        Turnout { known: true, answered: 1, nodes: 1, quorum: 1, failures: Vec::new() }
    }
}

impl Quorums {
    /// Returns the turnout of the list in which these nodes, which have answered, are the farthest from a quorum. `failures`: why
    /// others have not.
    pub(crate) fn turnout(&self, answered: &Nodes, mut failures: Vec<(usize, String)>) -> Turnout {
        let known = self.is_reached(answered);
        let (list, answered) = self.shortest_of(answered);
        failures.retain(|(node, _)| list.contains(node));
        failures.sort();
        let failures = failures.into_iter().map(|(_, failure)| failure).collect();
        Turnout { known, answered, nodes: list.len(), quorum: quorum(list.len()), failures }
    }
}

/// "1 of 3 nodes answered, 2 needed: redis://b:6379 timed out, redis://c:6379 refused the connection"
impl fmt::Display for Turnout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Turnout { answered, nodes, quorum, failures, .. } = self;
        write!(f, "{answered} of {} answered, {quorum} needed", shown_nodes(*nodes))?;
        if failures.is_empty() { Ok(()) } else { write!(f, ": {}", failures.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_the_nodes_are_changed_it_is_that_of_the_list_that_falls_short() {
        let quorums = Quorums::of(3).and_before([3]);
        let failures = || vec![(2, "c timed out".to_owned()), (1, "b timed out".to_owned())];
        let said = |answered: &[usize]| quorums.turnout(&answered.iter().copied().collect(), failures()).to_string();
        assert_eq!(said(&[0, 1]), "0 of 1 node answered, 1 needed");
        assert_eq!(said(&[0, 3]), "1 of 3 nodes answered, 2 needed: b timed out, c timed out");
        assert!(quorums.turnout(&[0, 1, 3].into(), Vec::new()).known);
    }
}
