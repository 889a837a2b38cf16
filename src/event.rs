//! What a message is about: `event` in JSON, and the fields that some events have. The man page lists them.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    LockFile,
    StandsBy,
    LostRound,
    Leads,
    Started,
    SignalReceived,
    SignalSent,
    Killed,
    ExtensionFailed,
    #[serde(rename = "healed")]
    Restored,
    BareQuorum,
    Lost,
    StepsDown,
    TimedOut,
    Ended,
    NotReleased,
    NotRecorded,
    NotStarted,
    NoSuccess,
    NoQuorum,
    OtherList,
    Rejoins,
    ProcessDied,
    Warning,
    Failed,
}

/// What JSON says in fields of their own. Those without a value are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Details {
    /// Who leads or keeps the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Why it happened, as a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The command's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<i32>,
    /// The name of a signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

impl Details {
    /// Returns the details of an event about a signal.
    pub(crate) fn of_signal(name: impl Into<String>) -> Self {
        Details { signal: Some(name.into()), ..Details::default() }
    }

    /// Returns the details of an event for which there is a reason.
    pub(crate) fn of_reason(reason: &'static str) -> Self {
        Details { reason: Some(reason), ..Details::default() }
    }
}
