//! Instances with different numbers of servers don't lead beside each other, and say what is wrong.

use std::time::Duration;

use crate::support::{Leaderrun, Mode, Proxy, Running, Server, Servers, Witnesses, eventually, unique};

/// A node that answers later than a twentieth of it isn't heard, also on a busy host.
const TTL: Duration = Duration::from_secs(8);

fn urls(servers: &[&Server]) -> String {
    servers.iter().map(|server| server.url()).collect::<Vec<_>>().join(",")
}

fn run(urls: &str, resource: &str) -> Leaderrun {
    Leaderrun::new().args(["-R", urls, "-r", resource, "-t", "8s", "--holder", "web-1"])
}

/// Starts a leader with the first list, and another instance with the second one.
fn changes(before: &[&Server], after: &[&Server]) {
    let (resource, witnesses) = (unique("list"), Witnesses::new());
    let leader = run(&urls(before), &resource).args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    let message =
        format!(" uses another number of nodes ({}) than this instance ({}); give all", before.len(), after.len());
    let tries = run(&urls(after), &resource).args(["--try"]).args(witnesses.command(&[])).spawn().wait();
    assert_eq!(tries.code(), 78, "{}", tries.stderr);
    let begins = format!("leaderrun: {resource}: web-1, whose lock is on redis://");
    assert!(tries.stderr.starts_with(&begins) && tries.stderr.contains(&message), "{}", tries.stderr);
    assert_eq!(tries.stderr.lines().count(), 1, "{}", tries.stderr);
    let waits = run(&urls(after), &resource).args(witnesses.command(&["drain", "1"])).spawn();
    waits.reports(": stands by: web-1, whose lock is on redis://");
    witnesses.ticks_on();
    assert_eq!(witnesses.all().len(), 1);
    witnesses.stop_last();
    assert_eq!(leader.wait().code(), 0);
    witnesses.started(2);
    witnesses.stop_last();
    assert_eq!(waits.wait().code(), 0);
    witnesses.check();
}

#[test]
fn from_one_server_to_three() {
    let Servers(all) = &Servers::settled(3, TTL);
    changes(&[&all[0]], &[&all[0], &all[1], &all[2]]);
}

#[test]
fn a_server_that_has_died_is_replaced_and_two_are_added() {
    let mut servers = Servers::settled(6, TTL);
    servers.0[2].kill();
    let all = &servers.0;
    changes(&[&all[0], &all[1], &all[2]], &[&all[0], &all[1], &all[3], &all[4], &all[5]]);
}

#[test]
fn from_three_servers_to_one() {
    let Servers(all) = &Servers::settled(3, TTL);
    changes(&[&all[0], &all[1], &all[2]], &[&all[2]]);
}

/// Starts a leader with three servers while the first one has a candidate's vote.
fn leads_beside_a_vote(all: &[Server], resource: &str) -> Running {
    let candidate = r#"{"id":"1","holder":"candidate","nodes":3}"#;
    all[0].query::<()>(&["SET", &format!("leaderrun:{resource}"), candidate, "PX", "60000"]);
    let leader = run(&urls(&[&all[0], &all[1], &all[2]]), resource).args(["-v", "--", "sleep", "1000"]).spawn();
    leader.reports(": leads");
    leader
}

#[test]
fn a_vote_that_is_given_back_is_the_leaders_before_its_next_extension() {
    let Servers(all) = &Servers::settled(3, TTL);
    let resource = unique("list");
    let key = format!("leaderrun:{resource}");
    let leader = leads_beside_a_vote(all, &resource);
    let left = |server: &Server| server.query::<i64>(&["PTTL", &key]);
    eventually("a part of the lease is over", || (left(&all[1]) < 7900).then_some(()));
    all[0].query::<()>(&["DEL", &key]);
    eventually("the leader's lock", || all[0].lock(&resource));
    // An extension would have written both at once.
    let [first, second] = [&all[0], &all[1]].map(left);
    assert!(first > second + 50, "{first} and {second} ms");
    leader.signal(nix::sys::signal::Signal::SIGTERM);
    leader.wait();
}

#[test]
fn one_that_finds_another_list_after_a_candidates_vote_stops() {
    let Servers(all) = &Servers::settled(3, TTL);
    let resource = unique("list");
    let leader = leads_beside_a_vote(all, &resource);
    let other = r#"{"id":"2","holder":"web-2","nodes":1}"#;
    all[0].query::<()>(&["SET", &format!("leaderrun:{resource}"), other, "PX", "60000"]);
    let leader = leader.wait();
    assert_eq!(leader.code(), 76, "{}", leader.stderr);
    assert!(leader.stderr.contains("lost the lease: web-2, whose lock is on redis://"), "{}", leader.stderr);
}

#[test]
fn one_that_could_not_reach_the_common_server_stops_when_it_can() {
    let Servers(all) = &Servers::settled(3, TTL);
    let (resource, proxy) = (unique("list"), Proxy::new(all[0].port, 1));
    proxy.set(Mode::Hold);
    let leader = run(&urls(&[&all[0]]), &resource).args(["-v", "--", "sleep", "1000"]).spawn();
    leader.reports(": leads");
    let three = format!("{},{}", proxy.url, urls(&[&all[1], &all[2]]));
    let other = run(&three, &resource).args(["-v", "--", "sleep", "1000"]).spawn();
    other.reports(": leads");
    proxy.set(Mode::Pass);
    let other = other.wait();
    assert_eq!(other.code(), 76, "{}", other.stderr);
    let why = "uses another number of nodes (1) than this instance (3); give all instances the same nodes (--redis), or change";
    assert!(other.stderr.contains("lost the lease: web-1, whose lock is on redis://"), "{}", other.stderr);
    assert!(other.stderr.contains(why), "{}", other.stderr);
}
