//! The variables by which a command knows its leader, and a leaderrun those that it runs under.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

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
/// All leaders that the command runs under, the outermost first. The others name the innermost alone, and a script may set
/// them for the next leaderrun.
pub(crate) const WITHIN: &str = "LEADERRUN_WITHIN";

/// All of them.
pub(crate) const ALL: [&str; 6] = [RESOURCE, HOLDER, TOKEN, SLOT, SLOTS, WITHIN];

/// Returns the value of a variable, unless it is empty, which counts as unset.
pub(crate) fn value_of(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Returns the variables that a leader has set for us, its command, to read: they aren't for our own options.
pub(crate) fn set_by_leader() -> &'static [&'static str] {
    if value_of(TOKEN).is_some() { &[HOLDER] } else { &[] }
}

/// A leader that a process runs under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaderAround {
    pub resource: String,
    pub holder: String,
    /// That with which it was elected.
    pub token: FencingToken,
}

impl LeaderAround {
    /// Returns whether a leader with this holder and token, which keeps us from leading `resource`, is this one.
    pub(crate) fn is(&self, resource: &str, holder: &str, token: FencingToken) -> bool {
        // A token grows with its lease. One that is the same shows the leader where one lock has several names, as a file has.
        let is_its_token = token == self.token || (token > self.token && resource == self.resource);
        holder == self.holder && is_its_token
    }
}

/// Returns the leaders that this process runs under, according to its environment.
pub(crate) fn leaders_around() -> Vec<LeaderAround> {
    let text = std::env::var(WITHIN).ok();
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// Returns the value that says the same to a command.
pub(crate) fn shown(leaders: &[LeaderAround]) -> String {
    serde_json::to_string(leaders).unwrap_or_default()
}
