//! Does all that a leader does on a node, with a lock that nobody competes for.

use std::time::Duration;

use redis::Cmd;
use tokio::{sync::mpsc, time::timeout};

use super::finding::{Finding, Severity};
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
        scripts::{Audience, Keys, RunTimes, Settled, Tell},
        session::LockSession,
    },
};

const PUBLISH: &str = "PUBLISH";

/// How long a connection may take to subscribe.
const LISTENS_WITHIN: Duration = Duration::from_secs(15);

/// What a user may not do.
#[derive(Default)]
struct Denied {
    commands: Vec<&'static str>,
    /// The failure says which keys.
    keys: Option<Failure>,
    /// The right that is missing to publish.
    publishing: Option<Right>,
}

/// Returns what a leader or a standby could not do on this node: rights first, as the rest fails without them.
pub(super) async fn findings(
    node: &Node,
    session: &LockSession,
    notifications: mpsc::Receiver<Notification>,
    times: &Times,
) -> Vec<Finding> {
    let keys = session.keys(&node.address);
    let mut findings = missing_rights(node, &keys).await;
    if findings.iter().any(|finding| finding.severity() == Severity::NoVote) {
        return findings;
    }
    if let Err(failure) = lead(node, session, times).await {
        findings.push(Finding::Failed(failure));
        return findings;
    }
    if !listens(node, &keys.channel, notifications).await {
        findings.push(Finding::CannotListen { channels: channels(&keys) });
    }
    let denied = denied(node, commands_of_records(&keys)).await.commands;
    if !denied.is_empty() {
        findings.push(Finding::CannotRecord(denied));
    }
    findings
}

/// Returns a pattern for the channels of the locks with the same prefix.
fn channels(keys: &Keys) -> String {
    // Those of a dry run have three parts more.
    let prefix = keys.lock.rsplitn(4, ':').nth(3).map(|prefix| format!("{prefix}:"));
    format!("{}*", prefix.unwrap_or_default())
}

async fn missing_rights(node: &Node, at: &Keys) -> Vec<Finding> {
    let denied = denied(node, commands_of_scripts(at)).await;
    let commands = (!denied.commands.is_empty()).then_some(Finding::MissingRights(denied.commands));
    // An election goes on without it.
    let notify = denied.publishing.map(|right| {
        let channels = (right == Right::Channel).then(|| channels(at));
        Finding::CannotNotify { channels }
    });
    commands.into_iter().chain(denied.keys.map(Finding::Failed)).chain(notify).collect()
}

/// Returns what the user may not do of these commands.
async fn denied<const N: usize>(node: &Node, commands: [(&'static str, Cmd); N]) -> Denied {
    let mut denied = Denied::default();
    for (name, cmd) in commands {
        match node.ask(cmd).await {
            Err(failure @ Failure::MissingRight(Right::Keys)) => denied.keys = Some(failure),
            Err(Failure::MissingRight(right)) if name == PUBLISH => denied.publishing = Some(right),
            Err(Failure::MissingRight(_)) => denied.commands.push(name),
            _ => {}
        }
    }
    denied
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
        (PUBLISH, cmd(&[PUBLISH, channel, "check"])),
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
        session.acquisition(&node.address, times, Tell::Nobody, None, None),
        session.extension(&node.address, times, None, &Settled::default(), None),
        session.release(
            &node.address,
            Audience::Nobody,
            ReleaseOptions::default(),
            RunTimes::default(),
            &Settled::default(),
        ),
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
