//! Why a candidate didn't get the lock.

use std::{
    fmt,
    mem::discriminant,
    time::{Duration, SystemTime},
};

use super::{
    failure::Shortfall,
    other_servers::OtherServers,
    value::{LeadershipId, LockValue},
};
use crate::{
    clock::show_time,
    lease::FencingToken,
    once_per::{PastFailures, PastSuccess},
};

/// Why a candidate didn't get the lock.
#[derive(Clone, Debug)]
pub(crate) enum Reason {
    /// Another leads; `None` if it isn't known who.
    Taken(Option<Leader>),
    /// A leader has ended and keeps the lock (`--hold`).
    Kept { holder: String },
    /// An instance with other servers may lead.
    OtherList(OtherServers),
    /// This node has the lock of an instance with another number of slots.
    OtherSlots { node: String, holder: String, theirs: u16, ours: u16 },
    /// Others lead in all slots: these holders, in the order of the slots.
    AllSlotsTaken(Vec<String>),
    /// Several campaigned at once, and none has won.
    Tie,
    /// Our token was too small; a larger one may win at once.
    Stale,
    /// This node has a token, under this key, so far ahead of all clocks that no new one can pass it, and too few others
    /// answer.
    FenceAhead { node: String, key: String, fence: FencingToken },
    /// Too few nodes could be asked, or answered.
    NoQuorum(Shortfall),
    /// Too many nodes have started too recently to grant.
    StartupGrace(Shortfall),
    /// A quorum granted, but so late that the lease would soon be over.
    TooLate,
    /// Two nodes are one server.
    SameServerTwice { first: String, second: String },
    /// The command has succeeded in this period.
    Succeeded(PastSuccess),
    /// The command has failed as often as it may in this period.
    AttemptsUsedUp(PastFailures),
    /// The leader is a leaderrun that this one runs under, and waits for it.
    WithinItself(Leader),
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    pub id: LeadershipId,
    pub holder: String,
    /// `None` for another library's, which has no such token.
    pub token: Option<FencingToken>,
}

impl Reason {
    /// Returns what a lock with this value on a quorum of nodes means. `fence`: the smallest fence beside it.
    pub(crate) fn held(value: &LockValue, fence: FencingToken) -> Self {
        let holder = value.holder();
        if value.is_kept() {
            return Reason::Kept { holder };
        }
        let token = value.is_ours().then_some(fence);
        Reason::Taken(Some(Leader { id: LeadershipId::Lock(value.clone()), holder, token }))
    }

    /// Returns the reason as a word, for programs.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Reason::Taken(_) => "taken",
            Reason::Kept { .. } => "kept",
            Reason::OtherList(_) => "other_list",
            Reason::OtherSlots { .. } => "other_slots",
            Reason::AllSlotsTaken(_) => "all_slots_taken",
            Reason::Tie => "tie",
            Reason::Stale => "stale",
            Reason::FenceAhead { .. } => "fence_ahead",
            Reason::NoQuorum(_) => "no_quorum",
            Reason::StartupGrace(_) => "startup_grace",
            Reason::TooLate => "too_late",
            Reason::SameServerTwice { .. } => "same_server_twice",
            Reason::Succeeded(_) => "succeeded",
            Reason::AttemptsUsedUp(_) => "attempts_used_up",
            Reason::WithinItself(_) => "within_itself",
        }
    }

    /// Returns who leads or keeps the lock, if that is why.
    pub(crate) fn leader(&self) -> Option<&str> {
        match self {
            Reason::Taken(Some(leader)) | Reason::WithinItself(leader) => Some(&leader.holder),
            Reason::Kept { holder } => Some(holder),
            _ => None,
        }
    }

    /// Returns whether we only lost a race, and may win the next round.
    pub(crate) fn is_race(&self) -> bool {
        matches!(self, Reason::Tie | Reason::Stale)
    }

    /// Returns whether too few nodes were able to vote in time.
    pub(crate) fn lacks_quorum(&self) -> bool {
        matches!(self, Reason::NoQuorum(_) | Reason::StartupGrace(_) | Reason::TooLate | Reason::FenceAhead { .. })
    }

    /// Returns whether no later round can end differently.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Reason::SameServerTwice { .. } | Reason::Succeeded(_) | Reason::AttemptsUsedUp(_))
    }

    /// Returns whether another instance is configured in a way that we must not lead beside.
    pub(crate) fn is_other_terms(&self) -> bool {
        matches!(self, Reason::OtherList(_) | Reason::OtherSlots { .. })
    }

    /// Returns whether another has led or leads, and keeps us out.
    pub(crate) fn is_led(&self) -> bool {
        matches!(self, Reason::Taken(_) | Reason::Kept { .. } | Reason::AllSlotsTaken(_))
    }

    /// Returns whether this says nothing new after `reported`: another leader is new, one node more or less that can't
    /// vote is not.
    pub(crate) fn is_old_news(&self, reported: &Reason) -> bool {
        match (self, reported) {
            (Reason::Taken(now), Reason::Taken(then)) => now.as_ref().map(|l| &l.id) == then.as_ref().map(|l| &l.id),
            (Reason::Kept { holder: now }, Reason::Kept { holder: then }) => now == then,
            (Reason::AllSlotsTaken(now), Reason::AllSlotsTaken(then)) => now == then,
            _ => discriminant(self) == discriminant(reported),
        }
    }
}

impl Leader {
    /// Returns how long it has led, according to its token.
    pub(crate) fn leads_for(&self) -> Option<Duration> {
        let elected_at = self.token?.elected_at();
        Some(SystemTime::now().duration_since(elected_at).unwrap_or_default())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Taken(Some(leader)) => leader.fmt(f),
            Reason::Taken(None) => f.write_str("another leads"),
            Reason::Kept { holder } => write!(f, "{holder} has led and keeps the lock (--hold)"),
            Reason::OtherList(other) => other.fmt(f),
            Reason::OtherSlots { node, holder, theirs, ours } => write!(
                f,
                "{holder}, whose lock is on {node}, uses --slots {theirs}, but this instance {ours}; give all instances the same"
            ),
            Reason::AllSlotsTaken(holders) => {
                let slots = holders.len();
                write!(f, "all {slots} slots are taken, by {}", holders.join(", "))
            }
            Reason::Tie => f.write_str("several campaign at once"),
            Reason::Stale => f.write_str("a larger token was granted before"),
            Reason::FenceAhead { node, key, fence } => {
                let from = show_time(fence.elected_at());
                write!(
                    f,
                    "{node} has a fencing token from {from}, which no new one can pass, and too few others answer; set the \
                     clocks right, then DEL {key} there"
                )
            }
            Reason::NoQuorum(shortfall) | Reason::StartupGrace(shortfall) => shortfall.fmt(f),
            Reason::TooLate => f.write_str("a quorum of nodes answered, but too late to lead"),
            Reason::SameServerTwice { first, second } => {
                write!(f, "{first} and {second} are the same server; each node must be a server of its own")
            }
            Reason::Succeeded(success) => success.fmt(f),
            Reason::WithinItself(leader) => write!(
                f,
                "{leader} and has started this leaderrun, which would wait for itself; give it a lock of its own (--resource, \
                 or the FILE of --local), or run the command without it"
            ),
            Reason::AttemptsUsedUp(failures) => failures.fmt(f),
        }
    }
}

impl fmt::Display for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} leads", self.holder)?;
        match self.token {
            Some(token) => write!(f, " since {}", show_time(token.elected_at())),
            None => Ok(()),
        }
    }
}
