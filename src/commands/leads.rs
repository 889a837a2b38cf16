//! `--leads`: whether one instance leads. The exit status is the answer.

use super::who_leads::exit;
use crate::{exit::Exit, observer::Observer};

/// Returns the exit status 0 if `holder` leads. Prints nothing.
pub(super) async fn ask(observer: &Observer, holder: &str) -> Exit {
    let seen = observer.look().await;
    match (exit(&seen), seen.active_leader()) {
        (Exit::Command(0), Some(leader)) if leader.holder != holder => Exit::NoLeader,
        (exit, _) => exit,
    }
}
