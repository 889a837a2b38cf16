//! A node behind Sentinels: they name the server that is its master.
//!
//! A majority of those configured must name the same one, and for a vote, once more when it has answered. Of two majorities
//! one Sentinel is in both, and a Sentinel doesn't go back to a master that was replaced but by another failover. So a server that
//! was replaced can't extend a lease that a new master doesn't know, nor grant one, though it is still there for some: and
//! where a new one grants nothing before a majority has had it for a ttl, each lease that the last one extended is over.
//! This holds for as long as the Sentinels keep what they know, and are all configured here.

use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};
use redis::{ConnectionAddr, Value};
use tokio::sync::mpsc;

use super::{
    address::Group,
    failure::{Failure, NoMaster},
    node::{Node, NodeContext},
    pubsub::NotificationSender,
};
use crate::{
    lease::{Times, quorum},
    redlock::config::RedlockConfig,
};

/// The Sentinels of a node.
pub struct Sentinels {
    name: String,
    asked: Vec<Node>,
}

/// The server that a majority of the Sentinels has for the master.
#[derive(Clone, Debug)]
pub struct Master {
    pub server: ConnectionAddr,
    /// For how long each of a majority has had it.
    pub known_for: Duration,
}

impl Sentinels {
    /// Begins to connect to all of them; from within a runtime.
    pub fn new(group: &Group, config: &RedlockConfig, times: &Times) -> Self {
        let node = |(index, address)| {
            // A Sentinel's news are not listened to.
            let notifications = NotificationSender(mpsc::channel(1).0);
            let context = NodeContext { tls: config.tls.clone(), sentinels: None, notifications };
            Node::new(index, address, "", context, times)
        };
        Sentinels { name: group.name.clone(), asked: group.sentinels.iter().enumerate().map(node).collect() }
    }

    /// Asks all at once, and waits until a majority names one server.
    ///
    /// # Errors
    /// No majority does.
    pub async fn master(&self) -> Result<Master, Failure> {
        let majority = quorum(self.asked.len());
        let ask = |sentinel: &Node| {
            let (index, asked) = (sentinel.index, sentinel.ask(question(&self.name)));
            async move { (index, asked.await) }
        };
        let mut asked: FuturesUnordered<_> = self.asked.iter().map(ask).collect();
        let (mut named, mut faults) = (Vec::new(), Vec::new());
        while let Some((index, answer)) = asked.next().await {
            match answer.and_then(|value| self.read(value, index)) {
                Ok(master) => named.push(master),
                Err(failure) => faults.push((self.asked[index].address.to_string(), failure)),
            }
            if let Some(master) = agreed(&named, majority) {
                return Ok(master);
            }
        }
        if faults.is_empty() {
            return Err(Failure::NoMaster(NoMaster::Disagreement));
        }
        let (able, all) = (named.len(), self.asked.len());
        Err(Failure::NoMaster(NoMaster::TooFew { able, all, needed: majority, faults }))
    }

    fn read(&self, value: Value, index: usize) -> Result<Master, Failure> {
        let (host, port, known_for) = named(value).ok_or(Failure::StrangeSentinel)?;
        let server = if self.asked[index].address.has_tls() {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        Ok(Master { server, known_for })
    }
}

fn question(name: &str) -> redis::Cmd {
    let mut cmd = redis::cmd("SENTINEL");
    cmd.arg("MASTER").arg(name);
    cmd
}

/// Host, port and the time since a Sentinel has had that server for the master, of its answer: names and values in turn.
fn named(value: Value) -> Option<(String, u16, Duration)> {
    let pairs: Vec<(String, String)> = redis::from_redis_value(value).ok()?;
    let get = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let is_master = get("role-reported")? == "master";
    // Counted from the failover or the Sentinel's own start, or from when the server has told of another role.
    let known_for = get("role-reported-time")?.parse().ok().filter(|_| is_master).unwrap_or_default();
    Some((get("ip")?.to_owned(), get("port")?.parse().ok()?, Duration::from_millis(known_for)))
}

/// The server that so many name, and the time for which so many have.
fn agreed(named: &[Master], majority: usize) -> Option<Master> {
    let last = named.last()?;
    let mut known: Vec<Duration> =
        named.iter().filter(|other| other.server == last.server).map(|other| other.known_for).collect();
    known.sort_unstable_by(|a, b| b.cmp(a));
    Some(Master { server: last.server.clone(), known_for: *known.get(majority - 1)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(host: &str, seconds: u64) -> Master {
        Master { server: ConnectionAddr::Tcp(host.into(), 6379), known_for: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_majority_must_name_the_same_server() {
        assert!(agreed(&[master("a", 9)], 2).is_none());
        assert!(agreed(&[master("a", 9), master("b", 9)], 2).is_none());
        let agreed = agreed(&[master("a", 9), master("b", 9), master("a", 9)], 2).expect("a master");
        assert_eq!(agreed.server, master("a", 9).server);
    }

    #[test]
    fn a_master_is_as_old_as_a_majority_has_known_it() {
        let known = |named: &[Master]| agreed(named, 2).expect("a master").known_for.as_secs();
        assert_eq!(known(&[master("a", 9), master("a", 1)]), 1);
        assert_eq!(known(&[master("a", 9), master("a", 1), master("a", 5)]), 5);
    }
}
