//! Every interleaving, in the small: two candidates and up to four nodes, with bounded numbers of campaigns, extensions,
//! releases, restarts and forgeries. Messages arrive in any order and after any time. One that doesn't arrive is lost, so any
//! number of them may be; and a leader that does nothing more stands for one whose machine has crashed.
//!
//! The scripts are those that ship, and so is all that decides on their answers. What is written here a second time is only
//! when a candidate asks. Time passes in half ttls.
//!
//! STATES=N also goes through more than a test has time for: up to N states of each kind.

mod decisions;
mod forgetting;
mod nodes;
mod search;
mod state;
mod steps;

use std::time::Instant;

use self::{
    search::{Found, explore},
    state::Budget,
};
use crate::broken::leave_out;

const NOTHING: Budget =
    Budget { campaigns: 1, extensions: 0, ticks: 0, releases: 0, restarts: 0, reverts: 0, forgeries: 0 };

/// How many nodes, and what happens: few enough states for each to be reached in a test.
const SMALL: &[(usize, Budget)] = &[
    (1, Budget { extensions: 1, ticks: 2, releases: 1, ..NOTHING }),
    (1, Budget { campaigns: 2, ticks: 1, restarts: 1, ..NOTHING }),
    (2, Budget { extensions: 1, ticks: 1, releases: 1, ..NOTHING }),
    (2, Budget { releases: 1, forgeries: 1, ..NOTHING }),
    (3, Budget { releases: 1, restarts: 1, ..NOTHING }),
    (3, Budget { releases: 1, reverts: 1, ..NOTHING }),
    (4, Budget { releases: 1, restarts: 1, ..NOTHING }),
];

/// The same, for as long as there is time. A node's startup grace takes three ticks.
const LARGE: &[(usize, Budget)] = &[
    (1, Budget { campaigns: 2, extensions: 1, ticks: 4, releases: 1, restarts: 1, ..NOTHING }),
    (1, Budget { campaigns: 2, extensions: 2, ticks: 3, releases: 1, forgeries: 1, ..NOTHING }),
    (2, Budget { campaigns: 2, extensions: 1, ticks: 1, releases: 1, restarts: 1, ..NOTHING }),
    (2, Budget { extensions: 1, ticks: 4, releases: 1, restarts: 1, ..NOTHING }),
    (3, Budget { extensions: 1, ticks: 2, restarts: 1, ..NOTHING }),
    (3, Budget { extensions: 2, ticks: 3, restarts: 1, ..NOTHING }),
    (3, Budget { extensions: 1, ticks: 1, releases: 1, restarts: 1, ..NOTHING }),
    (3, Budget { campaigns: 2, releases: 1, restarts: 1, ..NOTHING }),
    (4, Budget { extensions: 1, releases: 1, restarts: 1, ..NOTHING }),
    (4, Budget { campaigns: 2, releases: 1, restarts: 1, ..NOTHING }),
    (4, Budget { extensions: 1, ticks: 1, releases: 1, restarts: 1, ..NOTHING }),
    (1, Budget { campaigns: 2, extensions: 1, ticks: 3, reverts: 1, ..NOTHING }),
    (3, Budget { extensions: 1, ticks: 2, reverts: 1, ..NOTHING }),
    (3, Budget { campaigns: 2, reverts: 1, ..NOTHING }),
    (3, Budget { campaigns: 2, extensions: 1, ticks: 2, reverts: 1, ..NOTHING }),
    (3, Budget { extensions: 1, ticks: 4, releases: 1, restarts: 1, ..NOTHING }),
    (4, Budget { campaigns: 2, extensions: 1, ticks: 4, releases: 1, restarts: 1, reverts: 0, forgeries: 1 }),
];

/// How many states a mutation may take to be found.
const MOST: usize = 100_000;

/// Goes through the states of one kind, and says how many there are.
fn check(nodes: usize, budget: Budget, most: usize) -> usize {
    let began = Instant::now();
    let Found { states, steps, is_complete, wrong } = explore(nodes, budget, most, 0);
    let all = if is_complete { "all" } else { "the first" };
    println!("{nodes} nodes, {budget:?}: {all} {states} states, {steps} steps, in {:?}", began.elapsed());
    assert!(wrong.is_none(), "{nodes} nodes: {wrong:#?}");
    states
}

#[test]
fn no_interleaving_breaks_a_promise() {
    leave_out(std::env::var("BROKEN").map_or("", |rule| rule.leak()));
    let states: usize = SMALL.iter().map(|(nodes, budget)| check(*nodes, *budget, usize::MAX)).sum();
    assert!(states > 1_000, "too little happened");
    if let Some(most) = super::number("STATES") {
        for (nodes, budget) in LARGE {
            check(*nodes, *budget, most as usize);
        }
    }
}

#[test]
fn a_missing_rule_is_found_in_the_small() {
    let late = Budget { campaigns: 2, ticks: 1, releases: 1, ..NOTHING };
    let restart = Budget { extensions: 1, ticks: 2, restarts: 1, ..NOTHING };
    // With the seed of an order that finds it soon.
    let rules = [
        ("startup_grace", 1, Budget { restarts: 1, ..NOTHING }, 0),
        ("restored_young", 3, restart, 37),
        ("token_check", 1, late, 0),
        ("release_check", 1, late, 0),
        ("release_proof", 1, Budget { forgeries: 1, ..NOTHING }, 0),
        ("configured_nodes", 2, Budget { ticks: 1, ..NOTHING }, 0),
        ("tie", 2, NOTHING, 0),
    ];
    for (rule, nodes, budget, seed) in rules {
        leave_out(rule);
        let Found { states, wrong, .. } = explore(nodes, budget, MOST, seed);
        let Some((wrong, path)) = wrong else { panic!("{states} states did not show that a rule is missing: {rule}") };
        println!("{rule}: {wrong}, after {states} states: {path:?}");
    }
}
