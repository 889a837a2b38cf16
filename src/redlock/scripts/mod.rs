//! The scripts that run on the nodes: three for the lock, one that only notifies, and four that only look. Each call is
//! one EVAL and one round trip, even on a server that has never seen the script.

mod arguments;
mod commands;
mod replies;
mod sent;

pub(crate) use self::{
    arguments::{Acquisition, Audience, DatedNote, PresentRun, RunTimes, Settled, Tell},
    commands::{KEY_SUFFIXES, Keys, WAKE_UP_CHANNELS, list, name_in_fence},
    replies::{
        AcquireReply, Answer, ExtendReply, Holding, ListReply, LookReply, ReleaseReply, RunsReply, SurveyReply,
        acquired, extended, released,
    },
};
