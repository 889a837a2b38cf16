//! A Redis server in memory: as much of it as the scripts and the connections use. conformance.rs holds it to a real one.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use super::{lua, machine::Machine, reply::Reply, stream::Sender};

/// What a server keeps across restarts.
pub type Data = BTreeMap<Vec<u8>, Entry>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Empty for a sorted set.
    pub value: Vec<u8>,
    /// The members of a sorted set, with their scores.
    pub members: BTreeSet<(u64, Vec<u8>)>,
    /// When it expires by the wall clock, in milliseconds since 1970.
    pub expires: Option<u64>,
}

/// A connection that has subscribed.
pub struct Subscriber {
    connection: u64,
    channel: Vec<u8>,
    sender: Option<Rc<Sender>>,
    resp3: bool,
}

/// How many messages are remembered.
const MOST_PUBLISHED: usize = 16;

pub struct Server {
    machine: Rc<Machine>,
    pub data: Data,
    pub run_id: String,
    /// When it started, by its wall clock.
    started: Duration,
    subscribers: Vec<Subscriber>,
    /// The last messages, for others to repeat.
    pub published: VecDeque<Vec<u8>>,
    /// Whether it knows HELLO.
    knows_hello: bool,
}

/// A connection, as commands see it.
pub struct Client {
    pub number: u64,
    pub sender: Option<Rc<Sender>>,
    pub resp3: bool,
}

impl Server {
    pub fn start(machine: &Rc<Machine>, data: Data, knows_hello: bool) -> Self {
        let run_id = format!("{:040x}", fastrand::u128(..));
        let started = machine.wall();
        Server {
            machine: machine.clone(),
            data,
            run_id,
            started,
            subscribers: Vec::new(),
            published: VecDeque::new(),
            knows_hello,
        }
    }

    /// Lets it have been up for longer.
    pub fn started_before(&mut self, long: Duration) {
        self.started -= long;
    }

    /// Runs a script, with its keys and arguments.
    pub fn eval(self_: &Rc<RefCell<Self>>, args: &[Vec<u8>]) -> Reply {
        let [script, count, rest @ ..] = args else { return Reply::error("ERR wrong number of arguments") };
        let Some(count) = number::<usize>(count).filter(|count| *count <= rest.len()) else {
            return Reply::error("ERR Number of keys can't be greater than number of args");
        };
        lua::eval(self_, script, &rest[..count], &rest[count..])
    }

    /// Executes any other command.
    pub fn execute(&mut self, client: &mut Client, command: &[Vec<u8>]) -> Reply {
        let (name, args) = command.split_first().map_or((Vec::new(), &[][..]), |(n, a)| (n.to_ascii_uppercase(), a));
        match (name.as_slice(), args) {
            (b"HELLO", _) if self.knows_hello => {
                client.resp3 = true;
                Reply::Map(vec![(Reply::bulk("proto"), Reply::Int(3))])
            }
            (b"HELLO", _) => Reply::error("ERR unknown command `HELLO`, with args beginning with: `3`, "),
            (b"PING", []) => Reply::Status("PONG".into()),
            (b"SUBSCRIBE", [channel]) => self.subscribe(client, channel),
            (b"UNSUBSCRIBE", channels) => {
                self.subscribers.retain(|subscriber| {
                    subscriber.connection != client.number || !channels.contains(&subscriber.channel)
                });
                let left = |channel: &Vec<u8>| {
                    Reply::Push(vec![Reply::bulk("unsubscribe"), Reply::Bulk(channel.clone()), Reply::Int(0)])
                };
                Reply::Each(channels.iter().map(left).collect())
            }
            (b"GET", [key]) => self.get(key).map_or(Reply::Nil, |entry| Reply::Bulk(entry.value.clone())),
            (b"SET", [key, value, rest @ ..]) => self.set(key, value, rest),
            (b"DEL", [key]) => {
                let existed = self.get(key).is_some();
                self.data.remove(key);
                Reply::Int(existed.into())
            }
            (b"PTTL", [key]) => Reply::Int(self.left(key)),
            (b"EXPIRE", [key, time]) => self.expire(key, number(time).map(|seconds: u64| seconds * 1000)),
            (b"PEXPIRE", [key, time]) => self.expire(key, number(time)),
            (b"ZADD", [key, score, member]) => self.add(key, number(score), member),
            (b"ZREMRANGEBYSCORE", [key, least, most]) => match (number(least), number::<u64>(most)) {
                (Some(least), Some(most)) => self.retain(key, |_, score| !(least..=most).contains(&score)),
                _ => Reply::error("ERR min or max is not a float"),
            },
            // All but the last so many: as our scripts call it.
            (b"ZREMRANGEBYRANK", [key, first, last]) if first == b"0" => match number::<i64>(last) {
                Some(last @ ..-1) => {
                    let kept = (-last - 1) as usize;
                    let count = self.get(key).map_or(0, |entry| entry.members.len());
                    self.retain(key, |rank, _| rank + kept >= count)
                }
                _ => Reply::error("ERR value is not an integer or out of range"),
            },
            (b"ZREVRANGE", [key, first, last]) if first == b"0" && last == b"-1" => {
                let members = self.get(key).map(|entry| &entry.members).into_iter().flatten().rev();
                Reply::Array(members.map(|(_, member)| Reply::Bulk(member.clone())).collect())
            }
            (b"FLUSHALL", []) => {
                self.data.clear();
                Reply::Status("OK".into())
            }
            (b"INFO", _) => Reply::bulk(&self.info()),
            (b"TIME", []) => {
                let now = self.machine.wall();
                Reply::Array(vec![
                    Reply::bulk(&now.as_secs().to_string()),
                    Reply::bulk(&now.subsec_micros().to_string()),
                ])
            }
            (b"PUBLISH", [channel, message]) => self.publish(channel, message),
            (b"PUBSUB", [what, channels @ ..]) if what.eq_ignore_ascii_case(b"NUMSUB") => {
                let listeners = |channel: &Vec<u8>| {
                    let listeners = self.subscribers.iter().filter(|subscriber| subscriber.channel == *channel).count();
                    [Reply::Bulk(channel.clone()), Reply::Int(listeners as i64)]
                };
                Reply::Array(channels.iter().flat_map(listeners).collect())
            }
            _ => Reply::error(&format!("ERR unknown command '{}'", String::from_utf8_lossy(&name))),
        }
    }

    pub fn forget(&mut self, connection: u64) {
        self.subscribers.retain(|subscriber| subscriber.connection != connection);
    }

    /// Returns what a key holds, unless that has expired.
    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        let now = self.now();
        self.data.get(key).filter(|entry| entry.expires.is_none_or(|at| now < at))
    }

    fn now(&self) -> u64 {
        self.machine.wall().as_millis() as u64
    }

    fn left(&self, key: &[u8]) -> i64 {
        match self.get(key) {
            None => -2,
            Some(Entry { expires: None, .. }) => -1,
            Some(Entry { expires: Some(at), .. }) => (at - self.now()) as i64,
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8], options: &[Vec<u8>]) -> Reply {
        let expires = match options {
            [] => None,
            [unit, time] => {
                let unit = if unit.eq_ignore_ascii_case(b"PX") { 1 } else { 1000 };
                match number::<u64>(time).filter(|time| *time > 0) {
                    Some(time) => Some(self.now() + time * unit),
                    None => return Reply::error("ERR invalid expire time in 'set' command"),
                }
            }
            _ => return Reply::error("ERR syntax error"),
        };
        self.data.insert(key.to_vec(), Entry { value: value.to_vec(), members: BTreeSet::new(), expires });
        Reply::Status("OK".into())
    }

    fn add(&mut self, key: &[u8], score: Option<u64>, member: &[u8]) -> Reply {
        let Some(score) = score else { return Reply::error("ERR value is not a valid float") };
        if self.get(key).is_none() {
            self.data.insert(key.to_vec(), Entry { value: Vec::new(), members: BTreeSet::new(), expires: None });
        }
        let Some(entry) = self.data.get_mut(key) else { return Reply::Int(0) };
        let before = entry.members.len();
        entry.members.retain(|(_, other)| other != member);
        let is_new = entry.members.len() == before;
        entry.members.insert((score, member.to_vec()));
        Reply::Int(is_new.into())
    }

    /// Keeps the members of a sorted set for which this holds, by their rank and score. Returns how many are gone.
    fn retain(&mut self, key: &[u8], holds: impl Fn(usize, u64) -> bool) -> Reply {
        let Some(entry) = self.get(key) else { return Reply::Int(0) };
        let members: BTreeSet<_> = entry
            .members
            .iter()
            .enumerate()
            .filter(|(rank, (score, _))| holds(*rank, *score))
            .map(|(_, m)| m.clone())
            .collect();
        let gone = entry.members.len() - members.len();
        if members.is_empty() {
            self.data.remove(key);
        } else if let Some(entry) = self.data.get_mut(key) {
            entry.members = members;
        }
        Reply::Int(gone as i64)
    }

    fn expire(&mut self, key: &[u8], time: Option<u64>) -> Reply {
        let Some(time) = time else { return Reply::error("ERR value is not an integer or out of range") };
        let (now, exists) = (self.now(), self.get(key).is_some());
        if let Some(entry) = self.data.get_mut(key).filter(|_| exists) {
            entry.expires = Some(now + time);
        }
        Reply::Int(exists.into())
    }

    fn info(&self) -> String {
        let up = self.machine.wall().as_secs() as i64 - self.started.as_secs() as i64;
        format!("# Server\r\nredis_version:7.0.15\r\nrun_id:{}\r\nuptime_in_seconds:{up}\r\n", self.run_id)
    }

    fn subscribe(&mut self, client: &Client, channel: &[u8]) -> Reply {
        let Client { number: connection, sender, resp3 } = client;
        let (sender, channel) = (sender.clone(), channel.to_vec());
        self.subscribers.push(Subscriber { connection: *connection, channel: channel.clone(), sender, resp3: *resp3 });
        Reply::Push(vec![Reply::bulk("subscribe"), Reply::Bulk(channel), Reply::Int(1)])
    }

    fn publish(&mut self, channel: &[u8], message: &[u8]) -> Reply {
        let listeners = self.subscribers.iter().filter(|subscriber| subscriber.channel == channel);
        let push =
            Reply::Push(vec![Reply::bulk("message"), Reply::Bulk(channel.to_vec()), Reply::Bulk(message.to_vec())]);
        let mut told = 0;
        for listener in listeners {
            if let Some(sender) = &listener.sender {
                // A listener that is gone is found out when it is read from.
                let _ = sender.send(&push.encoded(listener.resp3));
            }
            told += 1;
        }
        self.published.truncate(MOST_PUBLISHED);
        self.published.push_front(message.to_vec());
        Reply::Int(told)
    }
}

fn number<N: std::str::FromStr>(text: &[u8]) -> Option<N> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
