//! A finding about a node: a value, a text for people, how bad it is, and advice.

use std::{borrow::Cow, fmt, time::Duration};

use crate::{
    lease::ListSizes,
    redlock::net::failure::{Failure, grant_command},
};

/// Something to fix or to know. Its text follows the node's name: "redis://b:6379 is a replica".
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Finding {
    /// The node doesn't do what a leader needs.
    Failed(Failure),
    /// The server is older than Redis 5; this is its major version.
    TooOld(u32),
    Sentinel,
    Cluster,
    Replica,
    /// The server has just started, and votes after this time.
    StartupGrace(Duration),
    /// The server's clock was set back to before its start. Its uptime shows nothing.
    ClockSetBack,
    /// The server is also the node of this name.
    SameServer(String),
    /// The user may not run these commands.
    MissingRights(Vec<&'static str>),
    /// The lock there is that of an instance with other numbers of nodes.
    OtherList {
        holder: String,
        theirs: ListSizes,
        ours: ListSizes,
    },
    /// The lock there is that of an instance with another number of slots.
    OtherSlots {
        holder: String,
        theirs: u16,
        ours: u16,
    },
    /// The lock there is that of an instance with another ttl.
    OtherTtl {
        holder: String,
        theirs: Duration,
        ours: Duration,
    },
    /// The user may not publish on the lock's channel. `channels`: those that it needs, if it has the command.
    CannotNotify {
        channels: Option<String>,
    },
    /// The user may not subscribe to the lock's channel, which is one of these.
    CannotListen {
        channels: String,
    },
    /// The user may not run these commands, by which runs are recorded and listed.
    CannotRecord(Vec<&'static str>),
    /// The longest answer took at least half the time that this ttl leaves for one.
    Slow {
        longest: Duration,
        limit: Duration,
        ttl: Duration,
    },
    /// The server's clock and ours differ by more than a ttl. Negative: the server's is behind.
    ClockApart {
        ahead_ms: i64,
    },
    /// The server evicts keys when its memory is full, by this policy.
    Evicts(String),
    /// This percentage of the server's memory is in use.
    MemoryShort(u64),
    /// The last attempt to save the data failed.
    NotSaved,
    NoAppendOnlyFile,
    /// The server has this many replicas.
    HasReplicas(u64),
    /// A password is sent to the server, or to one of its Sentinels, over a network without TLS.
    OpenPassword {
        is_behind_sentinels: bool,
    },
    /// The node has more Sentinels than are configured.
    MoreSentinels {
        configured: usize,
        all: u64,
    },
}

/// How bad a finding is, from the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Nothing is wrong.
    Note,
    /// The node votes, but may not when it matters.
    Risk,
    /// The node doesn't vote.
    NoVote,
}

impl Finding {
    pub(crate) fn severity(&self) -> Severity {
        match self {
            Finding::Failed(_)
            | Finding::TooOld(_)
            | Finding::Sentinel
            | Finding::Cluster
            | Finding::Replica
            | Finding::StartupGrace(_)
            | Finding::ClockSetBack
            | Finding::SameServer(_)
            | Finding::MissingRights(_) => Severity::NoVote,
            Finding::Slow { longest, limit, .. } if longest > limit => Severity::NoVote,
            Finding::Slow { .. }
            | Finding::OtherList { .. }
            | Finding::OtherSlots { .. }
            | Finding::OtherTtl { .. }
            | Finding::CannotNotify { .. }
            | Finding::CannotListen { .. }
            | Finding::CannotRecord(_)
            | Finding::ClockApart { .. }
            | Finding::Evicts(_)
            | Finding::MemoryShort(_)
            | Finding::NotSaved
            | Finding::MoreSentinels { .. } => Severity::Risk,
            Finding::NoAppendOnlyFile | Finding::HasReplicas(_) | Finding::OpenPassword { .. } => Severity::Note,
        }
    }

    /// Returns what an operator can do about it.
    pub(crate) fn advice(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Finding::Failed(failure) => return failure.advice(),
            Finding::TooOld(_) => return Failure::TooOld.advice(),
            Finding::Cluster => return Failure::Cluster.advice(),
            Finding::Replica => return Failure::Replica.advice(),
            Finding::Sentinel => "write redis-sentinel://HOST,.../NAME with all Sentinels of that master",
            Finding::StartupGrace(_) => "wait; it may have lost a leader's lock, and grants none before",
            Finding::ClockSetBack => {
                "instances that wait are served after a ttl; for --try, restart it: its uptime is negative"
            }
            Finding::SameServer(_) => "give each node a server of its own",
            Finding::MissingRights(commands) | Finding::CannotRecord(commands) => {
                return grant_command(commands).into();
            }
            Finding::CannotNotify { channels: None } => return grant_command(&["PUBLISH"]).into(),
            Finding::CannotNotify { channels: Some(channels) } => {
                return format!("grant its channel: ACL SETUSER USER &{channels}").into();
            }
            Finding::CannotListen { channels } => {
                return format!("{} and &{channels}", grant_command(&["SUBSCRIBE", "UNSUBSCRIBE", "PUBSUB|NUMSUB"]))
                    .into();
            }
            Finding::Slow { longest, .. } => {
                return format!("give --ttl {} or more", show(ttl_for(*longest))).into();
            }
            Finding::OtherList { .. } => "give all instances the same --redis; docs/servers.md says how to change it",
            Finding::OtherSlots { .. } => "give all instances, and --check, the same --slots",
            Finding::OtherTtl { .. } => "give all instances the same --ttl",
            Finding::ClockApart { .. } => {
                "let NTP set both: fencing tokens after a loss of data, and times in messages, come from them"
            }
            Finding::Evicts(_) => "set maxmemory-policy noeviction, or give a server of its own",
            Finding::MemoryShort(_) => "give it more (maxmemory)",
            Finding::NotSaved => "check its disk; with stop-writes-on-bgsave-error it takes no lock",
            Finding::NoAppendOnlyFile => {
                "no harm, as it then has no vote for a ttl; appendonly yes keeps the fencing tokens, too"
            }
            Finding::HasReplicas(_) => {
                "no harm unless one is ever promoted; where that may be, write redis-sentinel://"
            }
            Finding::OpenPassword { is_behind_sentinels: false } => {
                "whoever can read the traffic learns it; with TLS, write rediss://"
            }
            Finding::OpenPassword { is_behind_sentinels: true } => {
                "whoever can read the traffic learns it; with TLS, write rediss-sentinel://"
            }
            Finding::MoreSentinels { .. } => "name them all: a majority of those in the URL must be a majority of all",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Failed(failure) => failure.fmt(f),
            Finding::TooOld(major) => write!(f, "is Redis {major}, which is too old"),
            Finding::Sentinel => f.write_str("is a Sentinel"),
            Finding::Cluster => f.write_str("belongs to a cluster"),
            Finding::Replica => f.write_str("is a replica"),
            Finding::StartupGrace(left) => {
                write!(f, "has just started and votes in {} s", left.as_secs().saturating_add(1))
            }
            Finding::ClockSetBack => f.write_str(
                "has a clock that was set back since it started: it votes for instances that have known it for a ttl",
            ),
            Finding::SameServer(twin) => write!(f, "is the same server as {twin}"),
            Finding::MissingRights(commands) => {
                write!(f, "doesn't let this user run {} (NOPERM)", commands.join(", "))
            }
            Finding::CannotNotify { .. } => {
                f.write_str("doesn't let this user publish on the lock's channel: it notifies no standby of a release")
            }
            Finding::CannotListen { .. } => f.write_str(
                "doesn't let this user listen: a standby takes over when a lease runs out, not when it is released",
            ),
            Finding::CannotRecord(commands) => {
                let commands = commands.join(", ");
                write!(f, "doesn't let this user run {commands} (NOPERM): runs are not all recorded or listed there")
            }
            Finding::OtherList { holder, theirs, ours } => {
                write!(
                    f,
                    "has the lock of {holder}, which uses another number of nodes ({theirs}) than this instance ({ours})"
                )
            }
            Finding::OtherSlots { holder, theirs, ours } => {
                write!(f, "has the lock of {holder}, which uses --slots {theirs}, but this instance {ours}")
            }
            Finding::OtherTtl { holder, theirs, ours } => {
                let (theirs, ours) = (show(*theirs), show(*ours));
                write!(f, "has the lock of {holder}, which has --ttl {theirs}, but this instance {ours}")
            }
            Finding::Slow { longest, limit, ttl } => {
                let (longest, limit, ttl) = (show(*longest), show(*limit), show(*ttl));
                write!(f, "took up to {longest} to answer; with --ttl {ttl} it must within {limit}")
            }
            Finding::ClockApart { ahead_ms } => {
                let way = if *ahead_ms > 0 { "ahead of" } else { "behind" };
                let seconds = ahead_ms.unsigned_abs().saturating_add(500) / 1000;
                write!(f, "has a clock that is {} {way} this machine's", show(Duration::from_secs(seconds)))
            }
            Finding::Evicts(policy) => {
                write!(f, "may throw the lock out when its memory is full (maxmemory-policy {policy})")
            }
            Finding::MemoryShort(percent) => write!(f, "has {percent} % of its memory in use"),
            Finding::NotSaved => f.write_str("could not save its data"),
            Finding::NoAppendOnlyFile => f.write_str("has no append-only file, so that a restart may lose its data"),
            Finding::OpenPassword { .. } => f.write_str("gets a password without TLS"),
            Finding::MoreSentinels { configured, all } => {
                write!(f, "has {all} Sentinels, of which the URL names {configured}")
            }
            Finding::HasReplicas(1) => f.write_str("has 1 replica"),
            Finding::HasReplicas(count) => write!(f, "has {count} replicas"),
        }
    }
}

/// Returns the shortest ttl, in whole seconds, with which this answer takes at most half of the time for an answer. A
/// node may take a twentieth of the ttl.
fn ttl_for(answer: Duration) -> Duration {
    let ttl = answer.saturating_mul(2 * 20);
    Duration::from_secs(ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0)))
}

/// Shows a duration to the millisecond.
fn show(duration: Duration) -> impl fmt::Display {
    humantime::format_duration(Duration::new(duration.as_secs(), duration.subsec_millis() * 1_000_000))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_too_slow_for_the_ttl_is_no_vote_and_a_nearly_too_slow_one_a_risk() {
        let slow = |millis| Finding::Slow {
            longest: Duration::from_millis(millis),
            limit: Duration::from_millis(50),
            ttl: Duration::from_secs(1),
        };
        assert_eq!((slow(50).severity(), slow(51).severity()), (Severity::Risk, Severity::NoVote));
        assert_eq!(slow(51).to_string(), "took up to 51ms to answer; with --ttl 1s it must within 50ms");
        assert_eq!(slow(51).advice(), "give --ttl 3s or more");
    }

    #[test]
    fn a_clock_apart_is_shown_in_whole_seconds() {
        let apart = |ahead_ms| Finding::ClockApart { ahead_ms }.to_string();
        assert_eq!(apart(90_499), "has a clock that is 1m 30s ahead of this machine's");
        assert_eq!(apart(-1_500), "has a clock that is 2s behind this machine's");
    }

    proptest! {
        #[test]
        fn any_number_of_a_server_can_be_shown(number in any::<u64>(), ahead_ms in any::<i64>()) {
            let long = Duration::from_secs(number);
            for finding in [
                Finding::StartupGrace(long),
                Finding::Failed(Failure::Promoted(long)),
                Finding::Slow { longest: long, limit: long, ttl: long },
                Finding::ClockApart { ahead_ms },
                Finding::MemoryShort(number),
                Finding::HasReplicas(number),
            ] {
                prop_assert!(!finding.to_string().is_empty() && !finding.advice().is_empty());
            }
        }
    }
}
