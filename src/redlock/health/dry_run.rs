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
        scripts::{Audience, Keys},
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
    if listens(node, &keys.channel, notifications).await { Vec::new() } else { vec![Finding::CannotListen] }
}

async fn missing_rights(node: &Node, at: &Keys) -> Vec<Finding> {
    let (mut commands, mut keys) = (Vec::new(), None);
    for (name, cmd) in commands_of_scripts(at) {
        match node.ask(cmd).await {
            Err(failure @ Failure::MissingRight(Right::Keys)) => keys = Some(Finding::Failed(failure)),
            Err(Failure::MissingRight(_)) => commands.push(name),
            _ => {}
        }
    }
    let commands = (!commands.is_empty()).then_some(Finding::MissingRights(commands));
    commands.into_iter().chain(keys).collect()
}

/// Returns each command that the scripts run, with its name. The last one deletes the key.
fn commands_of_scripts(Keys { lock, channel, .. }: &Keys) -> [(&'static str, Cmd); 10] {
    let cmd = |words: &[&str]| {
        let mut cmd = redis::cmd(words[0]);
        cmd.arg(&words[1..]);
        cmd
    };
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

/// Acquires, extends and releases the lock, and deletes the fence, which would stay.
async fn lead(node: &Node, session: &LockSession, times: &Times) -> Result<(), Failure> {
    session.next_token(wall_micros());
    let mut delete = redis::cmd("DEL");
    delete.arg(session.keys(&node.address).fence);
    for cmd in [
        session.acquisition(&node.address, times, false, None, None),
        session.extension(&node.address, times, None),
        session.release(&node.address, Audience::Nobody, ReleaseOptions::default()),
        delete,
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
