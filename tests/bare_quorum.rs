//! A lease that stands on just a quorum of the nodes is told, and is lost at once with one vote more.

use crate::support::{LONG_TTL, Leaderrun, Servers, Witnesses, eventually, unique};

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
