//! The questions that an operator asks instead of running a command: one file each.

mod check;
mod chosen_slot;
mod completions;
mod forget;
mod history;
mod leads;
mod list;
mod man;
mod metrics;
mod output;
mod query;
mod shown;
mod status;
mod step_down;
mod succeeded;
mod table;
mod watch;
mod who_leads;

pub(crate) use self::{output::say_text, query::Query};
