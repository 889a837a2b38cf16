//! A campaign of faults: instances of several resources lead in turn while processes, servers and connections fail at
//! random. No two commands overlap, tokens increase, nothing is left over, and nobody waits for a leader longer than
//! the protocol's times allow.
//!
//! `tests/campaign --minutes M --seed S` runs it for longer than the everyday tests do.

#[path = "long/faults.rs"]
mod faults;
#[path = "long/instances.rs"]
mod instances;
#[path = "long/lists.rs"]
mod lists;
#[path = "long/meddling.rs"]
mod meddling;
#[path = "long/nodes.rs"]
mod nodes;
#[path = "long/verdict.rs"]
mod verdict;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use self::faults::Faults;
use self::instances::Resource;
use self::nodes::Nodes;
use crate::support::monotonic;

const TTL: Duration = Duration::from_secs(1);

/// The sizes of the clusters, and the cluster of each resource.
const CLUSTERS: [usize; 3] = [3, 1, 3];
const RESOURCES: [usize; 7] = [0, 0, 0, 0, 1, 1, 2];
const INSTANCES: usize = 4;

/// The resource whose list of nodes changes.
const CHANGED: usize = 6;

/// The resources whose leaders share counters.
const COUNTED: [usize; 2] = [0, 4];

/// The average time between two faults.
const BETWEEN_FAULTS: Duration = Duration::from_millis(500);

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |n| n.parse().expect(variable))
}

#[test]
fn whatever_fails_one_command_runs_at_a_time_and_somebody_leads() {
    let (seconds, seed) = (number("CAMPAIGN_SECONDS", 20), number("SEED", 1));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("campaign-{seed}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    println!("{seconds} seconds, seed {seed}; each instance's log is in {}", folder.display());

    let mut nodes = Nodes::start(&CLUSTERS, seed);
    let mut resources: Vec<Resource> = (0..)
        .zip(RESOURCES)
        .map(|(number, cluster)| Resource::start(number, &folder, cluster, nodes.urls(cluster), seed))
        .collect();
    let mut faults = Faults::new(seed, &folder);
    let began = monotonic();
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        resources.iter_mut().for_each(Resource::keep_up);
        faults.go_on(&mut nodes, &mut resources);
        nodes.note_quorum();
        resources.iter_mut().filter_map(|resource| resource.watch.look()).for_each(|wrong| println!("{wrong}"));
        std::thread::sleep(Duration::from_millis(5));
    }
    faults.end_all(&mut nodes, &mut resources);
    let ended = monotonic();
    let left_over: usize = resources.iter_mut().map(Resource::end).sum();
    let verdict = verdict::Verdict::of(&faults, &nodes, &resources, (began, ended), left_over);
    println!("{verdict}");
    verdict.assert_sound();
}
