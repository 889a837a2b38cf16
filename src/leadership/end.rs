//! How a leadership ends.

use crate::{clock::Moment, guard::Ending, lease::FencingToken, lock::Slot, once_per::Failures};

/// A leadership that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeadershipEnd {
    pub slot: Slot,
    pub outcome: LeadershipOutcome,
    pub token: FencingToken,
    /// When the command was started.
    pub began: Moment,
    /// How often the command had failed in this period before.
    pub failures: Failures,
    /// We were told to end while there was something of the command, and have passed that on.
    pub told_to_end: bool,
    /// Until when nobody else can lead; `None` if the lease doesn't expire.
    pub alone_until: Option<Moment>,
    /// When nothing was left of the command.
    pub ended: Moment,
    /// Whether the guard has seen that moment. Otherwise it was earlier.
    pub is_end_seen: bool,
}

/// How a leadership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeadershipOutcome {
    /// The command ended by itself.
    Exited(Ending),
    /// The command exists but can't be run.
    CannotRun,
    /// The command was not found.
    NotFound,
    /// The guard could not fork to run the command.
    NotForked,
    /// The guard could not set its timer, and killed the command.
    NoTimer,
    /// The guard died before the command had ended.
    GuardDied,
    /// The lease was lost, and the command stopped.
    LeaseLost,
    /// We were asked to step down, and the command stopped.
    SteppedDown,
    /// The command ran for as long as it may, and was stopped.
    TimedOut,
}
