//! Whoever may publish on a lock's channel can make a standby look, and no more.

use std::time::Instant;

use redis::Client;

use crate::support::{LONG_TTL, Leaderrun, Running, Servers, Witnesses, eventually, unique};

/// Starts nodes that have a user who may publish and do nothing else.
fn with_a_forger() -> Servers {
    let servers = Servers::settled(3, LONG_TTL);
    let user = ["ACL", "SETUSER", "forger", "on", "nopass", "resetchannels", "&leaderrun:*", "-@all", "+publish"];
    servers.0.iter().for_each(|server| server.query::<()>(&user));
    servers
}

/// Publishes a message on all nodes, as that user.
fn publish(servers: &Servers, resource: &str, message: &str) {
    for server in &servers.0 {
        let forger = Client::open(format!("redis://forger:any@127.0.0.1:{}", server.port)).expect("a URL");
        let mut forger = forger.get_connection().expect("a connection");
        redis::cmd("PUBLISH").arg(format!("leaderrun:{resource}")).arg(message).exec(&mut forger).expect("a right");
    }
}

/// Starts a standby that says with -v what each round has given, and waits until it listens.
fn standby(servers: &Servers, resource: &str, more: &[&str], command: &[String]) -> Running {
    let standby = Leaderrun::on(servers, resource, LONG_TTL).args(["-vv"]).args(more).args(command).spawn();
    servers.listened_to(resource, 1);
    standby
}

/// Publishes a message, and waits until a standby has certainly heard it: it looks for that and for another, and at times by
/// itself.
fn is_heard(standby: &Running, servers: &Servers, resource: &str, message: &str) {
    let looks = || standby.stderr().matches("lost a round").count();
    let before = looks();
    publish(servers, resource, message);
    publish(servers, resource, "released 1 a gate");
    eventually("two looks", || {
        publish(servers, resource, "released 1 a gate");
        (looks() >= before + 2).then_some(())
    });
}

#[test]
fn a_forged_release_makes_no_second_leader() {
    let servers = with_a_forger();
    let (resource, witnesses) = (unique("forged"), Witnesses::new());
    let leader = Leaderrun::on(&servers, &resource, LONG_TTL).args(witnesses.command(&[])).spawn();
    witnesses.started(1);
    let standby = standby(&servers, &resource, &[], &witnesses.command(&[]));
    let value = servers.0[0].lock(&resource).expect("a lock");
    // What the value shows to everybody proves nothing.
    let parts: Vec<&str> = value.split('"').filter(|part| part.len() >= 32).collect();
    assert_eq!(parts.len(), 2, "an id and a hash: {value}");
    for proof in [value.as_str()].into_iter().chain(parts) {
        for word in ["wake", "released"] {
            is_heard(&standby, &servers, &resource, &format!("{word} 1 {proof}"));
        }
    }
    witnesses.ticks_on();
    assert_eq!(witnesses.check().len(), 1);
    drop(leader);
}

#[test]
fn a_forged_success_ends_no_standby() {
    let servers = with_a_forger();
    let (resource, witnesses) = (unique("success"), Witnesses::new());
    let once = ["--once-per", "1d"];
    let _leader = Leaderrun::on(&servers, &resource, LONG_TTL).args(once).args(witnesses.command(&[])).spawn();
    witnesses.started(1);
    let mut standby = standby(&servers, &resource, &once, &witnesses.command(&[]));
    is_heard(&standby, &servers, &resource, "done 1 x");
    assert!(!standby.has_ended(), "{}", standby.stderr());
}

#[test]
fn forged_votes_and_holds_delay_no_takeover_for_long() {
    let servers = &with_a_forger();
    std::thread::scope(|scope| {
        for message in ["held 1 31536000000", "held 1 18446744073709551615", "acquired ", "held 4000000000 1"] {
            scope.spawn(move || is_followed(servers, message));
        }
    });
}

/// Repeats a message to a standby that waits for a lock to expire.
fn is_followed(servers: &Servers, message: &str) {
    let (resource, witnesses) = (unique("delay"), Witnesses::new());
    for server in &servers.0 {
        server.query::<()>(&["SET", &format!("leaderrun:{resource}"), "another", "PX", "3000"]);
    }
    let _standby = Leaderrun::on(servers, &resource, LONG_TTL).args(witnesses.command(&[])).spawn();
    servers.listened_to(&resource, 1);
    let began = Instant::now();
    eventually("a leader", || {
        publish(servers, &resource, message);
        (!witnesses.all().is_empty()).then_some(())
    });
    // The lock that was seen, a ttl more, and another look.
    assert!(began.elapsed() < 4 * LONG_TTL, "{message}: {:?}", began.elapsed());
}
