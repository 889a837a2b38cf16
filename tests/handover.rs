//! Notified standbys: silent while they wait, awake when the lock is free, even over bad networks and with old servers.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Leaderrun, Mode, Proxy, Server, Servers, Witnesses, eventually, signal, unique};

const TTL: Duration = Duration::from_secs(2);

/// A node that nothing is behind.
const DEAD: &str = "redis://127.0.0.1:1";

/// Returns how many commands clients have sent to all nodes.
fn commands(servers: &Servers) -> u64 {
    let sent = |server: &Server| -> u64 {
        let stats: String = server.query(&["INFO", "commandstats"]);
        let calls = |name: &str| {
            let line = stats.lines().find_map(|l| l.strip_prefix(&format!("cmdstat_{name}:calls=")));
            line.and_then(|l| l.split(',').next()).map_or(0, |n| n.parse::<u64>().expect("a number"))
        };
        ["eval", "hello", "subscribe", "ping"].map(calls).iter().sum()
    };
    servers.0.iter().map(sent).sum()
}

fn listeners(server: &Server, resource: &str) -> usize {
    server.query::<(String, usize)>(&["PUBSUB", "NUMSUB", &format!("leaderrun:{resource}")]).1
}

fn wait_for_listeners(servers: &Servers, resource: &str, number: usize) {
    for server in &servers.0 {
        eventually("listeners", || (listeners(server, resource) == number).then_some(()));
    }
}

/// Ends the leader's command and waits for the next one, which must start before the votes would expire.
fn hands_over(witnesses: &Witnesses, leaderships: usize) {
    let last = witnesses.started(leaderships).pop().expect("a leader");
    signal(last.pid, Signal::SIGKILL);
    let ended = Instant::now();
    witnesses.started(leaderships + 1);
    assert!(ended.elapsed() < TTL / 3, "nobody was notified: {:?}", ended.elapsed());
}

#[test]
fn a_standby_sends_nothing_while_it_waits_and_leads_when_notified() {
    let servers = Servers::settled(3, TTL);
    let resource = unique("silent");
    let witnesses = Witnesses::new();
    for server in &servers.0 {
        server.query::<()>(&["SET", &format!("leaderrun:{resource}"), "gate", "PX", "60000"]);
    }
    let _standbys: Vec<_> =
        (0..5).map(|_| Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(&[])).spawn()).collect();
    wait_for_listeners(&servers, &resource, 5);
    // Each standby runs one round once it listens.
    let mut before = commands(&servers);
    eventually("the last round", || {
        std::thread::sleep(Duration::from_millis(50));
        let now = commands(&servers);
        (std::mem::replace(&mut before, now) == now).then_some(())
    });
    let began = Instant::now();
    eventually("two ttl", || (began.elapsed() > 2 * TTL).then_some(()));
    assert_eq!(commands(&servers), before);
    for server in &servers.0 {
        server.query::<()>(&["DEL", &format!("leaderrun:{resource}")]);
    }
    servers.0[1].query::<()>(&["PUBLISH", &format!("leaderrun:{resource}"), "released 5 gate"]);
    witnesses.started(1);
    for leaderships in 1..5 {
        hands_over(&witnesses, leaderships);
    }
    witnesses.check();
}

#[test]
fn a_hundred_standbys_lead_one_after_another() {
    // Long enough for one processor to start them all before a node's silence causes a message.
    const TTL: Duration = Duration::from_secs(10);
    let servers = Servers::settled(3, TTL);
    let resource = unique("hundred");
    let witnesses = Witnesses::new();
    let start = || Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(&["for", "1"])).spawn();
    let running: Vec<_> = (0..100).map(|_| start()).collect();
    for instance in running {
        let output = instance.wait();
        assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
    }
    assert_eq!(witnesses.check().len(), 100);
}

/// Hands over while somebody stands by whom each release wakes, and who never campaigns. `woken`: what he does on the node that has
/// woken him, with the lock's name.
fn hands_over_past_one_that_was_woken(woken: fn(&mut redis::Connection, &str)) {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("woken"), Witnesses::new());
    let start = || Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(&[])).spawn();
    let _leader = start();
    witnesses.started(1);
    let lock = format!("leaderrun:{resource}");
    // More than three stand by: a release wakes one of them.
    for server in servers.0.iter().cycle().take(3 * servers.0.len()) {
        let (mut listening, mut acting, lock) = (server.connect(), server.connect(), lock.clone());
        std::thread::spawn(move || {
            let mut listener = listening.as_pubsub();
            let wake_ups = (0..1024).map(|number| format!("{lock}:{number}:wake"));
            listener.subscribe(wake_ups.chain([lock.clone()]).collect::<Vec<_>>()).expect("a subscription");
            // Until the server ends.
            while let Ok(message) = listener.get_message() {
                if message.get_payload_bytes().starts_with(b"wake") {
                    woken(&mut acting, &lock);
                }
            }
        });
    }
    let _standby = start();
    servers.listened_to(&resource, 4);
    hands_over(&witnesses, 1);
    witnesses.check();
}

#[test]
fn a_standby_that_is_woken_and_frozen_does_not_keep_the_others_waiting() {
    hands_over_past_one_that_was_woken(|_, _| {});
}

#[test]
fn a_standby_that_is_woken_and_reaches_one_node_alone_does_not_keep_the_others_waiting() {
    hands_over_past_one_that_was_woken(|node, lock| {
        redis::cmd("SET").arg(&[lock, "a lone vote", "PX", "1500"]).exec(node).expect("a vote");
    });
}

#[test]
fn servers_without_resp3_notify_on_a_second_connection() {
    let servers = Servers((0..3).map(|_| Server::start_with(&["--rename-command", "HELLO", ""])).collect());
    servers.0.iter().for_each(|server| server.settle(TTL));
    let resource = unique("old");
    let witnesses = Witnesses::new();
    let start = || Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(&[])).spawn();
    let _leader = start();
    witnesses.started(1);
    let _standbys = [start(), start()];
    wait_for_listeners(&servers, &resource, 2);
    hands_over(&witnesses, 1);
    hands_over(&witnesses, 2);
    witnesses.check();
}

#[test]
fn broken_connections_are_reestablished_and_listen_again() {
    let servers = Servers::settled(3, TTL);
    let resource = unique("cut");
    let witnesses = Witnesses::new();
    let start = || Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(&[])).spawn();
    let _leader = start();
    witnesses.started(1);
    let _standbys = [start(), start()];
    for leaderships in 1..3 {
        for server in &servers.0 {
            server.query::<()>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        }
        wait_for_listeners(&servers, &resource, 3 - leaderships);
        hands_over(&witnesses, leaderships);
    }
    witnesses.check();
}

#[test]
fn a_node_that_was_down_at_the_start_is_listened_to_when_it_comes_up() {
    let mut servers = Servers::settled(3, TTL);
    servers.0[2].kill();
    let resource = unique("late");
    let witnesses = Witnesses::new();
    let start = || Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(&[])).spawn();
    let leader = start();
    witnesses.started(1);
    let standby = start();
    servers.0[2].start_again();
    wait_for_listeners(&servers, &resource, 1);
    hands_over(&witnesses, 1);
    drop((leader, standby));
    witnesses.check();
}

#[test]
fn a_user_who_may_not_use_channels_still_waits_and_leads() {
    let servers = Servers::settled(1, TTL);
    let node = &servers.0[0];
    node.query::<()>(&[
        "ACL",
        "SETUSER",
        "mute",
        "on",
        ">pass",
        "~*",
        "resetchannels",
        "+@all",
        "-publish",
        "-subscribe",
    ]);
    let url = format!("redis://mute:pass@127.0.0.1:{}", node.port);
    let resource = unique("mute");
    let witnesses = Witnesses::new();
    let start = || {
        let args = ["-R", &url, "-r", &resource, "-t", "2s"];
        Leaderrun::new().args(args).args(witnesses.command(&["for", "200"])).spawn()
    };
    let running = [start(), start()];
    for instance in running {
        let output = instance.wait();
        assert_eq!(output.code(), 0, "{}", output.stderr);
    }
    witnesses.check();
}

#[test]
fn a_user_who_is_allowed_to_listen_later_listens_from_the_next_connection_on() {
    let servers = Servers::settled(1, TTL);
    let node = &servers.0[0];
    node.query::<()>(&["ACL", "SETUSER", "mute", "on", ">pass", "~*", "resetchannels", "+@all", "-subscribe"]);
    let url = format!("redis://mute:pass@127.0.0.1:{}", node.port);
    let (resource, witnesses) = (unique("later"), Witnesses::new());
    let start = || {
        let args = ["-v", "-R", &url, "-r", &resource, "-t", "2s"];
        Leaderrun::new().args(args).args(witnesses.command(&[])).spawn()
    };
    let _leader = start();
    witnesses.started(1);
    let standby = start();
    standby.reports("stands by");
    node.query::<()>(&["ACL", "SETUSER", "mute", "allchannels", "+subscribe"]);
    eventually("the standby to listen", || {
        // A standby that has been refused opens a connection without messages, perhaps only after this.
        node.query::<()>(&["CLIENT", "KILL", "USER", "mute"]);
        let killed = Instant::now();
        while listeners(node, &resource) == 0 {
            if killed.elapsed() > TTL {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Some(())
    });
}

/// Resets connections at random, one per `one_in` chunks of bytes on average.
fn survives_resets(one_in: u32) {
    let ttl = Duration::from_secs(1);
    let servers = Servers::settled(3, ttl);
    let proxies: Vec<Proxy> = servers.0.iter().map(|s| Proxy::resetting(s.port, one_in, u64::from(s.port))).collect();
    let urls = proxies.iter().map(|p| p.url.clone()).collect::<Vec<_>>().join(",");
    let resource = unique("lossy");
    let witnesses = Witnesses::new();
    let start = |what: &[&str]| {
        let args = ["-R", &urls, "-r", &resource, "-t", "1s"];
        Leaderrun::new().args(args).args(witnesses.command(what)).spawn()
    };
    let mut running: Vec<_> = (0..8).map(|_| start(&["for", "20"])).collect();
    // One of them keeps its lead for several ttl.
    running.push(start(&["for", "4000"]));
    for instance in running {
        let output = instance.wait();
        assert_eq!(output.code(), 0, "{}", output.stderr);
    }
    let all = witnesses.check();
    assert_eq!(all.len(), 9);
    assert!(all.iter().all(|w| w.status.is_some()), "{all:?}");
}

#[test]
fn a_leader_is_elected_and_stays_while_one_chunk_in_a_hundred_is_lost_with_its_connection() {
    survives_resets(100);
}

#[test]
fn a_leader_is_elected_and_stays_while_one_chunk_in_ten_is_lost_with_its_connection() {
    survives_resets(10);
}

#[test]
fn a_standby_that_cannot_reach_one_node_is_notified_by_another() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("unheard"), Witnesses::new());
    let some = [DEAD, &servers.0[1].url(), &servers.0[2].url()].join(",");
    for turn in 0..8 {
        let start = |urls: &str| {
            let options = ["-vv", "-t", "2s", "-R", urls, "-r", &resource];
            Leaderrun::new().args(options).args(witnesses.command(&["drain", "1"])).spawn()
        };
        let leader = start(&servers.urls());
        witnesses.started(2 * turn + 1);
        let standby = start(&some);
        eventually("its round after it listens", || {
            (standby.stderr().matches("lost a round").count() > 1).then_some(())
        });
        hands_over(&witnesses, 2 * turn + 1);
        leader.wait();
        witnesses.stop_last();
        assert_eq!(standby.wait().code(), 0);
    }
    witnesses.check();
}

#[test]
fn the_guard_of_a_dead_elector_releases_the_lock_though_it_was_not_told_of_a_larger_token() {
    let servers = Servers::settled(3, 4 * TTL);
    let resource = unique("larger");
    let leader = Leaderrun::on(&servers, &resource, 4 * TTL).args(["-v", "sleep", "1000"]).spawn();
    leader.reports(": started sleep");
    let key = format!("leaderrun:{resource}:fence");
    // As an extension does just before its elector dies.
    let larger = servers.0[0].query::<u64>(&["GET", &key]) + 1000;
    for server in &servers.0 {
        server.query::<()>(&["SET", &key, &larger.to_string()]);
    }
    leader.signal(Signal::SIGKILL);
    eventually("no lock", || (servers.locked(&resource) == 0).then_some(()));
    for server in &servers.0 {
        assert!(server.query::<u64>(&["GET", &key]) > larger, "a lock that expires doesn't raise the fence");
    }
}

#[test]
fn the_guard_of_a_dead_elector_releases_the_lock_on_a_far_node_too() {
    let servers = Servers::settled(3, 4 * TTL);
    let (resource, far) = (unique("far"), Proxy::new(servers.0[2].port, 1));
    far.set(Mode::Late(Duration::from_millis(40)));
    // To sign in takes a round trip.
    let signed_in = far.url.replace("redis://", "redis://default:any@");
    let urls = [servers.0[0].url(), servers.0[1].url(), signed_in].join(",");
    let leader = Leaderrun::new().args(["-v", "-R", &urls, "-t", "8s", "-r", &resource, "sleep", "1000"]).spawn();
    leader.reports(": started sleep");
    eventually("the lock on all nodes", || (servers.locked(&resource) == 3).then_some(()));
    let fence = || servers.0[2].get(&format!("{resource}:fence"));
    let before = fence();
    leader.signal(Signal::SIGKILL);
    eventually("no lock", || (servers.locked(&resource) == 0).then_some(()));
    assert_ne!(fence(), before, "a lock that expires doesn't raise the fence");
}

#[test]
fn a_release_that_a_standby_hears_of_while_it_connects_is_not_forgotten() {
    let servers = Servers::settled(2, 4 * TTL);
    let (resource, witnesses) = (unique("connecting"), Witnesses::new());
    let channel = format!("leaderrun:{resource}");
    // RFC 3174, test 1: the hash of "abc".
    let released = r#"{"id":"1","holder":"x","release":"a9993e364706816aba3e25717850c26c9cd0d89d"}"#;
    for server in &servers.0 {
        server.query::<()>(&["SET", &channel, released, "PX", "600000"]);
    }
    // A standby waits for the connection to such a node for a while.
    let urls = [servers.0[0].url(), servers.0[1].url(), DEAD.into()].join(",");
    let _standby =
        Leaderrun::new().args(["-t", "8s", "-R", &urls, "-r", &resource]).args(witnesses.command(&[])).spawn();
    eventually("a listener", || (listeners(&servers.0[0], &resource) == 1).then_some(()));
    // The other node hears of the release only later.
    servers.0[0].query::<()>(&["DEL", &channel]);
    servers.0[0].query::<u32>(&["PUBLISH", &channel, "released 1 abc"]);
    witnesses.started(1);
}
