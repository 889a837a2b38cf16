//! The search through all states of the model.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::runtime::Builder;

use super::{
    state::{Budget, State},
    steps::{Model, Step},
};
use crate::lease::Times;

/// What a search has found.
pub struct Found {
    pub states: usize,
    pub steps: u64,
    /// Whether there are no more states.
    pub is_complete: bool,
    /// What goes wrong, and the way there.
    pub wrong: Option<(String, Vec<Step>)>,
}

/// A search, depth first.
struct Search {
    model: Model,
    /// Hashes of the states, of which no two of a billion are likely to be equal.
    seen: HashSet<u128>,
    hashes: [RandomState; 2],
    most: usize,
    steps: u64,
    path: Vec<Step>,
}

/// Goes through all states with so many nodes and so much to happen, but no more than `most`. The order follows from the seed.
pub fn explore(nodes: usize, budget: Budget, most: usize, seed: u64) -> Found {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let _time_stands_still = runtime.enter();
    let times = Times::new(Duration::from_secs(10), None).expect("times that fit");
    let mut search = Search {
        model: Model::new(times, nodes, budget),
        seen: HashSet::new(),
        hashes: [RandomState::new(), RandomState::new()],
        most,
        steps: 0,
        path: Vec::new(),
    };
    fastrand::seed(seed);
    let first = search.model.first();
    let wrong = search.visit(&first).err().map(|wrong| (wrong, search.path.clone()));
    let states = search.seen.len();
    Found { states, steps: search.steps, is_complete: wrong.is_none() && states < most, wrong }
}

impl Search {
    /// Goes on from a state.
    ///
    /// # Errors
    /// What goes wrong there or later.
    fn visit(&mut self, state: &State) -> Result<(), String> {
        let [low, high] = [0, 1].map(|index: usize| u128::from(self.hashes[index].hash_one(state)));
        if self.seen.len() >= self.most || !self.seen.insert(high << 64 | low) {
            return Ok(());
        }
        let mut steps = self.model.possible(state);
        fastrand::shuffle(&mut steps);
        for step in steps {
            self.steps += 1;
            self.path.push(step);
            let after = self.model.after(state, step)?;
            self.visit(&after)?;
            self.path.pop();
        }
        Ok(())
    }
}
