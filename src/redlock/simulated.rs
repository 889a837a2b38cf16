//! What a simulation of the protocol is made of.

pub use super::{
    STALE_AT_ONCE,
    ballot::{Extent, Heard},
    claim::Claim,
    failure::Failure,
    news::{News, Newswire},
    scripts::{Acquired, Acquisition, Answer, Extended, Keys, Released, Telling, acquired, extended, released},
    standby::Watch,
};
