//! The rules of the lease: tokens, votes, deadlines. Pure: no I/O and no clock of its own, so that tests can give it
//! any times and any answers.
//!
//! The protocol is Redlock (<https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/>) with three
//! additions. Each round carries a fencing token, and a node grants only larger ones than before, as with Paxos
//! ballots. A node that has just started grants nothing for a ttl. An extension restores a key that its node has lost.
//!
//! Assumption: the clocks of nodes and instances run at rates within [`DRIFT`] of each other.

mod quorums;
mod turnout;

use std::{
    fmt,
    num::ParseIntError,
    ops::Div,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

pub(crate) use self::{
    quorums::{ListSizes, Nodes, Quorums, Tally, VoteResult, quorum, shown_nodes},
    turnout::Turnout,
};
use crate::clock::Moment;

/// How far the rates of two clocks may differ: 1 %, as a divisor.
pub(crate) const DRIFT: u32 = 100;

/// The resolution of a node's expiry and of scheduling: the constant that Redlock adds to the drift.
const RESOLUTION: Duration = Duration::from_millis(2);

/// The resolution of a Redis server's uptime: the difference of two clock readings, each in whole seconds.
const UPTIME_RESOLUTION: Duration = Duration::from_secs(1);

/// The shortest ttl.
pub(crate) const SHORTEST_TTL: Duration = Duration::from_millis(500);

/// The longest ttl. A longer one has no use, and would overflow sums of times.
pub(crate) const LONGEST_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How far ahead of the wall clock a token is plausible, in microseconds: a day, more than wall clocks differ.
pub(crate) const FARTHEST_AHEAD: u64 = 24 * 60 * 60 * 1_000_000;

/// The limits of a handover turn: a timer's tick, and a round trip around the earth.
const SHORTEST_TURN: Duration = Duration::from_millis(1);
const LONGEST_TURN: Duration = Duration::from_millis(300);

/// The average number of standbys that campaign in one turn: enough that few turns are empty, few enough that one
/// standby wins.
const CANDIDATES_PER_TURN: f64 = 1.5;

/// The time that it takes to notify one more standby if all are on one host.
const NOTIFY_ONE: Duration = Duration::from_micros(60);

/// How long a lease lasts and how long a command may take to stop. All other times follow from these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    ttl: Duration,
    kill_after: Duration,
}

/// Why times don't fit each other, and what would fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimingError {
    TtlTooShort,
    TtlTooLong,
    /// With this ttl, kill-after can be at most this long.
    KillAfterTooLong(Duration),
}

impl Times {
    /// Makes times from a ttl. `kill_after` defaults to 5 s or ttl/3, whichever is less.
    ///
    /// # Errors
    /// A ttl out of range, or a `kill_after` that leaves no time to retry an extension before the signal.
    pub(crate) fn new(ttl: Duration, kill_after: Option<Duration>) -> Result<Self, TimingError> {
        if ttl < SHORTEST_TTL {
            return Err(TimingError::TtlTooShort);
        }
        if ttl > LONGEST_TTL {
            return Err(TimingError::TtlTooLong);
        }
        let kill_after = kill_after.unwrap_or(Duration::from_secs(5).min(ttl.div(3)));
        let times = Times { ttl, kill_after };
        let longest = times.longest_kill_after();
        if kill_after > longest {
            return Err(TimingError::KillAfterTooLong(longest));
        }
        Ok(times)
    }

    /// Returns how long a lease lasts.
    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Returns the time between the signal that asks the command to stop and SIGKILL.
    pub(crate) fn kill_after(&self) -> Duration {
        self.kill_after
    }

    /// Returns the allowance for clocks that run at different rates: 1 % of the ttl plus 2 ms.
    pub(crate) fn drift(&self) -> Duration {
        if broken!("drift") { Duration::ZERO } else { self.ttl / DRIFT + RESOLUTION }
    }

    /// Returns the time that killing may take on a busy host: ttl/50, at least 50 ms.
    pub(crate) fn margin(&self) -> Duration {
        self.ttl.div(50).max(Duration::from_millis(50))
    }

    /// Returns the time between two extensions: ttl/3.
    pub(crate) fn extend_every(&self) -> Duration {
        self.ttl / 3
    }

    /// Returns the pause before a failed extension is retried, without jitter: ttl/30.
    pub(crate) fn retry_after(&self) -> Duration {
        self.ttl / 30
    }

    /// Returns how long a node may take to answer: ttl/20, 50 ms to 1 s.
    pub(crate) fn answer_timeout(&self) -> Duration {
        self.ttl.div(20).clamp(Duration::from_millis(50), Duration::from_secs(1))
    }

    /// Returns how long a new connection may take, TLS and sign-in included: ttl/5.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.ttl / 5
    }

    /// Returns how long a node must have been up before it grants: the ttl, the drift and the resolution of its uptime.
    pub(crate) fn startup_grace(&self) -> Duration {
        self.ttl + self.drift() + UPTIME_RESOLUTION
    }

    /// Returns when the lease of a round sent at `sent` ends, by this host's clock.
    pub(crate) fn lease_end(&self, sent: Moment) -> Moment {
        sent + (self.ttl - self.drift())
    }

    /// Returns the command's deadlines under the lease of a round sent at `sent`.
    pub(crate) fn deadlines(&self, sent: Moment) -> Deadlines {
        let kill_at = self.lease_end(sent) - self.margin();
        Deadlines { stop_at: kill_at - self.kill_after, kill_at }
    }

    fn longest_kill_after(&self) -> Duration {
        let deadline = self.ttl - self.drift() - self.margin();
        deadline - self.extend_every() - self.answer_timeout() - self.retry_after()
    }
}

/// When the command is signalled, and when its whole tree is killed, unless the lease is extended first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deadlines {
    pub stop_at: Moment,
    pub kill_at: Moment,
}

/// A fencing token: each leader's is larger than those of all earlier leaders. A node's fence is the largest that it
/// has granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct FencingToken(u64);

impl FencingToken {
    /// Smaller than every granted token: the fence of a node that has granted none.
    pub(crate) const ZERO: FencingToken = FencingToken(0);

    /// The largest token. The scripts compute with doubles, which are not exact above it.
    pub(crate) const MAX: FencingToken = FencingToken((1 << 53) - 2);

    /// Creates a token from a number that a node or a file holds.
    pub(crate) const fn new(number: u64) -> Self {
        FencingToken(number)
    }

    /// Returns the number.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    /// Returns the token to ask for: the wall clock in microseconds since 1970, or more if a larger token has been
    /// seen.
    pub(crate) fn next(wall_micros: u64, largest_seen: FencingToken) -> Self {
        largest_seen.following().max(FencingToken(wall_micros)).min(FencingToken::MAX)
    }

    /// Returns the next larger token.
    pub(crate) fn following(self) -> Self {
        FencingToken(self.0.saturating_add(1))
    }

    /// Returns whether clocks that differ can explain it: it is at most a day ahead of `micros`, which is another token
    /// or microseconds since 1970.
    pub(crate) fn is_plausible(self, micros: u64) -> bool {
        self.0 <= micros.saturating_add(FARTHEST_AHEAD)
    }

    /// Returns about when its leader was elected.
    ///
    /// A token isn't a wall time: it starts from the candidate's clock ([`FencingToken::next`]) and is raised above the
    /// tokens of clocks that are ahead. The time is for people only; no decision may depend on it.
    pub(crate) fn elected_at(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0)
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for FencingToken {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(FencingToken)
    }
}

/// Returns how long after a release a standby campaigns.
///
/// Standbys take turns. A turn lasts until the others know of a candidate's votes: a round trip or, if that is longer,
/// the time to notify them all. On average [`CANDIDATES_PER_TURN`] standbys campaign in each turn, the first ones at
/// once, so a thousand standbys need about as much time, and as many rounds, as ten.
///
/// `chance`: a random number, at least 0 and below 1.
pub(crate) fn handover_turn(standbys: u32, round_trip: Duration, chance: f64) -> Duration {
    let turn = (f64::from(standbys) / CANDIDATES_PER_TURN * chance) as u32;
    round_trip.max(NOTIFY_ONE * standbys).clamp(SHORTEST_TURN, LONGEST_TURN) * turn
}

#[cfg(test)]
mod tests;
