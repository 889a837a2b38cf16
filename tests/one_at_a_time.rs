//! No two commands of a resource run at the same time, whatever is killed, frozen or restarted.

use std::time::{Duration, Instant};

use crate::support::{Leaderrun, Running, Servers, Witnesses, unique};
use nix::sys::signal::Signal;

const TTL: Duration = Duration::from_secs(1);

/// Runs several instances that lead again and again until there have been `leaderships`, then ends them all.
fn lead_by_turns(servers: &Servers, resource: &str, instances: usize, leaderships: usize) {
    let witnesses = Witnesses::new();
    let start = |status: usize| {
        let status = (status % 100).to_string();
        let command = witnesses.command(&["for", "5", "exit", &status]);
        (status, Leaderrun::on(servers, resource, TTL).args(command).spawn())
    };
    let mut running: Vec<(String, Running)> = (0..instances).map(start).collect();
    let mut next = instances;
    let mut done = 0;
    while done < leaderships {
        let ended =
            crate::support::eventually("the end of a leadership", || running.iter_mut().position(|r| r.1.has_ended()));
        let (status, instance) = running.swap_remove(ended);
        let output = instance.wait();
        assert_eq!(output.code().to_string(), status, "{}", output.stderr);
        assert_eq!(output.stderr, "", "a quiet run");
        done += 1;
        if next < leaderships {
            running.push(start(next));
            next += 1;
        }
    }
    let all = witnesses.check();
    assert_eq!(all.len(), leaderships);
    assert!(all.iter().all(|w| w.status.is_some()));
    let left = ["fence", "last-success", "runs"].map(|key| format!("leaderrun:{resource}:{key}"));
    assert_eq!(servers.keys(), left, "nothing is left but fences and what has happened");
}

#[test]
fn five_instances_lead_two_hundred_times_one_after_another() {
    let servers = Servers::settled(3, TTL);
    lead_by_turns(&servers, &unique("turns"), 5, 200);
}

#[test]
fn every_number_of_nodes_elects_one_leader_at_a_time() {
    for nodes in [1, 2, 4, 5, 7] {
        let servers = Servers::settled(nodes, TTL);
        lead_by_turns(&servers, &unique("nodes"), 3, 12);
    }
}

/// Restarts a node empty under a leader again and again, while standbys wait to lead.
fn restart_under_a_leader(nodes: usize, restarts: usize) {
    let mut servers = Servers::settled(nodes, TTL);
    let resource = unique("restarts");
    let witnesses = Witnesses::new();
    let start = || Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(&[])).spawn();
    let leader = start();
    witnesses.started(1);
    let _standbys = [start(), start()];
    for restart in 0..restarts {
        let node = restart % nodes;
        servers.0[node].start_again();
        crate::support::eventually("the key to be restored", || servers.0[node].lock(&resource));
        witnesses.ticks_on();
    }
    assert_eq!(witnesses.check().len(), 1, "the leader continues: {}", leader.stderr());
}

#[test]
fn a_single_node_restarted_empty_under_a_leader_elects_no_second_leader() {
    restart_under_a_leader(1, 8);
}

#[test]
fn nodes_restarted_empty_one_after_another_under_a_leader_elect_no_second_leader() {
    restart_under_a_leader(3, 9);
}

#[test]
fn the_command_of_a_frozen_leader_is_dead_before_the_next_one_starts() {
    let servers = Servers::settled(3, TTL);
    let resource = unique("frozen");
    let witnesses = Witnesses::new();
    let start = || Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(&["ignore"])).spawn();
    let leader = start();
    witnesses.started(1);
    let _standby = start();
    leader.signal(Signal::SIGSTOP);
    let frozen = Instant::now();
    witnesses.started(2);
    // It wakes up long after its lease and must not touch another's lock.
    crate::support::eventually("three ttl to pass", || (frozen.elapsed() > 3 * TTL).then_some(()));
    leader.signal(Signal::SIGCONT);
    let output = leader.wait();
    assert_eq!(output.code(), 76, "{}", output.stderr);
    witnesses.ticks_on();
    assert_eq!(witnesses.check().len(), 2);
}

/// The instance is frozen between its election and the start of its command, until another has led.
#[test]
fn a_command_whose_lease_expires_before_it_starts_is_not_started() {
    let servers = Servers::settled(3, TTL);
    let resource = unique("late");
    let witnesses = Witnesses::new();
    let start =
        |what: &[&str]| Leaderrun::on(&servers, &resource, TTL).args(["-v"]).args(witnesses.command(what)).spawn();
    let first = start(&["for", "1500"]);
    witnesses.started(1);
    let late = start(&[]);
    let guard = late.guard();
    crate::support::eventually("its guard to wait", || (crate::support::state(guard) == 'S').then_some(()));
    crate::support::signal(guard, Signal::SIGSTOP);
    assert_eq!(first.wait().code(), 0);
    // The nodes may have voted before it knows.
    late.reports("leads with");
    late.signal(Signal::SIGSTOP);
    let next = start(&["for", "2500"]);
    witnesses.started(2);
    crate::support::signal(guard, Signal::SIGCONT);
    late.signal(Signal::SIGCONT);
    let output = late.wait();
    assert_eq!(output.code(), 76, "{}", output.stderr);
    assert_eq!(next.wait().code(), 0);
    assert_eq!(witnesses.check().len(), 2);
}

#[test]
fn a_killed_leader_is_followed_only_when_its_command_is_dead() {
    let servers = Servers::settled(3, TTL);
    let resource = unique("killed");
    let witnesses = Witnesses::new();
    let start = || Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(&["ignore"])).spawn();
    let mut leader = start();
    for leaderships in 1..=5 {
        witnesses.started(leaderships);
        let standby = start();
        leader.signal(Signal::SIGKILL);
        leader.wait();
        leader = standby;
    }
    witnesses.started(6);
    witnesses.check();
}
