//! The time from the end of a leader's command, or from the death of a leader, to the start of the next command.

use std::time::Duration;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    crowd::Crowd,
    events::{gaps, now},
    table::{Table, median, spread},
    tools::Tool,
};

const HANDOVERS: usize = 30;

/// Measures handovers with a constant number of standbys. The first tool is what the others are compared with.
pub fn measure(tools: &[Tool], standbys: usize, table: &mut Table) {
    let mut least = None;
    for tool in tools {
        let mut crowd = Crowd::new(tool, &format!("handover{standbys}"), 80);
        crowd.join(standbys + 1);
        // Skips the first handovers, which happen while the crowd still gathers.
        std::thread::sleep(Duration::from_millis(500 + 20 * standbys as u64));
        let first = crowd.runs().len();
        let runs = crowd.wait_for(first + HANDOVERS + 1, true);
        let gaps = gaps(&runs[first..]);
        let middle = median(gaps.clone());
        let ratio = least.map_or(String::new(), |least: f64| format!(", {:.2} × the limit", middle / least));
        least.get_or_insert(middle);
        table.row(&format!("handover, {standbys} standbys"), &tool.name(), format!("{}{ratio}", spread(gaps)));
    }
}

/// Kills the wrapper of a leader with SIGKILL while two others stand by.
pub fn after_death(tools: &[(Tool, usize)], table: &mut Table) {
    for (tool, rounds) in tools {
        let mut took = Vec::new();
        let mut overlaps = 0;
        for round in 0..*rounds {
            let mut crowd = Crowd::new(tool, &format!("death{round}"), 4000);
            crowd.join(3);
            crowd.wait_for(1, false);
            std::thread::sleep(Duration::from_millis(150));
            let killed = now();
            kill(Pid::from_raw(crowd.leader()), Signal::SIGKILL).expect("the leader");
            let runs = crowd.wait_for(2, false);
            took.push((runs[1].start - killed) as f64 / 1e6);
            overlaps += usize::from(crowd.commands_alive() > 1);
        }
        let beside =
            if overlaps == 0 { String::new() } else { format!("; {overlaps} of {rounds} with two commands at once") };
        table.row("`kill -9` of a leader to the next start", &tool.name(), format!("{}{beside}", spread(took)));
    }
}
