//! Kills a tree, pass by pass, until nothing of it is left.
//!
//! A pass kills our children. Theirs become ours when they die, and are killed by the next pass. So a large tree costs
//! one system call for each process. Below our children is looked only where they don't die, and where passes find few:
//! the tree may be deep.

use std::time::Duration;

use nix::{errno::Errno, unistd::Pid};

use super::tree::{Found, Spared, Tree};
use crate::clock::Moment;

/// How long a pass is waited for at most: a process may fork while its parent dies slowly.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long what dies can put off a look below what doesn't.
const LOOK_BELOW: Duration = Duration::from_secs(1);

/// A pass that finds at most so many children is narrow.
const FEW: usize = 16;

/// After so many narrow passes, one after the other, the tree counts as deep.
const NARROW_PASSES: u32 = 8;

/// A killing under way.
#[derive(Debug, Default)]
pub(super) struct Killing {
    /// When the next pass is due, whatever has been reaped until then.
    next_pass: Option<Moment>,
    next_look_below: Option<Moment>,
    /// How many children the last pass has found, and how many have been reaped since.
    found: usize,
    reaped: usize,
    narrow_passes: u32,
}

impl Killing {
    /// Counts a child that has been reaped.
    pub(super) fn count_reaped(&mut self) {
        self.reaped += 1;
    }

    /// Kills all children but `spared`, if it is time for another pass: half of those of the last one are gone, so that
    /// others may have come in their place, or none has gone for long. `group`: a group that is the tree's alone.
    /// Returns a child that can't be killed.
    ///
    /// # Errors
    /// Our children could not be listed.
    pub(super) fn go_on(&mut self, tree: &Tree, spared: &[Pid], group: Option<Pid>) -> Result<Option<Spared>, Errno> {
        let began = Moment::now();
        let has_passed = |at: Option<Moment>| at.is_none_or(|at| began >= at);
        if !has_passed(self.next_pass) && self.reaped * 2 < self.found {
            return Ok(None);
        }
        let nothing_dies = self.found > 0 && self.reaped == 0;
        let is_deep = self.narrow_passes >= NARROW_PASSES;
        let passed = tree.kill_children(spared, group, nothing_dies);
        if nothing_dies || is_deep || has_passed(Some(*self.next_look_below.get_or_insert(began + LOOK_BELOW))) {
            tree.kill_below_children(spared)?;
            self.next_look_below = Some(Moment::now() + LOOK_BELOW);
        }
        // Reaping gets at least as much time as the passes.
        let now = Moment::now();
        self.next_pass = Some(now + now.since(began).max(LOOK_AGAIN));
        let Found { children, unkillable } = passed?;
        (self.found, self.reaped) = (children, 0);
        self.narrow_passes = if is_deep || children > FEW { 0 } else { self.narrow_passes + 1 };
        Ok(unkillable)
    }
}
