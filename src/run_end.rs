//! How a run ended, and the exit status for it.

use crate::{
    exit::Exit,
    guard::Ending,
    history::{EndedRun, RunResult},
    leadership::{LeadershipEnd, LeadershipOutcome},
    lock::Reason,
    settings::Settings,
};

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) enum RunEnd {
    /// We didn't become the leader, and don't wait any longer.
    GaveUp(Reason),
    /// This signal ended us while we stood by.
    Interrupted(i32),
    /// The guard died while we stood by.
    GuardDied,
    /// We have led.
    Led {
        outcome: LeadershipOutcome,
        /// The command succeeded, but its success could not be recorded.
        not_recorded: bool,
    },
}

impl RunEnd {
    /// Returns whether leadership was lost or given up, after which `--rejoin` stands by again.
    pub(crate) fn lost_leadership(&self) -> bool {
        use LeadershipOutcome::{LeaseLost, SteppedDown};
        matches!(self, RunEnd::Led { outcome: LeaseLost | SteppedDown, .. })
    }

    /// Returns the exit status.
    pub(crate) fn exit(&self, settings: &Settings) -> Exit {
        match self {
            RunEnd::GaveUp(Reason::SameServerTwice { .. } | Reason::WithinItself(_)) => Exit::Usage,
            RunEnd::GaveUp(reason) if reason.is_other_terms() => Exit::OtherList,
            RunEnd::GaveUp(reason) if reason.lacks_quorum() => Exit::NoQuorum,
            RunEnd::GaveUp(Reason::Succeeded(_)) => Exit::AlreadySucceeded(settings.skip_exit_code),
            RunEnd::GaveUp(_) => settings.not_leader,
            RunEnd::Interrupted(signal) => Exit::Signal(*signal),
            RunEnd::GuardDied => Exit::Failure,
            RunEnd::Led { not_recorded: true, .. } => Exit::NotRecorded,
            RunEnd::Led { outcome, .. } => exit_of(*outcome),
        }
    }
}

/// Returns the exit status of a leadership that ended like this.
pub(crate) fn exit_of(outcome: LeadershipOutcome) -> Exit {
    match outcome {
        LeadershipOutcome::Exited(Ending::Code(code)) => Exit::Command(code as u8),
        LeadershipOutcome::Exited(Ending::Signal(signal)) => Exit::Signal(signal),
        LeadershipOutcome::CannotRun => Exit::CannotRun,
        LeadershipOutcome::NotFound => Exit::NotFound,
        LeadershipOutcome::NotForked | LeadershipOutcome::NoTimer | LeadershipOutcome::GuardDied => Exit::Failure,
        LeadershipOutcome::TimedOut => Exit::TimedOut,
        LeadershipOutcome::LeaseLost | LeadershipOutcome::SteppedDown => Exit::LeadershipLost,
    }
}

/// Returns a leadership that is over as a run to be recorded.
pub(crate) fn run_of(end: &LeadershipEnd) -> EndedRun {
    let result = match end.outcome {
        LeadershipOutcome::Exited(ending) => result_of_ending(ending),
        LeadershipOutcome::CannotRun | LeadershipOutcome::NotFound | LeadershipOutcome::NotForked => {
            RunResult::NotStarted
        }
        LeadershipOutcome::NoTimer | LeadershipOutcome::GuardDied => RunResult::Failed,
        LeadershipOutcome::LeaseLost => RunResult::LeaseLost,
        LeadershipOutcome::SteppedDown => RunResult::SteppedDown,
        LeadershipOutcome::TimedOut => RunResult::TimedOut,
    };
    EndedRun { token: end.token, began: end.began, ended: end.ended, is_end_seen: end.is_end_seen, result }
}

/// Returns the result of a command that has ended by itself.
pub(crate) fn result_of_ending(ending: Ending) -> RunResult {
    match ending {
        Ending::Code(0) => RunResult::Success,
        Ending::Code(status) => RunResult::Exit(status),
        Ending::Signal(signal) => RunResult::Signal(signal),
    }
}
