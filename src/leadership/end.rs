//! How a leadership ended, and what is reported of that: the command's own end, not ours.

use crate::{
    clock::Moment, event::Details, guard::Ending, lease::FencingToken, lock::Slot, once_per::Failures,
    sys::signal::signal_name,
};

/// A leadership that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeadershipEnd {
    pub slot: Slot,
    pub outcome: LeadershipOutcome,
    /// How the command's main process ended, if that is known.
    pub ending: Option<Ending>,
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

impl LeadershipEnd {
    /// Returns a text that says how the command ended, for after its name.
    pub(crate) fn story(&self) -> String {
        let ended = match self.ending {
            Some(Ending::Code(status)) => format!("ended with exit status {status}"),
            Some(Ending::Signal(signal)) => format!("was killed by {}", signal_name(signal)),
            None => "did not run to an end that is known".to_owned(),
        };
        match self.outcome {
            LeadershipOutcome::LeaseLost => format!("{ended}, after the lease was lost"),
            LeadershipOutcome::SteppedDown => format!("{ended}, after the request to step down"),
            LeadershipOutcome::TimedOut => format!("{ended}, after --max-run was over"),
            LeadershipOutcome::GuardDied | LeadershipOutcome::NoTimer => format!("{ended}, after leaderrun failed"),
            LeadershipOutcome::CannotRun | LeadershipOutcome::NotFound | LeadershipOutcome::NotForked => {
                "was not started".to_owned()
            }
            LeadershipOutcome::Exited(_) => ended,
        }
    }

    /// Returns the same as fields.
    pub(crate) fn details(&self) -> Details {
        let (exit_status, signal) = match self.ending {
            Some(Ending::Code(status)) => (Some(status), None),
            Some(Ending::Signal(signal)) => (None, Some(signal_name(signal))),
            None => (None, None),
        };
        let duration = self.ended.since(self.began).as_millis();
        let duration_ms = u64::try_from(duration).ok();
        Details { reason: Some(self.outcome.word()), exit_status, signal, duration_ms, leader: None }
    }
}

impl LeadershipOutcome {
    /// Returns the outcome as a word, for programs.
    pub(super) fn word(self) -> &'static str {
        match self {
            LeadershipOutcome::Exited(Ending::Code(_)) => "exited",
            LeadershipOutcome::Exited(Ending::Signal(_)) => "killed",
            LeadershipOutcome::CannotRun => "cannot_run",
            LeadershipOutcome::NotFound => "not_found",
            LeadershipOutcome::NotForked => "not_forked",
            LeadershipOutcome::NoTimer => "no_timer",
            LeadershipOutcome::GuardDied => "guard_died",
            LeadershipOutcome::LeaseLost => "lease_lost",
            LeadershipOutcome::SteppedDown => "stepped_down",
            LeadershipOutcome::TimedOut => "timed_out",
        }
    }
}
