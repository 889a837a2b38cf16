//! A lease that stands on just a quorum of the nodes is told, and is lost at once with one vote more.

use std::time::{Duration, Instant};

use crate::support::{LONG_TTL, Leaderrun, Server, Servers, Witnesses, eventually, unique};

#[test]
fn a_vote_that_another_has_is_gone_at_once() {
    let servers = Servers::settled(3, LONG_TTL);
    let (resource, witnesses) = (unique("bare"), Witnesses::new());
    servers.0[2].freeze();
    let run = Leaderrun::on(&servers, &resource, LONG_TTL).args(["-v"]);
    let leader = run.args(witnesses.command(&["drain", "1"])).spawn();
    leader.reports("the lease stands on 2 of 3 nodes, a bare quorum, without redis://");
    let before = leader.stderr().len();
    servers.0[1].query::<()>(&["SET", &format!("leaderrun:{resource}"), "another", "PX", "60000"]);
    let output = leader.wait();
    assert_eq!(output.code(), 76, "{}", output.stderr);
    assert!(!output.stderr[before..].contains("trying again"), "{}", output.stderr);
    assert_eq!(output.stderr.matches("a bare quorum").count(), 1, "{}", output.stderr);
    servers.0[2].thaw();
}

#[test]
fn a_vote_that_another_has_costs_a_lease_on_all_nodes_nothing() {
    let servers = Servers::settled(3, LONG_TTL);
    let (resource, witnesses) = (unique("all"), Witnesses::new());
    let run = Leaderrun::on(&servers, &resource, LONG_TTL).args(["-v"]);
    let mut leader = run.args(witnesses.command(&[])).spawn();
    witnesses.started(1);
    servers.0[1].query::<()>(&["SET", &format!("leaderrun:{resource}"), "another", "PX", "60000"]);
    leader.reports("the lease stands on 2 of 3 nodes, a bare quorum, without redis://");
    assert!(!leader.has_ended(), "{}", leader.stderr());
}

/// Until it has the lock, a leader with another list could be elected there.
#[test]
fn a_node_that_could_not_answer_an_election_has_the_lock_before_the_next_extension() {
    let ttl = 2 * LONG_TTL;
    let servers = Servers::settled(3, ttl);
    // A busy machine may be late for the moment between the two.
    let is_soon = (0..5).any(|_| {
        let (resource, witnesses) = (unique("soon"), Witnesses::new());
        servers.0[2].query::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        let leader = Leaderrun::on(&servers, &resource, ttl).args(witnesses.command(&["drain", "1"])).spawn();
        witnesses.started(1);
        let started = Instant::now();
        eventually("a moment", || (started.elapsed() > ttl / 12).then_some(()));
        servers.0[2].query::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
        eventually("the lock", || servers.0[2].lock(&resource));
        let [first, last] =
            [0, 2].map(|node: usize| servers.0[node].query::<u64>(&["PTTL", &format!("leaderrun:{resource}")]));
        witnesses.stop_last();
        assert_eq!(leader.wait().code(), 0);
        // An extension would have set both.
        Duration::from_millis(last.saturating_sub(first)) > ttl / 24
    });
    assert!(is_soon, "it has the lock only with an extension");
}

#[test]
fn a_node_that_has_just_started_counts_at_once_for_a_leader_whose_vote_it_had() {
    let mut servers = Servers::settled(3, LONG_TTL);
    let (resource, witnesses) = (unique("had"), Witnesses::new());
    let mut leader = Leaderrun::on(&servers, &resource, LONG_TTL).args(witnesses.command(&[])).spawn();
    witnesses.started(1);
    servers.0[2].start_again();
    eventually("the lock on the restarted node", || servers.0[2].lock(&resource));
    servers.0[1].freeze();
    for _ in 0..3 {
        servers.0[2].is_extended(&resource);
    }
    assert!(!leader.has_ended(), "{}", leader.stderr());
    servers.0[1].thaw();
}

/// It may have voted for a candidate just before, who counts on that.
#[test]
fn a_node_that_has_just_started_does_not_count_yet_for_a_leader_whose_vote_it_never_had() {
    let mut servers = Servers::settled(3, LONG_TTL);
    let (resource, witnesses) = (unique("young"), Witnesses::new());
    servers.0[2].kill();
    let leader = Leaderrun::on(&servers, &resource, LONG_TTL).args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    servers.0[2].start_again();
    servers.0[0].is_extended(&resource);
    servers.0[1].freeze();
    let output = leader.wait();
    assert_eq!(output.code(), 76, "{}", output.stderr);
    assert!(output.stderr.contains("has just started and votes in "), "{}", output.stderr);
    assert_eq!(servers.0[2].lock(&resource), None);
    servers.0[1].thaw();
}

/// What it has may be older than a vote for a candidate that counts on it.
#[test]
fn a_node_that_has_just_started_with_old_data_does_not_count_yet_either() {
    let mut servers = Servers::settled(3, LONG_TTL);
    let (resource, witnesses) = (unique("old"), Witnesses::new());
    servers.0[2].kill();
    let leader = Leaderrun::on(&servers, &resource, LONG_TTL).args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    let value = servers.0[0].lock(&resource).expect("a lock");
    servers.0[2].start_again();
    servers.0[2].query::<()>(&["SET", &format!("leaderrun:{resource}"), &value, "PX", "60000"]);
    for _ in 0..2 {
        servers.0[2].is_extended(&resource);
    }
    servers.0[1].freeze();
    let output = leader.wait();
    assert_eq!(output.code(), 76, "{}", output.stderr);
    assert!(output.stderr.contains("has just started and votes in "), "{}", output.stderr);
    servers.0[1].thaw();
}

/// Its uptime counts from a time that its clock shows only an hour later.
#[test]
fn a_node_whose_clock_is_set_back_after_its_start_counts_once_the_leader_has_known_it_for_the_startup_grace() {
    let mut servers = Servers::start(2);
    servers.0.push(Server::with_clock().expect("libfaketime (tests/run installs it)"));
    servers.0.iter().for_each(|server| server.settle(LONG_TTL));
    let (resource, witnesses) = (unique("back"), Witnesses::new());
    let run = Leaderrun::on(&servers, &resource, LONG_TTL).args(["-v"]);
    let leader = run.args(witnesses.command(&[])).spawn();
    witnesses.started(1);
    servers.0[2].kill();
    leader.reports("the lease stands on 2 of 3 nodes, a bare quorum, without redis://");
    servers.0[2].set_clock(3_600_000);
    servers.0[2].start_again();
    servers.0[2].set_clock(0);
    eventually("the lock on the node", || servers.0[2].lock(&resource));
}
