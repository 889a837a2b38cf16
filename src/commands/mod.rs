//! The questions that an operator asks instead of running a command: one file each.

mod check;
mod completions;
mod forget;
mod leads;
mod man;
mod output;
mod query;
mod status;
mod step_down;
mod table;
mod watch;
mod who_leads;

pub(crate) use self::query::Query;
