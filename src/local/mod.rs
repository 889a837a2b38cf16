//! A lease on one machine: flock(2) on a file, which also stores the last leader's fencing token and what outlives it.

mod claim;
mod flocks;
mod folder;
#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/local.rs"]
pub(crate) mod fuzz;
mod lock;
mod named;
mod observer;
mod path;
mod queue;
mod record;
mod removal;
mod resources;
mod runs;
mod shared;
mod slots;

pub(crate) use self::{lock::Local, observer::LocalObserver, resources::resources, slots::LocalSlots};
