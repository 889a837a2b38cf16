//! The slot that an operator asks about, by `--slot`.

use super::{output::complain, who_leads::describe};
use crate::{exit::Exit, report, status::ElectionStatus};

/// Reports that a resource, of which this is one of `of` slots, has no such one, or that it isn't known how many it has.
/// Returns the exit status.
pub(super) fn refuse(seen: &ElectionStatus, of: usize) -> Exit {
    let resource = &seen.resource;
    match of {
        1 if !seen.known => {
            complain(format_args!("{resource}: {}", describe(seen)));
            return Exit::NoQuorum;
        }
        1 => report::print_error(format_args!("{resource} has one leader at a time; leave out --slot")),
        of => report::print_error(format_args!("{resource} has {of} slots; say which with --slot, from 1 to {of}")),
    }
    Exit::Usage
}
