//! Every exit status, once.

use crate::program::ProgramError;

/// How leaderrun ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command ended by itself, or we ended as it would have.
    Command(u8),
    /// Signal N ended the command, or us as a standby.
    Signal(i32),
    /// Another leads, and we may not wait any longer.
    NotLeader,
    /// The same, with the status that `--conflict-exit-code` gives.
    Conflict(u8),
    /// The command has already succeeded in this period and was not started. The status is 0, or what `--skip-exit-code`
    /// gives.
    AlreadySucceeded(u8),
    /// The command succeeded, but its success could not be recorded.
    NotRecorded,
    /// An answer could not be written.
    NotWritten,
    /// `--check` found a problem.
    CheckFailed,
    /// Nobody leads, or not the holder that was asked for.
    NoLeader,
    /// Leadership was lost or given up, and the command was stopped.
    LeadershipLost,
    /// The command ran for as long as it may, and was stopped.
    TimedOut,
    /// No quorum of nodes could be reached, and we may not wait any longer.
    NoQuorum,
    /// Another instance uses another number of nodes or slots.
    OtherList,
    /// Bad options or settings.
    Usage,
    /// Our own failure.
    Failure,
    /// The command exists but can't be run.
    CannotRun,
    /// The command was not found.
    NotFound,
}

impl Exit {
    /// Returns how we end where another leads. `code`: that of `--conflict-exit-code`.
    pub(crate) fn of_conflict(code: Option<u8>) -> Self {
        code.map_or(Exit::NotLeader, Exit::Conflict)
    }

    /// Returns the status as the shell sees it.
    pub(crate) fn status(self) -> u8 {
        match self {
            Exit::Command(code) | Exit::AlreadySucceeded(code) => code,
            Exit::Signal(signal) => 128_u8.wrapping_add(signal as u8),
            Exit::NotLeader => 75,
            Exit::Conflict(code) => code,
            Exit::CheckFailed | Exit::NoLeader => 1,
            Exit::NotRecorded | Exit::NotWritten => 74,
            Exit::LeadershipLost => 76,
            Exit::TimedOut => 124,
            Exit::NoQuorum => 69,
            Exit::OtherList => 78,
            Exit::Usage => 64,
            Exit::Failure => 125,
            Exit::CannotRun => 126,
            Exit::NotFound => 127,
        }
    }
}

impl From<&ProgramError> for Exit {
    fn from(error: &ProgramError) -> Self {
        match error {
            ProgramError::NotFound => Exit::NotFound,
            ProgramError::NotExecutable(_) => Exit::CannotRun,
        }
    }
}
