//! Does all that a leader does on a node, with a lock that nobody competes for.

use std::time::Duration;

use redis::Cmd;
use tokio::{sync::mpsc, time::timeout};

use super::finding::Finding;
use crate::{
    clock::wall_micros,
    lease::Times,
    lock::ReleaseOptions,
    redlock::{
        net::{
            failure::{Failure, Right},
            node::Node,
            pubsub::Notification,
        },
        scripts::{Audience, Keys, RunTimes},
        session::LockSession,
    },
};

/// How long a connection may take to subscribe.
const LISTENS_WITHIN: Duration = Duration::from_secs(15);

/// Returns what a leader or a standby could not do on this node: rights first, as the rest fails without them.
pub(super) async fn findings(
    node: &Node,
    session: &LockSession,
    notifications: mpsc::Receiver<Notification>,
    times: &Times,
) -> Vec<Finding> {
    let keys = session.keys(&node.address);
    let missing = missing_rights(node, &keys).await;
    if !missing.is_empty() {
        return missing;
    }
    if let Err(failure) = lead(node, session, times).await {
        return vec![Finding::Failed(failure)];
    }
    let listens = listens(node, &keys.channel, notifications).await;
    let denied = denied(node, commands_of_records(&keys)).await.0;
    let cannot_record = (!denied.is_empty()).then_some(Finding::CannotRecord(denied));
    (!listens).then_some(Finding::CannotListen).into_iter().chain(cannot_record).collect()
}

async fn missing_rights(node: &Node, at: &Keys) -> Vec<Finding> {
    let (commands, keys) = denied(node, commands_of_scripts(at)).await;
    let commands = (!commands.is_empty()).then_some(Finding::MissingRights(commands));
    commands.into_iter().chain(keys.map(Finding::Failed)).collect()
}

/// Returns which of these commands the user may not run, and that it may not use the keys.
async fn denied<const N: usize>(
    node: &Node,
    commands: [(&'static str, Cmd); N],
) -> (Vec<&'static str>, Option<Failure>) {
    let (mut denied, mut keys) = (Vec::new(), None);
    for (name, cmd) in commands {
        match node.ask(cmd).await {
            Err(failure @ Failure::MissingRight(Right::Keys)) => keys = Some(failure),
            Err(Failure::MissingRight(_)) => denied.push(name),
            _ => {}
        }
    }
    (denied, keys)
}

/// Returns each command that the scripts run, with its name. The last one deletes the key.
fn commands_of_scripts(Keys { lock, channel, .. }: &Keys) -> [(&'static str, Cmd); 10] {
    [
        ("EVAL", cmd(&["EVAL", "return 0", "0"])),
        ("INFO", cmd(&["INFO", "server"])),
        ("TIME", cmd(&["TIME"])),
        ("SET", cmd(&["SET", lock, "check", "PX", "1000"])),
        ("GET", cmd(&["GET", lock])),
        ("PTTL", cmd(&["PTTL", lock])),
        ("PEXPIRE", cmd(&["PEXPIRE", lock, "1000"])),
        ("EXPIRE", cmd(&["EXPIRE", lock, "1"])),
        ("PUBLISH", cmd(&["PUBLISH", channel, "check"])),
        ("DEL", cmd(&["DEL", lock])),
    ]
}

/// Returns each command by which runs are recorded and listed, with its name. The last one deletes what the first one has
/// left.
fn commands_of_records(Keys { runs, .. }: &Keys) -> [(&'static str, Cmd); 6] {
    [
        ("ZADD", cmd(&["ZADD", runs, "1", "check"])),
        ("ZREVRANGE", cmd(&["ZREVRANGE", runs, "0", "0"])),
        ("SCAN", cmd(&["SCAN", "0", "MATCH", runs, "COUNT", "1"])),
        ("ZREMRANGEBYRANK", cmd(&["ZREMRANGEBYRANK", runs, "0", "-101"])),
        ("ZREMRANGEBYSCORE", cmd(&["ZREMRANGEBYSCORE", runs, "1", "1"])),
        ("DEL", cmd(&["DEL", runs])),
    ]
}

fn cmd(words: &[&str]) -> Cmd {
    let mut cmd = redis::cmd(words[0]);
    cmd.arg(&words[1..]);
    cmd
}

/// Acquires, extends and releases the lock, and deletes what would stay.
async fn lead(node: &Node, session: &LockSession, times: &Times) -> Result<(), Failure> {
    session.next_token(wall_micros());
    let Keys { fence, runs, .. } = session.keys(&node.address);
    for cmd in [
        session.acquisition(&node.address, times, false, None, None),
        session.extension(&node.address, times, None, None),
        session.release(&node.address, Audience::Nobody, ReleaseOptions::default(), RunTimes::default()),
        cmd(&["DEL", &fence]),
        cmd(&["DEL", &runs]),
    ] {
        node.ask(cmd).await?;
    }
    Ok(())
}

/// Returns whether the server counts us among the listeners, after giving the connection time to subscribe.
async fn listens(node: &Node, channel: &str, mut notifications: mpsc::Receiver<Notification>) -> bool {
    node.listen();
    let _ = timeout(LISTENS_WITHIN, notifications.recv()).await;
    let mut count = redis::cmd("PUBSUB");
    count.arg("NUMSUB").arg(channel);
    let Ok(value) = node.ask(count).await else { return false };
    redis::from_redis_value::<(String, u32)>(value).is_ok_and(|(_, listeners)| listeners > 0)
}
