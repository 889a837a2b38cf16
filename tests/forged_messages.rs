//! Whoever may publish on a lock's channel can make a standby look, and no more.

mod support;

use std::time::{Duration, Instant};

use support::{LONG_TTL, Leaderrun, Running, Servers, Witnesses, eventually, unique};

const TTL: Duration = Duration::from_secs(1);

fn publish(servers: &Servers, resource: &str, message: &str) {
    for server in &servers.0 {
        server.query::<()>(&["PUBLISH", &format!("leaderrun:{resource}"), message]);
    }
}

/// Starts a standby that says with -v what each round has given, and waits until it listens.
fn standby(servers: &Servers, resource: &str, more: &[&str], command: &[String]) -> Running {
    let standby = Leaderrun::on(servers, resource, LONG_TTL).args(["-vv"]).args(more).args(command).spawn();
    servers.listened_to(resource, 1);
    standby
}

/// Waits until a standby has looked so often.
fn looked(standby: &Running, times: usize) {
    eventually("a look", || (standby.stderr().matches("lost a round").count() >= times).then_some(()));
}

#[test]
fn a_forged_release_makes_no_second_leader() {
    let servers = Servers::settled(3, LONG_TTL);
    let (resource, witnesses) = (unique("forged"), Witnesses::new());
    let leader = Leaderrun::on(&servers, &resource, LONG_TTL).args(witnesses.command(&[])).spawn();
    witnesses.started(1);
    let standby = standby(&servers, &resource, &[], &witnesses.command(&[]));
    let value = servers.0[0].lock(&resource).expect("a lock");
    looked(&standby, 2);
    // What the value shows to everybody proves nothing.
    let parts: Vec<&str> = value.split('"').filter(|part| part.len() >= 32).collect();
    for (times, proof) in [value.as_str()].into_iter().chain(parts).enumerate() {
        publish(&servers, &resource, &format!("released 1 {proof}"));
        looked(&standby, 3 + times);
    }
    witnesses.ticks_on();
    assert_eq!(witnesses.check().len(), 1);
    drop(leader);
}

#[test]
fn a_forged_success_ends_no_standby() {
    let servers = Servers::settled(3, LONG_TTL);
    let (resource, witnesses) = (unique("success"), Witnesses::new());
    let once = ["--once-per", "1d"];
    let _leader = Leaderrun::on(&servers, &resource, LONG_TTL).args(once).args(witnesses.command(&[])).spawn();
    witnesses.started(1);
    let mut standby = standby(&servers, &resource, &once, &witnesses.command(&[]));
    looked(&standby, 2);
    publish(&servers, &resource, "done 1 x");
    looked(&standby, 3);
    assert!(!standby.has_ended(), "{}", standby.stderr());
}

#[test]
fn forged_votes_and_holds_delay_no_takeover_for_long() {
    let servers = Servers::settled(3, TTL);
    for message in ["held 1 31536000000", "held 1 18446744073709551615", "acquired ", "held 4000000000 1"] {
        let (resource, witnesses) = (unique("delay"), Witnesses::new());
        for server in &servers.0 {
            server.query::<()>(&["SET", &format!("leaderrun:{resource}"), "another", "PX", "1000"]);
        }
        let _standby = Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(&[])).spawn();
        servers.listened_to(&resource, 1);
        let began = Instant::now();
        eventually("a leader", || {
            publish(&servers, &resource, message);
            (!witnesses.all().is_empty()).then_some(())
        });
        // The lock that was seen, a ttl more, and a round.
        assert!(began.elapsed() < 3 * TTL, "{message}: {:?}", began.elapsed());
    }
}
