//! The parts of the protocol that the simulation runs.

pub use super::{
    net::{
        failure::Failure,
        pubsub::{Notification, NotificationSender},
    },
    outcome::NodeReply,
    round::STALE_AT_ONCE,
    scripts::{
        AcquireReply, Acquisition, Answer, Audience, ExtendReply, Keys, ReleaseReply, acquired, extended, released,
    },
    session::LockSession,
    standby::TakeoverTimer,
};
