//! A node behind Sentinels, which name the server that is its master.
//!
//! A majority of the configured Sentinels must name the same server and, for a vote, name it once more after it has
//! answered. Any two majorities share a Sentinel, and a Sentinel only returns to a replaced master by another failover.
//! So a replaced server can neither extend nor grant a lease that a new master doesn't know of, even if some still
//! reach it. Where a new master grants nothing until a majority has known it for a ttl, each lease that the last one
//! extended has ended by then.
//!
//! This holds as long as the Sentinels keep their state, and all of them are configured here.

use std::time::Duration;

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use redis::{ConnectionAddr, Value};

use super::{
    address::{Address, Group},
    client::Client,
    connection::{Endpoint, Master},
    failure::{Failure, NoMaster},
    tls::Tls,
};
use crate::lease::{Times, quorum};

/// The Sentinels of a node.
pub(super) struct Sentinels {
    /// The name that they know the master by.
    name: String,
    sentinels: Vec<Sentinel>,
}

struct Sentinel {
    address: Address,
    client: Client,
}

impl Sentinels {
    /// Starts to connect to all of them. Requires a runtime.
    pub(super) fn new(group: &Group, tls: Option<&Tls>, times: &Times) -> Self {
        let sentinel = |address: &Address| {
            let endpoint = Endpoint { address: address.clone(), locate: None, tls: tls.cloned(), subscription: None };
            Sentinel { address: address.clone(), client: Client::new(endpoint, times) }
        };
        Sentinels { name: group.name.clone(), sentinels: group.sentinels.iter().map(sentinel).collect() }
    }

    /// Asks all at once, and waits until a majority names the same server.
    ///
    /// # Errors
    /// Why no majority does.
    pub(super) async fn master(&self) -> Result<Master, Failure> {
        let majority = quorum(self.sentinels.len());
        let mut asked: FuturesUnordered<_> =
            self.sentinels.iter().map(|sentinel| sentinel.master_named(&self.name)).collect();
        let (mut named, mut faults) = (Vec::new(), Vec::new());
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(master) => named.push(master),
                Err(fault) => faults.push(fault),
            }
            if let Some(master) = agreed(&named, majority) {
                return Ok(master);
            }
        }
        if faults.is_empty() {
            return Err(Failure::NoMaster(NoMaster::Disagreement));
        }
        let (able, all) = (named.len(), self.sentinels.len());
        Err(Failure::NoMaster(NoMaster::TooFew { able, all, needed: majority, faults }))
    }

    /// Returns how many are configured.
    pub(super) fn configured(&self) -> usize {
        self.sentinels.len()
    }

    /// Returns how many there are, as far as one of those that are configured knows; `None` if none of them says so.
    pub(super) async fn all(&self) -> Option<u64> {
        let ask = async |sentinel: &Sentinel| others(sentinel.client.ask(question(&self.name)).await.ok()?.value);
        let others = join_all(self.sentinels.iter().map(ask)).await;
        others.into_iter().flatten().max().map(|others| others.saturating_add(1))
    }
}

impl Sentinel {
    /// Asks which server is the master of this name; the address of this Sentinel comes with the error.
    async fn master_named(&self, name: &str) -> Result<Master, (String, Failure)> {
        let answer = self.client.ask(question(name)).await.and_then(|answer| self.read(answer.value));
        answer.map_err(|failure| (self.address.to_string(), failure))
    }

    fn read(&self, value: Value) -> Result<Master, Failure> {
        let (host, port, known_for) = named(value).ok_or(Failure::StrangeSentinel)?;
        let server = if self.address.has_tls() {
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

/// Reads a Sentinel's answer, in which names and values take turns: the host, the port, and how long that server has
/// been the master for this Sentinel.
pub(super) fn named(value: Value) -> Option<(String, u16, Duration)> {
    let fields = fields(value)?;
    let get = |name| field(&fields, name);
    let is_master = get("role-reported")? == "master";
    // Counted from the failover, the Sentinel's own start, or the last time that the server reported another role.
    let known_for = get("role-reported-time")?.parse().ok().filter(|_| is_master).unwrap_or_default();
    Some((get("ip")?.to_owned(), get("port")?.parse().ok()?, Duration::from_millis(known_for)))
}

/// Reads in a Sentinel's answer how many others it knows.
pub(super) fn others(value: Value) -> Option<u64> {
    field(&fields(value)?, "num-other-sentinels")?.parse().ok()
}

/// Reads an answer in which names and values take turns.
fn fields(value: Value) -> Option<Vec<(String, String)>> {
    redis::from_redis_value(value).ok()
}

fn field<'a>(fields: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

/// Returns the server named last if a majority names it, and how long a majority has.
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
