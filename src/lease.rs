//! The rules of the lease: tokens, votes, deadlines. Pure: no I/O and no clock of its own, so that it can be tested with
//! any times and any answers.
//!
//! The protocol is Redlock (<https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/>) with three
//! additions: each round carries a fencing token that a node grants only once and only upwards, as a Paxos ballot; a
//! node that has just started grants nothing for a ttl; an extension puts back a key that its node has lost.
//!
//! Assumed: the clocks of nodes and replicas run at rates within [`DRIFT`] of each other.

use std::{ops::Div, time::Duration};

use crate::clock::Moment;

/// How far the rates of two clocks may differ: 1 %, taken as a divisor.
pub const DRIFT: u32 = 100;

/// The resolution of a node's expiry and of scheduling, in addition to the drift (Redlock's constant).
const RESOLUTION: Duration = Duration::from_millis(2);

/// The resolution of a Redis server's uptime, which is given in whole seconds of two clock readings.
const UPTIME_RESOLUTION: Duration = Duration::from_secs(1);

/// The shortest ttl.
pub const SHORTEST_TTL: Duration = Duration::from_millis(500);

/// The longest ttl: longer ones have no use, and make sums of times overflow.
pub const LONGEST_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// A fencing token above this is not exact as a double, which is what a node's script computes with.
pub const LARGEST_TOKEN: u64 = (1 << 53) - 2;

/// A turn of a handover: no shorter than a timer's tick, no longer than a round around the earth.
const SHORTEST_TURN: Duration = Duration::from_millis(1);
const LONGEST_TURN: Duration = Duration::from_millis(300);

/// How many standbys go in one turn, on average: so many that a turn is seldom empty, and so few that one of them wins.
const AT_A_TURN: f64 = 1.5;

/// The time that telling one more standby takes, where all are on one host.
const TELL_ONE: Duration = Duration::from_micros(60);

/// How long a lease lasts and how long a command may take to stop; everything else follows from these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    ttl: Duration,
    kill_after: Duration,
}

/// Times that don't fit each other; what would fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimingError {
    TtlTooShort,
    TtlTooLong,
    /// With this ttl, kill-after can be at most so long.
    KillAfterTooLong(Duration),
}

impl Times {
    /// `kill_after` is 5 s or ttl/3, whichever is less, unless given.
    ///
    /// # Errors
    /// A ttl out of range, or a `kill_after` that leaves no time to try an extension again before the signal.
    pub fn new(ttl: Duration, kill_after: Option<Duration>) -> Result<Self, TimingError> {
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

    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The time between the signal that asks the command to stop and SIGKILL.
    pub fn kill_after(&self) -> Duration {
        self.kill_after
    }

    /// What a lease loses to clocks that run at different rates: 1 % of the ttl and 2 ms.
    pub fn drift(&self) -> Duration {
        self.ttl / DRIFT + RESOLUTION
    }

    /// The time that killing may take on a busy host: ttl/50, at least 50 ms.
    pub fn margin(&self) -> Duration {
        self.ttl.div(50).max(Duration::from_millis(50))
    }

    /// The time between two extensions: ttl/3.
    pub fn extend_every(&self) -> Duration {
        self.ttl / 3
    }

    /// The time before a failed extension is tried again, before jitter: ttl/30.
    pub fn retry_after(&self) -> Duration {
        self.ttl / 30
    }

    /// How long a node may take to answer: ttl/20, 50 ms to 1 s.
    pub fn answer_timeout(&self) -> Duration {
        self.ttl.div(20).clamp(Duration::from_millis(50), Duration::from_secs(1))
    }

    /// How long a new connection may take, with TLS and sign-in: ttl/5.
    pub fn connect_timeout(&self) -> Duration {
        self.ttl / 5
    }

    /// How long a node must have been up, by its own count of whole seconds, before it grants: a ttl and its drift.
    pub fn startup_grace(&self) -> Duration {
        self.ttl + self.drift() + UPTIME_RESOLUTION
    }

    /// When the lease of a round sent at `sent` ends, as this host's clock counts.
    pub fn lease_end(&self, sent: Moment) -> Moment {
        sent + (self.ttl - self.drift())
    }

    /// The deadlines of the command while the lease of a round sent at `sent` holds.
    pub fn deadlines(&self, sent: Moment) -> Deadlines {
        let kill_at = self.lease_end(sent) - self.margin();
        Deadlines { stop_at: kill_at - self.kill_after, kill_at }
    }

    fn longest_kill_after(&self) -> Duration {
        let deadline = self.ttl - self.drift() - self.margin();
        deadline - self.extend_every() - self.answer_timeout() - self.retry_after()
    }
}

/// When the command is signalled, and when its whole tree is killed, unless the lease is extended before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Deadlines {
    pub stop_at: Moment,
    pub kill_at: Moment,
}

/// The fencing token to ask for: the wall clock in microseconds since 1970, or above the largest token seen.
pub fn next_token(wall_micros: u64, largest_seen: u64) -> u64 {
    wall_micros.max(largest_seen.saturating_add(1)).min(LARGEST_TOKEN)
}

/// N/2 + 1 of N configured nodes.
pub fn quorum(nodes: usize) -> usize {
    nodes / 2 + 1
}

/// The votes of one round, counted as they come in.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    nodes: usize,
    yes: usize,
    no: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteResult {
    Won,
    Lost,
    Pending,
}

impl Tally {
    /// `nodes`: the configured nodes, at least one, whether they are up or not.
    pub fn new(nodes: usize) -> Self {
        Tally { nodes, yes: 0, no: 0 }
    }

    pub fn count(&mut self, vote: bool) {
        if vote {
            self.yes += 1;
        } else {
            self.no += 1;
        }
    }

    /// Won with a quorum of votes; lost as soon as the votes still out can't make one.
    pub fn verdict(&self) -> VoteResult {
        let quorum = quorum(self.nodes);
        if self.yes >= quorum {
            VoteResult::Won
        } else if self.no > self.nodes.saturating_sub(quorum) {
            VoteResult::Lost
        } else {
            VoteResult::Pending
        }
    }
}

/// When a quorum of nodes could grant, given for each node the time until its own vote could be had (`None`: not known).
/// `None` where a quorum of nodes isn't known to come free.
pub fn quorum_free_in(nodes: usize, mut free_in: Vec<Option<Duration>>) -> Option<Duration> {
    free_in.sort_by_key(|t| t.unwrap_or(Duration::MAX));
    free_in.get(quorum(nodes) - 1).copied().flatten()
}

/// When a standby goes for the lead after a release, in turns of which each is as long as the others need to hear of a
/// candidate's votes: a round, and the time in which so many can be told. [`AT_A_TURN`] go in each turn on average, the
/// first ones at once, so that it takes about as long, and as many rounds, with a thousand as with ten.
///
/// `chance`: a random number, at least 0 and below 1.
pub fn handover_turn(standbys: u32, round_trip: Duration, chance: f64) -> Duration {
    let turn = (f64::from(standbys) / AT_A_TURN * chance) as u32;
    round_trip.max(TELL_ONE * standbys).clamp(SHORTEST_TURN, LONGEST_TURN) * turn
}

#[cfg(test)]
mod tests;
