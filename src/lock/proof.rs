//! What proves that a lock was released.

use std::fmt;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde::{Deserialize, Serialize};

/// The longest text on a channel that can be a proof, in bytes.
const LONGEST: usize = 64;

/// A secret of a candidate, whose hash is in the value of its lock. It is shown with the message about the release, and only
/// there: so whoever shows it has it from the leader, and a node takes such a lock as free. Without it, anybody who may
/// publish could take the lock from a live leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ReleaseProof(String);

impl ReleaseProof {
    /// Creates the proof of a candidate. `secret`: a random number.
    pub(crate) fn new(secret: u128) -> Self {
        ReleaseProof(format!("{secret:032x}"))
    }

    /// Takes a proof from a message; `None` for a text that can't be one.
    pub(crate) fn from_message(text: &str) -> Option<Self> {
        let can_be = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        can_be.then(|| ReleaseProof(text.to_owned()))
    }

    /// Returns the text that shows it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns its hash as `redis.sha1hex` gives it, the only one that scripts have. It need only withstand an inversion, which
    /// nobody knows for SHA-1.
    pub(super) fn hash(&self) -> String {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, self.0.as_bytes());
        hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for ReleaseProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_redis() {
        // RFC 3174, test 1.
        assert_eq!(ReleaseProof("abc".into()).hash(), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }
}
