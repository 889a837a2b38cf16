//! The slots of a resource: the places of those who may lead at a time. Each is led as a resource of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The largest number of slots. A look at all of them must stay well within what a server may send.
pub(crate) const MOST_SLOTS: u16 = 64;

/// What stands between the name of a resource and the number of a slot, in the name of the slot's lock.
const SUFFIX: &str = ":slot";

/// One of the slots of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot {
    /// From 1 to `of`.
    pub number: u16,
    pub of: u16,
}

impl Slot {
    /// The slot of a resource with one leader.
    pub(crate) const ONLY: Slot = Slot { number: 1, of: 1 };

    /// Returns the slots of a resource that has this many.
    pub(crate) fn all(of: u16) -> impl Iterator<Item = Slot> {
        (1..=of).map(move |number| Slot { number, of })
    }

    /// Returns whether the resource has no other slot.
    pub(crate) fn is_only(self) -> bool {
        self.of == 1
    }

    /// Returns the name of the slot's lock. The only slot's is that of the resource.
    pub(crate) fn lock(self, resource: &str) -> String {
        if self.is_only() { resource.to_owned() } else { format!("{resource}{SUFFIX}{}", self.number) }
    }
}

/// Returns the end of a name that is the name of a slot's lock.
pub(crate) fn slot_suffix(name: &str) -> Option<&str> {
    let start = name.rfind(SUFFIX)?;
    let number = &name[start + SUFFIX.len()..];
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(&name[start..])
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {} of {}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_slot_is_the_resource_and_others_have_names_that_no_resource_has() {
        assert_eq!(Slot::ONLY.lock("a"), "a");
        let names: Vec<String> = Slot::all(2).map(|slot| slot.lock("a")).collect();
        assert_eq!(names, ["a:slot1", "a:slot2"]);
        assert!(names.iter().all(|name| slot_suffix(name).is_some()));
        assert_eq!([slot_suffix("a:slot"), slot_suffix("a:slot1b"), slot_suffix("slot1")], [None; 3]);
    }
}
