//! Who leads: in words, and as an exit status.

use crate::{
    exit::Exit,
    lease::shown_nodes,
    status::{ElectionStatus, LeaderStatus, ListVotes},
};

/// Returns the exit status that says whether an instance leads, in one of the slots.
pub(super) fn exit(seen: &[ElectionStatus]) -> Exit {
    match seen.iter().find_map(ElectionStatus::active_leader) {
        _ if !seen.iter().all(|seen| seen.known) => Exit::NoQuorum,
        Some(_) => Exit::Command(0),
        None => Exit::NoLeader,
    }
}

/// Returns a text that says who leads, or why that isn't known.
pub(super) fn describe(seen: &ElectionStatus) -> String {
    if let Some(other) = &seen.other_servers {
        return format!("not known: {other}");
    }
    match &seen.leader {
        _ if !seen.known => format!("not known: {}", seen.turnout),
        Some(LeaderStatus { holder, kept: true, safe_for, .. }) => {
            let left = safe_for.map(|left| format!(" for {:.1} s", left.as_secs_f64())).unwrap_or_default();
            format!("nobody leads; {holder} has led and keeps the lock{left} (--hold)")
        }
        Some(LeaderStatus { holder, since, token, safe_for, .. }) => {
            let safe = safe_for.map(|left| {
                let left = left.as_secs_f64();
                let bare = if seen.bare_quorum { " (a bare quorum: one node less would lose it)" } else { "" };
                format!(", {}{bare}; for {left:.1} s at least", on(seen))
            });
            format!("{holder} leads since {since} with fencing token {token}{}", safe.unwrap_or_default())
        }
        None => "nobody leads".into(),
    }
}

/// Returns a text that says how many nodes elect the leader.
fn on(seen: &ElectionStatus) -> String {
    let ListVotes { votes, nodes, quorum, .. } = seen.now;
    let before = seen
        .before
        .map(|ListVotes { votes, nodes, quorum, .. }| format!(", and on {votes} of {nodes} before, {quorum} needed"));
    format!("on {votes} of {}, {quorum} needed{}", shown_nodes(nodes), before.unwrap_or_default())
}
