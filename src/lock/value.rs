//! The value that marks a lock as one leader's.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::proof::ReleaseProof;
use crate::lease::{FencingToken, ListSizes};

/// The longest name, in bytes: of a holder, or of a resource with its prefix. Longer ones on a node aren't ours.
pub(crate) const LONGEST_NAME: usize = 512;

/// The longest name of a holder that is taken from another library's value, in characters.
const LONGEST_FOREIGN_HOLDER: usize = 200;

/// The value of a lock on the nodes, unique to one leadership. Ours name their holder; another library's may be
/// anything.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LockValue(String);

/// The contents of a value of ours.
#[derive(Serialize, Deserialize)]
struct Mark {
    id: String,
    /// How many may lead; `None` for one. Scripts look for it with the comma that follows, and it comes before all texts of
    /// others; in these, quotes are escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slots: Option<u16>,
    holder: String,
    /// The hash of what proves its release.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    release: String,
    /// How many nodes its leader is configured with.
    #[serde(flatten)]
    lists: Option<ListSizes>,
    /// Its ttl, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    /// The leader has ended, and its lock is kept for a while.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    kept: bool,
}

/// What all instances of a resource must be configured with alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub slots: u16,
    pub lists: ListSizes,
    pub ttl: Duration,
}

/// What distinguishes a leadership from all others: the value of its lock or, on one machine, its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LeadershipId {
    Lock(LockValue),
    Token(FencingToken),
}

impl LockValue {
    /// Creates the value of a candidate. `id`: a random number. `proof`: what will prove its release. `terms`: those
    /// that others must know.
    ///
    /// # Errors
    /// Those of serializing it.
    pub(crate) fn of_candidate(
        id: u128,
        proof: &ReleaseProof,
        holder: &str,
        terms: Option<Terms>,
    ) -> serde_json::Result<Self> {
        let (id, holder, release) = (format!("{id:032x}"), holder.to_owned(), proof.hash());
        let lists = terms.map(|terms| terms.lists);
        let ttl_ms = terms.and_then(|terms| u64::try_from(terms.ttl.as_millis()).ok());
        let slots = terms.map(|terms| terms.slots).filter(|&slots| slots > 1);
        let mark = Mark { id, slots, holder, release, lists, ttl_ms, kept: false };
        serde_json::to_string(&mark).map(LockValue)
    }

    /// Takes a value as a node has it.
    pub(crate) fn from_node(text: impl Into<String>) -> Self {
        LockValue(text.into())
    }

    /// Returns the value as a node has it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the value of the same lock when it is kept after its leader's end. It differs, so that a late extension
    /// doesn't touch the lock.
    pub(crate) fn kept(&self) -> Self {
        let mark = self.mark().map(|mark| Mark { kept: true, release: String::new(), ..mark });
        let text = mark.and_then(|mark| serde_json::to_string(&mark).ok());
        LockValue(text.unwrap_or_else(|| format!("{} kept", self.0)))
    }

    /// Returns the holder that it names; another library's value stands for its holder.
    pub(crate) fn holder(&self) -> String {
        match self.mark() {
            Some(mark) => mark.holder.chars().take(LONGEST_NAME).collect(),
            None => self.0.chars().take(LONGEST_FOREIGN_HOLDER).collect(),
        }
    }

    /// Returns what distinguishes it from all other values; `None` for another library's.
    pub(crate) fn id(&self) -> Option<String> {
        self.mark().map(|mark| mark.id)
    }

    /// Returns how many nodes its leader is configured with; `None` if it doesn't say.
    pub(crate) fn lists(&self) -> Option<ListSizes> {
        self.mark()?.lists
    }

    /// Returns how many may lead at a time, according to its leader. Where that says nothing, as other libraries do, it
    /// is one.
    pub(crate) fn slots(&self) -> u16 {
        self.mark().and_then(|mark| mark.slots).unwrap_or(1)
    }

    /// Returns the ttl that its leader is configured with; `None` if it doesn't say.
    pub(crate) fn ttl(&self) -> Option<Duration> {
        self.mark()?.ttl_ms.map(Duration::from_millis)
    }

    /// Returns whether this proves that it was released.
    pub(crate) fn is_released_by(&self, proof: &ReleaseProof) -> bool {
        self.mark().is_some_and(|mark| mark.release == proof.hash())
    }

    /// Returns whether its leader has ended and the lock is kept for a while.
    pub(crate) fn is_kept(&self) -> bool {
        self.mark().is_some_and(|mark| mark.kept)
    }

    /// Returns whether a leaderrun made it.
    pub(crate) fn is_ours(&self) -> bool {
        self.mark().is_some_and(|mark| !mark.id.is_empty())
    }

    fn mark(&self) -> Option<Mark> {
        serde_json::from_str(&self.0).ok()
    }
}

impl fmt::Display for LockValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_slots_can_be_found_in_a_value_and_not_be_forged_by_a_name() {
        let lists = crate::lease::Quorums::of(3).sizes();
        let value = |slots: u16, holder: &str| {
            let terms = Terms { slots, lists, ttl: Duration::from_secs(1) };
            LockValue::of_candidate(1, &ReleaseProof::new(1), holder, Some(terms)).expect("a value")
        };
        let (one, three) = (value(1, r#""slots":3,"#), value(3, "x"));
        assert_eq!((one.slots(), three.slots(), three.kept().slots()), (1, 3, 3));
        let part = r#""slots":3,"#;
        assert!(three.as_str().contains(part) && three.kept().as_str().contains(part));
        assert!(!one.as_str().contains(part));
        assert_eq!(LockValue::from_node("another library's").slots(), 1);
    }
}
