//! An instance whose ttl, or number of servers, is another than its leader's is told so, by -v and --check.

use crate::support::{LONG_TTL, Leaderrun, Servers, Witnesses, eventually, unique};

#[test]
fn another_ttl_is_told_once() {
    let servers = Servers::settled(3, 2 * LONG_TTL);
    let (resource, witnesses) = (unique("ttl"), Witnesses::new());
    let leader = Leaderrun::on(&servers, &resource, LONG_TTL).args(["--holder", "web-1"]);
    let _leader = leader.args(witnesses.command(&[])).spawn();
    witnesses.started(1);
    let other = || Leaderrun::on(&servers, &resource, 2 * LONG_TTL);
    let standby = other().args(["-vv"]).args(witnesses.command(&[])).spawn();
    eventually("three rounds", || (standby.stderr().matches("lost a round").count() >= 3).then_some(()));
    let told = ": web-1 has --ttl 3s, but this instance 6s; give all instances the same\n";
    assert_eq!(standby.stderr().matches(told).count(), 1, "{}", standby.stderr());
    let check = other().args(["--check"]).output();
    assert_eq!(check.code(), 1, "{}", check.stdout);
    let found = "has the lock of web-1, which has --ttl 3s, but this instance 6s: give all instances the same --ttl\n";
    assert_eq!(check.stdout.matches(found).count(), 3, "{}", check.stdout);
    let same = Leaderrun::on(&servers, &resource, LONG_TTL).args(["--check"]).output();
    assert!(!same.stdout.contains("--ttl"), "{}", same.stdout);
}

#[test]
fn another_number_of_servers_is_told_by_check() {
    let servers = Servers::settled(3, LONG_TTL);
    let (resource, witnesses) = (unique("number"), Witnesses::new());
    let leader = Leaderrun::on(&servers, &resource, LONG_TTL).args(["--holder", "web-1"]);
    let _leader = leader.args(witnesses.command(&[])).spawn();
    witnesses.started(1);
    eventually("the lock on all nodes", || (servers.locked(&resource) == 3).then_some(()));
    let check = Leaderrun::new().args(["-R", &servers.0[0].url(), "-r", &resource, "-t", "3s", "--check"]).output();
    assert_eq!(check.code(), 1, "{}", check.stdout);
    let found = "has the lock of web-1, which uses another number of nodes (3) than this instance (1): give all instances the same --redis";
    assert!(check.stdout.contains(found), "{}", check.stdout);
}
