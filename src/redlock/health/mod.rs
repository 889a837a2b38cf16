//! Whether the nodes are fit: what keeps each from voting, and what may keep it from voting when it matters.

mod dry_run;
mod examination;
mod facts;
mod finding;
#[cfg(any(test, fuzzing))]
#[path = "../../../tests/fuzz/health.rs"]
pub(crate) mod fuzz;
mod info;
mod measurement;
mod node_health;
mod terms;
mod twins;

pub(crate) use self::{
    examination::check,
    finding::{Finding, Severity},
    node_health::NodeHealth,
};
