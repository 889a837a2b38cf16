//! What a message is about: `event` in JSON. The man page lists the events.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    LockFile,
    StandsBy,
    LostRound,
    Leads,
    Started,
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
