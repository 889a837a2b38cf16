//! The examination of all nodes at once.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::{dry_run, facts, finding::Finding, info::ServerInfo, measurement, node_health::NodeHealth, terms, twins};
use crate::{
    lease::Times,
    lock::Slot,
    redlock::{
        config::RedlockConfig,
        net::{
            failure::Failure,
            node::{Node, Vote},
            pubsub::{Notification, NotificationSender, Subscription},
        },
        session::LockSession,
    },
};

/// How long nodes may take to answer, whatever the ttl: only an answer shows how late it is.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Examines all nodes at once. Leaves nothing on them. `slots`: how many may lead at a time.
///
/// # Errors
/// The system provides no random numbers.
pub(crate) async fn check(config: &RedlockConfig, slots: u16, times: Times) -> anyhow::Result<Vec<NodeHealth>> {
    // A lock that nobody competes for, but under a name that a user's rights to the real one cover.
    let lock = format!("{}:check:{:08x}", config.lock, fastrand::u32(..));
    let patient = Times::new(times.ttl().max(ANSWER_WITHIN), None).unwrap_or(times);
    let examine = async |index: usize| {
        let session = LockSession::new(&lock, Slot::ONLY, "leaderrun --check", None, None)?;
        let (sender, notifications) = mpsc::channel(8);
        let channel = session.keys(&config.addresses[index]).channel;
        let subscription = Subscription { channel, second: None, notifications: NotificationSender(sender) };
        let node = Node::at(config, index, subscription, &patient);
        let mut health = examine(&node, &session, notifications, &times).await;
        health.findings.extend(terms::findings(&node, config, slots, &times).await);
        anyhow::Ok(health)
    };
    let nodes = join_all((0..config.addresses.len()).map(examine)).await;
    let mut nodes = nodes.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    twins::find(&mut nodes);
    Ok(nodes)
}

async fn examine(
    node: &Node,
    session: &LockSession,
    notifications: mpsc::Receiver<Notification>,
    times: &Times,
) -> NodeHealth {
    let mut health = NodeHealth::unknown(node.address.to_string());
    let Vote { answer, master_for } = match node.ask_for_vote(redis::cmd("INFO")).await {
        Ok(vote) => vote,
        Err(failure) => {
            health.findings.push(Finding::Failed(failure));
            return health;
        }
    };
    let info = ServerInfo::parse(&redis::from_redis_value::<String>(answer).unwrap_or_default());
    if let Some(left) = times.startup_grace().checked_sub(master_for) {
        health.findings.push(Finding::Failed(Failure::Promoted(left)));
    }
    let is_behind_sentinels = node.address.group().is_some();
    health.findings.extend(facts::findings(&info, times));
    // Behind Sentinels, replicas are what it takes.
    health.findings.retain(|finding| !(is_behind_sentinels && matches!(finding, Finding::HasReplicas(_))));
    if let Some((configured, all)) = node.sentinels().await
        && all > configured as u64
    {
        health.findings.push(Finding::MoreSentinels { configured, all });
    }
    let open = Finding::OpenPassword { is_behind_sentinels };
    health.findings.extend(node.address.exposes_password().then_some(open));
    if !info.is_sentinel && !info.is_in_cluster {
        health.measurement = measurement::measure(node).await;
        health.findings.extend(health.measurement.iter().flat_map(|measured| measured.findings(times)));
        // A replica takes no writes. The finding that it is one says enough.
        if !info.is_replica {
            health.findings.extend(dry_run::findings(node, session, notifications, times).await);
        }
    }
    NodeHealth { server: Some(info.name), up: info.up, run_id: info.run_id, ..health }
}
