//! What can be said of a node before it is relied on: whether it would vote, and what could go wrong with it.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;
use redis::Cmd;
use serde::Serialize;
use tokio::{sync::mpsc, time::timeout};

use super::{
    config::RedlockConfig,
    dry_run,
    net::{
        failure::{Failure, grant_command},
        node::Node,
        pubsub::{Notification, NotificationSender},
    },
    session::LockSession,
};
use crate::lease::Times;

/// How many round trips are measured.
const ROUND_TRIPS: usize = 5;

/// What nodes get to answer, whatever the ttl: how late one is can only be told of one that is heard.
const PATIENCE: Duration = Duration::from_secs(15);

/// A node that has been looked at.
#[derive(Debug, Serialize)]
pub struct NodeHealth {
    pub node: String,
    /// "Redis 7.0.15"
    pub server: Option<String>,
    pub up_seconds: Option<u64>,
    /// The median.
    pub round_trip_ms: Option<f64>,
    pub longest_round_trip_ms: Option<f64>,
    /// How far its clock is ahead of ours.
    pub clock_ahead_ms: Option<i64>,
    pub findings: Vec<Finding>,
    /// The server process; two nodes with the same one are one server.
    #[serde(skip)]
    run_id: String,
}

/// Something to be mended, or to be known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub found: String,
    pub advice: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is wrong.
    Note,
    /// It votes, and may not when it matters.
    Risk,
    /// It doesn't vote.
    NoVote,
}

impl Finding {
    pub fn new(severity: Severity, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding { severity, found: found.into(), advice: advice.into() }
    }

    fn failure(failure: &Failure) -> Self {
        Finding::new(Severity::NoVote, failure.to_string(), failure.advice())
    }
}

impl NodeHealth {
    pub fn votes(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity < Severity::NoVote)
    }

    pub fn has_risks(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Risk)
    }
}

/// Looks at all nodes at once; nothing of it stays on them.
///
/// # Errors
/// No random numbers to be had.
pub async fn check(config: &RedlockConfig, times: Times) -> anyhow::Result<Vec<NodeHealth>> {
    // A lock that nobody competes for, within what a user may use who may use the real one.
    let lock = format!("{}:check:{:08x}", config.lock, fastrand::u32(..));
    let patient = Times::new(times.ttl().max(PATIENCE), None).unwrap_or(times);
    let examine = async |index| {
        let session = LockSession::new(&lock, "leaderrun --check", None)?;
        let (sender, news) = mpsc::channel(8);
        let node = Node::at(config, index, &lock, NotificationSender(sender), &patient);
        anyhow::Ok(examine(&node, &session, news, &times).await)
    };
    let health = join_all((0..config.addresses.len()).map(examine)).await;
    let mut health = health.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    find_twins(&mut health);
    Ok(health)
}

async fn examine(
    node: &Node,
    session: &LockSession,
    mut news: mpsc::Receiver<Notification>,
    times: &Times,
) -> NodeHealth {
    let mut health = NodeHealth {
        node: node.address.to_string(),
        server: None,
        up_seconds: None,
        round_trip_ms: None,
        longest_round_trip_ms: None,
        clock_ahead_ms: None,
        findings: Vec::new(),
        run_id: String::new(),
    };
    let (text, master_for) = match node.ask_for_vote(redis::cmd("INFO")).await {
        Ok(vote) => (redis::from_redis_value::<String>(vote.answer).unwrap_or_default(), vote.master_for),
        Err(failure) => {
            health.findings.push(Finding::failure(&failure));
            return health;
        }
    };
    let info = parse(&text);
    health.server = Some(name_of(&info));
    health.up_seconds = number(&info, "uptime_in_seconds");
    health.run_id = info.get("run_id").copied().unwrap_or_default().to_owned();
    if let Some(left) = times.startup_grace().checked_sub(master_for) {
        health.findings.push(Finding::failure(&Failure::Promoted(left)));
    }
    health.findings.extend(facts(&info, times));
    if !health.votes() && info.get("redis_mode").is_some_and(|mode| *mode != "standalone") {
        return health;
    }
    measure(node, &mut health, times).await;
    // A replica takes none of what a leader writes; that it is one says enough.
    if info.get("role") != Some(&"slave") {
        health.findings.extend(dry_run(node, session, &mut news, times).await);
    }
    health
}

fn parse(info: &str) -> HashMap<&str, &str> {
    info.lines().filter_map(|line| line.trim_end().split_once(':')).collect()
}

fn number(info: &HashMap<&str, &str>, name: &str) -> Option<u64> {
    info.get(name)?.parse().ok()
}

fn name_of(info: &HashMap<&str, &str>) -> String {
    match (info.get("valkey_version"), info.get("redis_version")) {
        (Some(version), _) => format!("Valkey {version}"),
        (None, Some(version)) => format!("Redis {version}"),
        (None, None) => "unknown".into(),
    }
}

/// What a server says of itself.
fn facts(info: &HashMap<&str, &str>, times: &Times) -> Vec<Finding> {
    use Severity::{NoVote, Note, Risk};
    let is = |name: &str, value: &str| info.get(name) == Some(&value);
    let mut found = Vec::new();
    let mut find = |severity, what: String, advice: &str| found.push(Finding::new(severity, what, advice));
    let major = info.get("redis_version").and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    if let Some(major) = major.filter(|&major| major < 5) {
        find(NoVote, format!("is Redis {major}, which is too old"), "use Redis 5 or newer, or Valkey");
    }
    if is("redis_mode", "sentinel") {
        find(NoVote, "is a Sentinel".into(), "write redis-sentinel://HOST,.../NAME with all Sentinels of that master");
    }
    if is("cluster_enabled", "1") {
        find(NoVote, "belongs to a cluster".into(), &Failure::Cluster.advice());
    }
    if is("role", "slave") {
        find(NoVote, "is a replica".into(), &Failure::Replica.advice());
    }
    let up = Duration::from_secs(number(info, "uptime_in_seconds").unwrap_or(u64::MAX));
    if let Some(left) = times.startup_grace().checked_sub(up).filter(|left| !left.is_zero()) {
        let what = format!("has just started and votes in {} s", left.as_secs() + 1);
        find(NoVote, what, "wait; it may have lost a leader's lock, and grants none before");
    }
    let policy = info.get("maxmemory_policy").copied().unwrap_or("noeviction");
    if let Some(most) = number(info, "maxmemory").filter(|&most| most > 0) {
        if policy != "noeviction" {
            let what = format!("may throw the lock out when its memory is full (maxmemory-policy {policy})");
            find(Risk, what, "set maxmemory-policy noeviction, or give a server of its own");
        }
        let percent = (number(info, "used_memory").unwrap_or_default().saturating_mul(100) / most).min(100);
        if percent >= 90 {
            find(Risk, format!("has {percent} % of its memory in use"), "give it more (maxmemory)");
        }
    }
    if is("rdb_last_bgsave_status", "err") || is("aof_last_write_status", "err") {
        let advice = "see its disk; with stop-writes-on-bgsave-error it takes no lock";
        find(Risk, "could not save its data".into(), advice);
    }
    if is("aof_enabled", "0") {
        let advice = "no harm, as it then has no vote for a ttl; appendonly yes keeps the fencing tokens, too";
        find(Note, "has no append-only file, so that a restart may lose its data".into(), advice);
    }
    if let Some(replicas) = number(info, "connected_slaves").filter(|&replicas| replicas > 0) {
        let what = format!("has {replicas} replica{}", if replicas == 1 { "" } else { "s" });
        find(Note, what, "no harm unless one is ever promoted; where that may be, write redis-sentinel://");
    }
    found
}

/// Round trips and the clock, by TIME.
async fn measure(node: &Node, health: &mut NodeHealth, times: &Times) {
    let mut trips: Vec<(Duration, i64)> = Vec::new();
    for _ in 0..ROUND_TRIPS {
        let (sent, began) = (SystemTime::now(), std::time::Instant::now());
        let Ok(value) = node.ask(redis::cmd("TIME")).await else { break };
        let took = began.elapsed();
        let Ok((seconds, micros)) = redis::from_redis_value::<(u64, u64)>(value) else { break };
        let theirs = Duration::from_secs(seconds) + Duration::from_micros(micros);
        let ours = sent.duration_since(UNIX_EPOCH).unwrap_or_default() + took / 2;
        trips.push((took, theirs.as_millis() as i64 - ours.as_millis() as i64));
    }
    trips.sort_unstable();
    let (Some(&(shortest, ahead)), Some(&(longest, _))) = (trips.first(), trips.last()) else { return };
    let millis = |took: Duration| (took.as_secs_f64() * 1e5).round() / 1e2;
    health.round_trip_ms = Some(millis(trips[trips.len() / 2].0));
    health.longest_round_trip_ms = Some(millis(longest));
    health.clock_ahead_ms = Some(ahead);
    let show = |d: Duration| humantime::format_duration(Duration::from_millis(d.as_millis() as u64)).to_string();
    if longest > times.answer_timeout() / 2 {
        let severity = if longest > times.answer_timeout() { Severity::NoVote } else { Severity::Risk };
        let what = format!(
            "took up to {} to answer; with --ttl {} it must within {}",
            show(longest),
            show(times.ttl()),
            show(times.answer_timeout())
        );
        let needed = Duration::from_secs(((longest * 40).as_secs_f64()).ceil() as u64);
        health.findings.push(Finding::new(severity, what, format!("give --ttl {} or more", show(needed))));
    }
    // So exact as a round trip lets us know.
    let apart = Duration::from_millis(ahead.unsigned_abs()).saturating_sub(shortest);
    if apart > times.ttl() {
        let way = if ahead > 0 { "ahead of" } else { "behind" };
        let seconds = (ahead.unsigned_abs() + 500) / 1000;
        let what = format!("has a clock that is {} {way} this machine's", show(Duration::from_secs(seconds)));
        let advice = "let both be set by NTP: tokens after a loss of data, and times in messages, come of them";
        health.findings.push(Finding::new(Severity::Risk, what, advice));
    }
}

/// Rights, then all that a leader does.
async fn dry_run(
    node: &Node,
    session: &LockSession,
    news: &mut mpsc::Receiver<Notification>,
    times: &Times,
) -> Option<Finding> {
    let mut missing = Vec::new();
    for (right, cmd) in dry_run::commands(session.channel()) {
        if let Err(Failure::MissingRight(_)) = node.ask(cmd).await {
            missing.push(right);
        }
    }
    if !missing.is_empty() {
        let what = format!("doesn't let this user run {} (NOPERM)", missing.join(", "));
        return Some(Finding::new(Severity::NoVote, what, grant_command(&missing)));
    }
    for cmd in dry_run::leadership(session, times) {
        if let Err(failure) = node.ask(cmd).await {
            return Some(Finding::failure(&failure));
        }
    }
    node.listen();
    let _ = timeout(PATIENCE, news.recv()).await;
    let listens = match node.ask(count(session.channel())).await {
        Ok(value) => redis::from_redis_value::<(String, u32)>(value).is_ok_and(|(_, listeners)| listeners > 0),
        Err(_) => false,
    };
    (!listens).then(|| {
        let what = "doesn't let this user listen: a standby takes over when a lease runs out, not when it is released";
        Finding::new(Severity::Risk, what, grant_command(&["SUBSCRIBE", "PUBSUB|NUMSUB"]) + " and &leaderrun:*")
    })
}

fn count(channel: &str) -> Cmd {
    let mut cmd = redis::cmd("PUBSUB");
    cmd.arg("NUMSUB").arg(channel);
    cmd
}

/// Nodes that are one server.
fn find_twins(health: &mut [NodeHealth]) {
    for later in 1..health.len() {
        let (before, after) = health.split_at_mut(later);
        let this = &mut after[0];
        if let Some(twin) = before.iter().find(|other| !this.run_id.is_empty() && other.run_id == this.run_id) {
            let what = format!("is the same server as {}", twin.node);
            this.findings.push(Finding::new(Severity::NoVote, what, "give each node a server of its own"));
        }
    }
}
