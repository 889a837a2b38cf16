//! A node behind real Sentinels: failovers of every kind, an old master that comes back, and frozen Sentinels.
//!
//! FAILOVERS=N runs more failovers than fit in the everyday tests.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use crate::support::{Group, LONG_TTL, Leaderrun, NAME, Sentinel, Server, Witnesses, eventually, unique};
use nix::sys::signal::Signal;

const TTL: Duration = Duration::from_secs(1);

/// What makes the Sentinels choose another master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The master is killed; it comes back empty once another leads.
    Killed,
    /// The master is frozen, and continues as if nothing had happened once another leads.
    Frozen,
    /// Somebody requests the failover; the master is well.
    Asked,
}

fn fail_over(group: &mut Group, cause: Cause, led_again: impl Fn()) {
    let old = eventually("a master", || group.master());
    match cause {
        Cause::Killed => group.servers[old].kill(),
        Cause::Frozen => group.servers[old].freeze(),
        Cause::Asked => group.fail_over(),
    }
    group.master_other_than(old);
    led_again();
    match cause {
        Cause::Killed => group.servers[old].start_again(),
        Cause::Frozen => group.servers[old].thaw(),
        Cause::Asked => {}
    }
    // Leaders come and go while the old master comes back, until the Sentinels have made it a replica.
    group.sentinels.iter().for_each(Sentinel::thaw);
    group.is_whole();
}

#[test]
fn commands_never_overlap_through_failovers_of_the_only_node() {
    let failovers: usize = std::env::var("FAILOVERS").map_or(3, |n| n.parse().expect("a number of failovers"));
    let mut group = Group::settled(TTL);
    let (witnesses, resource, over) = (Witnesses::new(), unique("failovers"), AtomicBool::new(false));
    let url = group.url();
    let instance = || {
        while !over.load(Relaxed) {
            let job = witnesses.command(&["for", "300"]);
            Leaderrun::new().args(["-t", "1s", "-w", "10s", "-R", &url, "-r", &resource]).args(job).output();
        }
    };
    let led_again = || {
        let before = witnesses.all().len();
        witnesses.started(before + 2);
    };
    thread::scope(|scope| {
        (0..3).for_each(|_| drop(scope.spawn(instance)));
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            led_again();
            for number in 0..failovers {
                // When one Sentinel is frozen, the other two are enough.
                if number % 2 == 1 {
                    group.sentinels[number % 3].freeze();
                }
                let cause = [Cause::Frozen, Cause::Killed, Cause::Asked][number % 3];
                fail_over(&mut group, cause, led_again);
                witnesses.check();
            }
        }));
        over.store(true, Relaxed);
        if let Err(panic) = failed {
            std::panic::resume_unwind(panic);
        }
    });
    let leaderships = witnesses.check().len();
    println!("{failovers} failovers, {leaderships} leaderships, 0 overlaps");
}

#[test]
fn a_leader_on_three_nodes_survives_a_failover_of_one_and_restores_its_lock_on_the_new_master() {
    let plain = [Server::start(), Server::start()];
    let mut group = Group::settled(TTL);
    plain.iter().for_each(|server| server.settle(TTL));
    let (witnesses, resource) = (Witnesses::new(), unique("outlives"));
    let urls = [plain[0].url(), group.url(), plain[1].url()].join(",");
    let leader = Leaderrun::new().args(["-t", "1s", "-R", &urls, "-r", &resource]);
    let leader = leader.args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    let old = eventually("a master", || group.master());
    group.servers[old].kill();
    let new = group.master_other_than(old);
    eventually("the lock on the new master", || group.servers[new].lock(&resource));
    // Once the new master counts, one of the other two may fail.
    let check = || Leaderrun::new().args(["--check", "-t", "1s", "-R", &urls]).output();
    eventually("the new master to count", || (check().code() == 0).then_some(()));
    (0..2).for_each(|_| group.servers[new].is_extended(&resource));
    plain[0].freeze();
    let began = std::time::Instant::now();
    eventually("three ttl", || (began.elapsed() > 3 * TTL).then_some(()));
    witnesses.ticks_on();
    plain[0].thaw();
    assert_eq!(witnesses.all().len(), 1, "{}", leader.stderr());
    witnesses.stop_last();
    let output = leader.wait();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
}

#[test]
fn a_standby_that_slept_through_a_failover_does_not_lead_on_the_old_master() {
    let group = Group::settled(TTL);
    let (witnesses, resource) = (Witnesses::new(), unique("slept"));
    let start = || {
        let options = ["-t", "1s", "-R", &group.url(), "-r", &resource];
        Leaderrun::new().args(options).args(witnesses.command(&["drain", "1"])).spawn()
    };
    let leader = start();
    witnesses.started(1);
    let old = eventually("a master", || group.master());
    let sleeper = start();
    let channel = format!("leaderrun:{resource}");
    eventually("the standby to listen", || {
        let listen: (String, u32) = group.servers[old].query(&["PUBSUB", "NUMSUB", &channel]);
        (listen.1 == 1).then_some(())
    });
    sleeper.signal(Signal::SIGSTOP);
    group.servers[old].freeze();
    group.master_other_than(old);
    assert_eq!(leader.wait().code(), 76);
    let mut second = start();
    witnesses.started(2);
    // Its lock on the old master has expired, and its connection to it still exists.
    group.servers[old].thaw();
    sleeper.signal(Signal::SIGCONT);
    let began = std::time::Instant::now();
    eventually("three ttl", || (began.elapsed() > 3 * TTL).then_some(()));
    assert!(!second.has_ended(), "{}", second.stderr());
    assert_eq!(witnesses.check().len(), 2);
}

#[test]
fn a_new_master_grants_nothing_for_a_ttl() {
    let group = Group::settled(Duration::from_secs(1));
    let old = eventually("a master", || group.master());
    group.fail_over();
    group.master_other_than(old);
    let run = || {
        let options = ["-n", "-t", "10s", "-R", &group.url(), "-r", &unique("young"), "--", "true"];
        Leaderrun::new().args(options).output()
    };
    let output =
        eventually("the new master's answer", || Some(run()).filter(|output| output.stderr.contains("new master")));
    assert_eq!(output.code(), 69);
    assert!(output.stderr.contains("has a new master, which votes in "), "{}", output.stderr);
}

#[test]
fn a_new_master_is_not_asked_for_votes_that_would_only_keep_others_from_theirs() {
    let group = Group::settled(Duration::from_secs(1));
    let old = eventually("a master", || group.master());
    group.fail_over();
    let new = group.master_other_than(old);
    let options = ["-v", "-w", "60s", "-t", "3s", "-R", &group.url(), "-r", &unique("asked")];
    let candidate = Leaderrun::new().args(options).shell("exit 0");
    candidate.reports("has a new master, which votes in ");
    let stats = group.servers[new].query::<String>(&["INFO", "commandstats"]);
    assert!(!stats.contains("cmdstat_set:"), "{stats}");
    assert_eq!(candidate.wait().code(), 0);
}

#[test]
fn a_new_master_still_says_who_leads_and_what_has_succeeded() {
    let ttl = Duration::from_secs(4);
    let group = Group::settled(ttl);
    let (resource, done, witnesses) = (unique("known"), unique("done"), Witnesses::new());
    let run = |resource: &str| Leaderrun::new().args(["-t", "4s", "-R", &group.url(), "-r", resource]);
    assert_eq!(run(&done).args(["--once-for", "today", "true"]).output().code(), 0);
    let leader = run(&resource).args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    let old = eventually("a master", || group.master());
    group.fail_over();
    group.master_other_than(old);
    let output = run(&done).args(["-n", "--once-for", "today", "false"]).output();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
    let output = eventually("the leader on the new master", || {
        Some(run(&resource).args(["-n", "true"]).output()).filter(|output| output.code() != 69)
    });
    assert_eq!(output.code(), 75, "{}", output.stderr);
    witnesses.stop_last();
    assert_eq!(leader.wait().code(), 0, "the lead was lost");
}

#[test]
fn the_guard_of_a_dead_elector_records_a_success_on_a_new_master() {
    let group = Group::settled(LONG_TTL);
    let (resource, witnesses) = (unique("guard"), Witnesses::new());
    let options = ["-t", "5s", "--once-per", "1h", "-R", &group.url(), "-r", &resource];
    let leader = Leaderrun::new().args(options).args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    let old = eventually("a master", || group.master());
    group.fail_over();
    let new = group.master_other_than(old);
    group.servers[new].is_extended(&resource);
    leader.signal(Signal::SIGSTOP);
    witnesses.stop_last();
    eventually("the end of the job", || (witnesses.successes() == 1).then_some(()));
    leader.signal(Signal::SIGKILL);
    eventually("the record", || group.servers[new].get(&format!("{resource}:done")));
    assert_eq!(leader.wait().code(), 137);
}

#[test]
fn without_a_majority_of_the_sentinels_the_node_has_no_vote_and_that_is_reported() {
    let mut group = Group::settled(TTL);
    let run = |url: &str| Leaderrun::new().args(["-n", "-t", "1s", "-R", url, "-r", &unique("lone"), "true"]).output();
    group.sentinels[0].kill();
    let output = run(&group.url());
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
    group.sentinels[1].kill();
    let output = run(&group.url());
    assert_eq!(output.code(), 69);
    for part in ["has 1 of 3 Sentinels that name its master, 2 needed", "refused the connection"] {
        assert!(output.stderr.contains(part), "{}", output.stderr);
    }
}

#[test]
fn a_url_that_leaves_out_sentinels_is_a_risk_and_replicas_behind_them_are_none() {
    let group = Group::settled(TTL);
    let check = |url: &str| Leaderrun::new().args(["--check", "-t", "1s", "-R", url]).output();
    let one = format!("redis-sentinel://127.0.0.1:{}/{NAME}", group.sentinels[0].port);
    let output = check(&one);
    assert_eq!(output.code(), 1, "{}", output.stdout);
    assert!(output.stdout.contains("has 3 Sentinels, of which the URL names 1: name them all"), "{}", output.stdout);
    let output = check(&group.url());
    assert!(!output.stdout.contains("Sentinels, of which"), "{}", output.stdout);
    assert!(!output.stdout.contains("replicas"), "{}", output.stdout);
}

#[test]
fn a_server_that_is_no_sentinel_or_does_not_know_the_master_is_reported() {
    let (group, server) = (Group::settled(TTL), Server::start());
    let stderr = |url: &str| {
        let output = Leaderrun::new().args(["-n", "-t", "1s", "-R", url, "-r", &unique("wrong"), "true"]).output();
        assert_eq!(output.code(), 69, "{url}: {}", output.stderr);
        output.stderr
    };
    let port = group.sentinels[0].port;
    let wrong_name = stderr(&format!("redis-sentinel://127.0.0.1:{port}/other"));
    assert!(wrong_name.contains("knows no master of this name"), "{wrong_name}");
    let no_sentinel = stderr(&format!("redis-sentinel://127.0.0.1:{}/mymaster", server.port));
    assert!(no_sentinel.contains("is no Sentinel"), "{no_sentinel}");
    let plain = stderr(&format!("redis://127.0.0.1:{port}"));
    assert!(plain.contains("if it is a Sentinel, write redis-sentinel://HOST,.../NAME"), "{plain}");
}

#[test]
fn sentinels_and_servers_have_separate_passwords() {
    let server = Server::start_with(&["--requirepass", "served"]);
    let sentinel = Sentinel::start(server.port, &["requirepass watched", "sentinel auth-pass mymaster served"]);
    let run = |wait: &str, served: &str, watched: &str| {
        let url = format!("redis-sentinel://:{served}@127.0.0.1:{}/{NAME}?sentinel-pass={watched}", sentinel.port);
        let output =
            Leaderrun::new().args(["-w", wait, "-t", "1s", "-R", &url, "-r", &unique("apart"), "true"]).output();
        for secret in [served, watched] {
            assert!(!output.stderr.contains(secret), "{}", output.stderr);
        }
        (output.code(), output.stderr)
    };
    assert_eq!(run("20s", "served", "watched"), (0, String::new()));
    let (code, stderr) = run("0s", "served", "wrong");
    assert!(code == 69 && stderr.contains("Sentinels that name its master"), "{stderr}");
    let (code, stderr) = run("0s", "wrong", "watched");
    assert!(code == 69 && stderr.contains("rejected the user name or password"), "{stderr}");
}
