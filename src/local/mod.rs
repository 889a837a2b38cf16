//! One machine: flock(2) on a file, and in it what the last leader has left: its fencing token, and what outlives it.

mod lock;
mod observer;
mod path;
mod record;

pub(crate) use self::{lock::Local, observer::LocalObserver};
