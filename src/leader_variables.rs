//! The variables by which a command knows its leader, and a leaderrun the one that it runs under.

use std::ffi::OsString;

use crate::lease::FencingToken;

/// The resource that the command's leaderrun leads.
pub(crate) const RESOURCE: &str = "LEADERRUN_RESOURCE";
/// The name of that leaderrun.
pub(crate) const HOLDER: &str = "LEADERRUN_HOLDER";
/// The fencing token of its leadership.
pub(crate) const TOKEN: &str = "LEADERRUN_FENCING_TOKEN";
/// The slot in which it leads, from 1.
pub(crate) const SLOT: &str = "LEADERRUN_SLOT";
/// How many slots there are.
pub(crate) const SLOTS: &str = "LEADERRUN_SLOTS";

/// All of them.
pub(crate) const ALL: [&str; 5] = [RESOURCE, HOLDER, TOKEN, SLOT, SLOTS];

/// Returns the value of a variable, unless it is empty, which counts as unset.
pub(crate) fn value_of(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Returns the variables that a leader has set for us, its command, to read: they aren't for our own options.
pub(crate) fn set_by_leader() -> &'static [&'static str] {
    if value_of(TOKEN).is_some() { &[HOLDER] } else { &[] }
}

/// The leader that a process runs under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeaderAround {
    pub holder: String,
    pub token: FencingToken,
}

/// Returns the leader of this resource that this process runs under, according to its environment.
pub(crate) fn leader_around(resource: &str) -> Option<LeaderAround> {
    let text = |name| value_of(name)?.into_string().ok();
    let token = text(TOKEN)?.parse().ok()?;
    (text(RESOURCE)? == resource).then_some(LeaderAround { holder: text(HOLDER)?, token })
}
