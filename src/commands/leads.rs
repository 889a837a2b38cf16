//! `--leads`: whether one instance leads, in any slot. The exit status is the answer.

use super::who_leads::exit;
use crate::{exit::Exit, observer::Observer, status::ElectionStatus};

/// Returns the exit status 0 if `holder` leads. Prints nothing.
pub(super) async fn ask(observer: &Observer, slots: u16, holder: &str) -> Exit {
    let seen = observer.look_at_all(slots).await;
    match exit(&seen) {
        Exit::Command(0)
            if !seen.iter().filter_map(ElectionStatus::active_leader).any(|leader| leader.holder == holder) =>
        {
            Exit::NoLeader
        }
        exit => exit,
    }
}
