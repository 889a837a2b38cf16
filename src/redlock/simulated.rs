//! The parts of the protocol that the simulation runs.

pub(crate) use super::{
    known_clocks::NodeTime,
    lock::STALE_AT_ONCE,
    net::{
        failure::Failure,
        pubsub::{Notification, NotificationSender},
    },
    outcome::{LostRound, NodeReply},
    scripts::{
        AcquireReply, Acquisition, Answer, Audience, DatedNote, ExtendReply, Keys, ReleaseReply, acquired, extended,
        released,
    },
    session::LockSession,
    standby::TakeoverTimer,
};
