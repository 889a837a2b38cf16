//! What others do on a campaign's nodes and its host: they delete data, publish what they like, and use up the processors.

use std::process::{Child, Command, Stdio};

use super::{instances::Resource, nodes::Nodes};

/// Deletes `what` from a node: "all", "locks" and fences, or "nothing". Returns false if any lock is not on all nodes, since it
/// may then have a bare quorum, in the moment of an election.
pub(crate) fn delete(index: usize, what: &str, nodes: &Nodes, resources: &[Resource]) -> bool {
    let cluster = nodes.clusters.iter().position(|cluster| cluster.members.contains(&index)).expect("its cluster");
    let (mut keys, mut expected) = (Vec::new(), Vec::new());
    for resource in resources.iter().filter(|resource| resource.cluster == cluster) {
        let values: Vec<_> = nodes.around(index).iter().map(|node| node.server.lock(&resource.name)).collect();
        if values.iter().any(|value| *value != values[0]) {
            return false;
        }
        keys.push(format!("leaderrun:{}", resource.name));
        expected.push(values[0].clone().unwrap_or_default());
    }
    let script = "for i, key in ipairs(KEYS) do
        if (redis.call('GET', key) or '') ~= ARGV[i] then return 0 end
    end
    if ARGV[#ARGV] == 'all' then redis.call('FLUSHALL') return 1 end
    if ARGV[#ARGV] == 'nothing' then return 1 end
    for _, key in ipairs(KEYS) do redis.call('DEL', key, key .. ':fence') end
    return 1";
    expected.push(what.into());
    let number = keys.len().to_string();
    let args: Vec<&str> =
        ["EVAL", script, &number].into_iter().chain(keys.iter().chain(&expected).map(String::as_str)).collect();
    nodes.all[index].server.query::<u8>(&args) == 1
}

/// Publishes on the channel of a lock what anybody may who may publish there: its value, the hash in that, or nonsense.
/// Returns false if the node that was drawn fails.
pub(crate) fn forge(resource: &Resource, nodes: &Nodes, random: &mut fastrand::Rng) -> bool {
    let node = &nodes.all[random.usize(nodes.clusters[resource.cluster].members.clone())];
    if node.failing {
        return false;
    }
    let value = node.server.lock(&resource.name).unwrap_or_default();
    let hash = value.split_once("\"release\":\"").and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default();
    let subject = [value.as_str(), hash, "x", "", "31536000000"][random.usize(0..5)];
    let word = ["released", "wake", "done", "held", "acquired", "connected"][random.usize(0..6)];
    let listeners = [0, 1, 1_000_000, u64::MAX][random.usize(0..4)];
    let message =
        if word == "acquired" { format!("{word} {subject}") } else { format!("{word} {listeners} {subject}") };
    node.server.query::<()>(&["PUBLISH", &format!("leaderrun:{}", resource.name), &message]);
    true
}

/// Starts what uses up the processors.
pub(crate) fn starve() -> Vec<Child> {
    let busy = |_| {
        let mut shell = Command::new("setpriv");
        shell.args(["--pdeathsig", "KILL", "sh", "-c", "while :; do :; done"]).stdin(Stdio::null());
        shell.spawn().expect("setpriv")
    };
    (0..6).map(busy).collect()
}
