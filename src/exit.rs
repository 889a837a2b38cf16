//! Every exit status, once.

use crate::program::ProgramError;

/// How leaderrun ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command ended by itself, or we ended as it would have.
    Command(u8),
    /// Signal N ended the command, or us as a standby.
    Signal(i32),
    /// Another leads, and we did not wait or no longer; the status is 75 or `--conflict-exit-code`.
    NotLeader(u8),
    /// The command has succeeded in this period, here or elsewhere before, and was not started.
    Done,
    /// The command succeeded, but that could not be recorded for the others.
    NotRecorded,
    /// `--check` found something to be mended.
    CheckFailed,
    /// Nobody leads, or not the one who was asked for.
    NoLeader,
    /// Leadership was lost and the command killed.
    LeadershipLost,
    /// No quorum of nodes could be reached, and we did not wait or no longer.
    NoQuorum,
    /// Bad options or settings.
    Usage,
    /// Our own failure.
    Failure,
    /// The command is there but can't be run.
    CannotRun,
    /// The command was not found.
    NotFound,
}

impl Exit {
    pub const NOT_LEADER: u8 = 75;

    /// The status as the shell sees it.
    pub fn status(self) -> u8 {
        match self {
            Exit::Command(code) => code,
            Exit::Signal(signal) => 128_u8.wrapping_add(signal as u8),
            Exit::NotLeader(code) => code,
            Exit::Done => 0,
            Exit::CheckFailed | Exit::NoLeader => 1,
            Exit::NotRecorded => 74,
            Exit::LeadershipLost => 76,
            Exit::NoQuorum => 69,
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
