//! A command whose lease can't be extended is asked to stop, then killed, before anybody else can lead.

use std::time::Duration;

use crate::support::{Leaderrun, Running, Servers, Witness, Witnesses, eventually, monotonic, unique};

const TTL: Duration = Duration::from_secs(2);

/// A leader whose command notes SIGTERM but keeps running.
struct Leader {
    running: Running,
    witnesses: Witnesses,
    resource: String,
}

fn lead(servers: &Servers) -> Leader {
    lead_for(servers, TTL)
}

fn lead_for(servers: &Servers, ttl: Duration) -> Leader {
    let resource = unique("lost");
    let witnesses = Witnesses::new();
    let running = Leaderrun::on(servers, &resource, ttl).args(witnesses.command(&["ignore"])).spawn();
    witnesses.started(1);
    eventually("the lock on all nodes", || (servers.locked(&resource) == servers.0.len()).then_some(()));
    Leader { running, witnesses, resource }
}

/// Checks that the command is signalled and then killed before a lease ends that was last extended at `since`.
fn is_stopped_in_time(leader: Leader, since: u64) -> Witness {
    let output = leader.running.wait();
    assert_eq!(output.code(), 76, "{}", output.stderr);
    let lost = output.stderr.lines().filter(|l| l.contains("lost the lease")).count();
    assert_eq!(lost, 1, "one message: {}", output.stderr);
    let witness = leader.witnesses.all().pop().expect("a witness");
    let term = witness.term.expect("a signal before the kill");
    let kill_after = (TTL / 3).as_nanos() as u64;
    assert!(witness.last - term > kill_after / 2, "it had its time to stop: {witness:?}");
    let lease_end = since + (TTL.as_nanos() as u64) * 99 / 100;
    assert!(witness.last < lease_end, "alive {} ms after the lease", (witness.last - lease_end) / 1_000_000);
    witness
}

#[test]
fn a_majority_killed_ends_the_command_before_the_lease() {
    let mut servers = Servers::settled(3, TTL);
    let leader = lead(&servers);
    servers.0[0].kill();
    servers.0[2].kill();
    is_stopped_in_time(leader, monotonic());
}

#[test]
fn a_majority_frozen_ends_the_command_before_the_lease() {
    let servers = Servers::settled(3, TTL);
    let leader = lead(&servers);
    servers.0[1].freeze();
    servers.0[2].freeze();
    is_stopped_in_time(leader, monotonic());
}

#[test]
fn the_message_says_which_nodes_failed_and_why_once_each() {
    let mut servers = Servers::settled(3, TTL);
    let leader = lead(&servers);
    servers.0[0].kill();
    servers.0[2].freeze();
    let output = leader.running.wait();
    let told = format!(
        "lost the lease: 1 of 3 nodes extended it, 2 needed ({} refused the connection, {} timed out); stopping ",
        servers.0[0].url(),
        servers.0[2].url()
    );
    assert!(output.stderr.contains(&told), "{}", output.stderr);
}

#[test]
fn a_minority_killed_or_frozen_goes_unnoticed() {
    let mut servers = Servers::settled(5, TTL);
    let mut leader = lead(&servers);
    servers.0[0].kill();
    servers.0[4].freeze();
    let began = monotonic();
    eventually("two ttl to pass", || (monotonic() - began > 2 * TTL.as_nanos() as u64).then_some(()));
    assert!(!leader.running.has_ended());
    leader.witnesses.ticks_on();
    assert_eq!(leader.witnesses.all()[0].term, None);
    assert_eq!(leader.running.stderr(), "");
}

/// Returns how long an outage may last without ending the command. An extension is sent each ttl/3. The signal comes
/// kill-after (ttl/3) before the deadline, which is 1 %, 2 ms and the margin (ttl/50) before the ttl ends. The slack is
/// the time in between, less the time-out of one reply (ttl/20) and one pause before the next attempt (ttl/20).
fn slack(ttl: Duration) -> Duration {
    ttl - ttl / 100 - Duration::from_millis(2) - ttl / 50 - ttl / 3 - ttl / 3 - ttl / 20 - ttl / 20 - ttl / 20
}

#[test]
fn an_outage_of_a_majority_that_is_shorter_than_the_slack_goes_unnoticed() {
    // Long enough for a busy machine to stop, continue and start servers within the slack.
    let ttl = 3 * TTL;
    let mut servers = Servers::settled(3, ttl);
    let mut leader = lead_for(&servers, ttl);
    for _ in 0..4 {
        servers.0[0].freeze();
        servers.0[1].freeze();
        let since = monotonic();
        eventually("an outage", || (monotonic() - since > slack(ttl).as_nanos() as u64).then_some(()));
        servers.0[0].thaw();
        servers.0[1].thaw();
        leader.witnesses.ticks_on();
        eventually("an extension", || {
            let left: i64 = servers.0[1].query(&["PTTL", &format!("leaderrun:{}", leader.resource)]);
            (left as u128 > ttl.as_millis() * 9 / 10).then_some(())
        });
    }
    servers.0[1].start_again();
    servers.0[2].start_again();
    eventually("both keys restored", || (servers.locked(&leader.resource) == 3).then_some(()));
    assert!(!leader.running.has_ended());
    assert_eq!(leader.witnesses.all()[0].term, None);
    assert_eq!(leader.running.stderr(), "");
}

#[test]
fn a_lock_deleted_by_hand_is_restored() {
    let servers = Servers::settled(3, TTL);
    let mut leader = lead(&servers);
    let value = servers.0[0].lock(&leader.resource);
    for server in &servers.0 {
        server.query::<()>(&["DEL", &format!("leaderrun:{}", leader.resource)]);
    }
    eventually("the lock on all nodes again", || (servers.locked(&leader.resource) == 3).then_some(()));
    assert_eq!(servers.0[0].lock(&leader.resource), value);
    leader.witnesses.ticks_on();
    assert!(!leader.running.has_ended());
}

#[test]
fn a_lock_overwritten_on_a_quorum_ends_the_command_at_once() {
    let servers = Servers::settled(3, TTL);
    let leader = lead(&servers);
    let lock = format!("leaderrun:{}", leader.resource);
    servers.0[0].query::<()>(&["SET", &lock, "another", "PX", "10000"]);
    servers.0[1].query::<()>(&["SET", &lock, "another", "PX", "10000"]);
    let witness = is_stopped_in_time(leader, monotonic());
    assert!(witness.status.is_none());
    assert_eq!(servers.0[0].lock(lock.strip_prefix("leaderrun:").expect("our lock")).as_deref(), Some("another"));
}

#[test]
fn a_lock_overwritten_on_a_minority_goes_unnoticed() {
    let servers = Servers::settled(3, TTL);
    let mut leader = lead(&servers);
    let lock = format!("leaderrun:{}", leader.resource);
    servers.0[0].query::<()>(&["SET", &lock, "another", "PX", "1000"]);
    eventually("the lock to be ours again", || {
        servers.0[0].lock(&leader.resource).filter(|value| value.contains("holder"))
    });
    leader.witnesses.ticks_on();
    assert!(!leader.running.has_ended());
}
