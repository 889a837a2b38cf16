//! Nodes that are one server, under different names.

use std::collections::HashMap;

use super::{finding::Finding, node_health::NodeHealth};

/// Adds a finding to each node whose server is also an earlier node.
pub(super) fn find(nodes: &mut [NodeHealth]) {
    let mut first: HashMap<String, String> = HashMap::new();
    for node in nodes {
        let Some(run_id) = node.run_id.clone() else { continue };
        match first.get(&run_id) {
            Some(twin) => node.findings.push(Finding::SameServer(twin.clone())),
            None => drop(first.insert(run_id, node.node.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_configured_as_several_nodes_is_named_by_the_first() {
        let node = |name: &str, run_id: Option<&str>| {
            let run_id = run_id.map(ToOwned::to_owned);
            NodeHealth { run_id, ..NodeHealth::unknown(name.to_owned()) }
        };
        let mut nodes =
            [node("a", Some("x")), node("b", None), node("c", Some("x")), node("d", None), node("e", Some("x"))];
        find(&mut nodes);
        let twin = [Finding::SameServer("a".into())];
        assert_eq!(nodes.map(|node| node.findings), [&[][..], &[], &twin, &[], &twin]);
    }
}
