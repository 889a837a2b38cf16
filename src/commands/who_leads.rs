//! Who leads: in words, and as an exit status.

use crate::{
    exit::Exit,
    status::{ElectionStatus, LeaderStatus},
};

/// Returns the exit status that says whether an instance leads.
pub(super) fn exit(seen: &ElectionStatus) -> Exit {
    match seen.active_leader() {
        _ if !seen.known => Exit::NoQuorum,
        Some(_) => Exit::Command(0),
        None => Exit::NoLeader,
    }
}

/// Returns a text that says who leads, or why that isn't known.
pub(super) fn describe(seen: &ElectionStatus) -> String {
    let (votes, all, needed) = (seen.votes, seen.nodes.len(), seen.quorum);
    match &seen.leader {
        _ if !seen.known => {
            let answered = seen.nodes.iter().filter(|node| node.failure.is_none()).count();
            format!("not known: {answered} of {all} nodes answered, {needed} needed")
        }
        Some(LeaderStatus { holder, kept: true, safe_for, .. }) => {
            let left = safe_for.map(|left| format!(" for {:.1} s", left.as_secs_f64())).unwrap_or_default();
            format!("nobody leads; {holder} has led and keeps the lock{left} (--hold)")
        }
        Some(LeaderStatus { holder, since, token, safe_for, .. }) => {
            let safe = safe_for.map(|left| {
                let left = left.as_secs_f64();
                format!(", on {votes} of {all} nodes, {needed} needed; for {left:.1} s at least")
            });
            format!("{holder} leads since {since} with fencing token {token}{}", safe.unwrap_or_default())
        }
        None => "nobody leads".into(),
    }
}
