//! Standing by: who waits, how long, and how a waiting instance ends.

use std::time::{Duration, Instant};

use crate::support::{Leaderrun, Running, Server, Servers, Tree, Witnesses, children, eventually, unique};
use nix::sys::signal::Signal;

const TTL: Duration = Duration::from_secs(1);

#[test]
fn another_librarys_lock_on_a_quorum_keeps_us_out_while_it_lasts() {
    let servers = Servers::settled(3, TTL);
    let resource = unique("foreign");
    for server in &servers.0[..2] {
        let set: Option<String> = server.query(&["SET", &format!("leaderrun:{resource}"), "x", "NX", "PX", "3000"]);
        assert!(set.is_some());
    }
    let locked = Instant::now();
    let output = Leaderrun::on(&servers, &resource, TTL).args(["--try", "true"]).output();
    assert_eq!(output.code(), 75);
    let output = Leaderrun::on(&servers, &resource, TTL).args(["true"]).output();
    assert_eq!(output.code(), 0, "{}", output.stderr);
    assert!(locked.elapsed() >= Duration::from_millis(2900), "it led beside another: {:?}", locked.elapsed());
}

/// Nodes that take connections and answer nothing would take a part of the ttl.
#[test]
fn a_wait_that_is_over_ends_a_round_that_hangs() {
    let (servers, resource) = (Servers::start(3), unique("hangs"));
    servers.0[1..].iter().for_each(Server::freeze);
    let start = |options: &[&str]| {
        let hour = Duration::from_secs(60 * 60);
        Leaderrun::on(&servers, &resource, hour).args(options).args(["true"]).spawn()
    };
    let (mut patient, waits) = (start(&["-n"]), start(&["-w", "300ms"]).wait());
    assert!(!patient.has_ended(), "{}", patient.stderr());
    assert_eq!(waits.code(), 69, "{}", waits.stderr);
    assert!(waits.stderr.contains("no quorum: 0 of 3 nodes can vote"), "{}", waits.stderr);
    for node in &servers.0[1..] {
        assert!(waits.stderr.contains(&format!("{} has not answered yet", node.url())), "{}", waits.stderr);
    }
}

#[test]
fn a_terminated_standby_exits_at_once_with_143_and_leaves_nothing_behind() {
    let servers = Servers::settled(3, TTL);
    let resource = unique("terminated");
    let witnesses = Witnesses::new();
    let leader = Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(&[])).spawn();
    witnesses.started(1);
    let locks: Vec<_> = servers.0.iter().map(|s| s.lock(&resource)).collect();
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let standby =
            Leaderrun::on(&servers, &resource, TTL).args(["-v"]).args(witnesses.command(&["exit", "9"])).spawn();
        standby.reports("stands by");
        let guard = standby.guard();
        standby.signal(signal);
        let output = standby.wait();
        assert_eq!(output.code(), status, "{}", output.stderr);
        assert!(!std::path::Path::new(&format!("/proc/{guard}")).exists(), "its guard is left");
    }
    assert_eq!(servers.0.iter().map(|s| s.lock(&resource)).collect::<Vec<_>>(), locks);
    leader.signal(Signal::SIGTERM);
    assert_eq!(leader.wait().code(), 143);
    assert_eq!(witnesses.check().len(), 1, "no standby's command was started");
}

#[test]
fn a_leader_passes_on_term_and_keeps_leading_until_the_command_ends() {
    let servers = Servers::settled(3, TTL);
    let resource = unique("drain");
    let witnesses = Witnesses::new();
    let start = |what: &[&str]| Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(what)).spawn();
    let leader = start(&["drain", "2500", "exit", "3"]);
    witnesses.started(1);
    let standby = start(&["for", "1"]);
    leader.signal(Signal::SIGTERM);
    assert_eq!(leader.wait().code(), 3);
    assert_eq!(standby.wait().code(), 0);
    let all = witnesses.check();
    assert!(all[0].status.is_some() && all[0].term.is_some(), "{all:?}");
}

#[test]
fn a_second_instance_that_does_not_wait_exits_with_75_silently() {
    let servers = Servers::settled(3, TTL);
    let resource = unique("try");
    let witnesses = Witnesses::new();
    let _leader = Leaderrun::on(&servers, &resource, TTL).args(witnesses.command(&[])).spawn();
    witnesses.started(1);
    for (args, status) in [
        (&["--try"][..], 75),
        (&["-n", "-E", "0"], 0),
        (&["-n", "--conflict-exit-code", "9"], 9),
        (&["--wait", "300ms"], 75),
        (&["--wait", "0s"], 75),
    ] {
        let output = Leaderrun::on(&servers, &resource, TTL).args(args).args(["echo", "led"]).output();
        assert_eq!((output.code(), output.stdout.as_str(), output.stderr.as_str()), (status, "", ""), "{args:?}");
    }
}

#[test]
fn of_instances_that_start_at_the_same_time_one_leads() {
    let servers = Servers::settled(3, TTL);
    for _ in 0..10 {
        let resource = unique("instant");
        let job = "trap 'exit 0' TERM; echo led; sleep 1000 & wait";
        let start = |_| Leaderrun::on(&servers, &resource, TTL).args(["--try"]).shell(job);
        let mut running: Vec<_> = (0..4).map(start).collect();
        // The leader leads until the others have given up.
        eventually("three to give up", || {
            (running.iter_mut().map(Running::has_ended).filter(|ended| *ended).count() >= 3).then_some(())
        });
        for instance in &mut running {
            if !instance.has_ended() {
                instance.says("led");
                instance.signal(Signal::SIGTERM);
            }
        }
        let mut codes: Vec<i32> = running.into_iter().map(|instance| instance.wait().code()).collect();
        codes.sort();
        assert_eq!(codes, [0, 75, 75, 75]);
    }
}

#[test]
fn without_a_quorum_it_exits_with_69_and_names_each_node_once() {
    let mut servers = Servers::settled(3, TTL);
    servers.0[0].kill();
    servers.0[1].freeze();
    for args in [["--try", "--"], ["--wait=500ms", "--"]] {
        let output = Leaderrun::on(&servers, &unique("none"), TTL).args(args).args(["echo", "led"]).output();
        assert_eq!((output.code(), output.stdout.as_str()), (69, ""), "{}", output.stderr);
        let last = output.stderr.lines().last().expect("a message");
        assert!(last.ends_with("the command was not started; see leaderrun --check"), "{}", output.stderr);
        for server in &servers.0[..2] {
            assert_eq!(last.matches(&server.url()).count(), 1, "{last}");
        }
    }
}

#[test]
fn a_standby_leads_within_a_ttl_after_the_leaders_host_dies_whatever_the_number_of_nodes() {
    let servers = Servers::settled(7, TTL);
    for nodes in 1..=servers.0.len() {
        let urls: Vec<_> = servers.0[..nodes].iter().map(Server::url).collect();
        let (urls, resource, witnesses) = (urls.join(","), unique("host"), Witnesses::new());
        let start = || {
            let options = ["-t", "1s", "-R", &urls, "-r", &resource];
            Leaderrun::new().args(options).args(witnesses.command(&["ignore"])).spawn()
        };
        let leader = start();
        witnesses.started(1);
        let _standbys = [start(), start()];
        // Act as if the host were gone: nobody is left to release the lease.
        let tree = Tree::of(&resource);
        let mut processes = vec![leader.pid(), leader.guard()];
        processes.extend(children(leader.guard()));
        for &pid in &processes {
            crate::support::signal(pid, Signal::SIGSTOP);
        }
        for &pid in &processes {
            crate::support::signal(pid, Signal::SIGKILL);
        }
        let gone = crate::support::monotonic();
        let next = witnesses.started(2).pop().expect("the next leader");
        let took = Duration::from_nanos(next.start.saturating_sub(gone));
        assert!(took < TTL + TTL / 4, "{nodes} nodes: {took:?}");
        assert_eq!(tree.alive().len(), 1);
        witnesses.check();
    }
}

#[test]
fn a_standby_that_starts_before_its_nodes_leads_when_they_come_up() {
    let mut servers = Servers::start(3);
    for server in &mut servers.0 {
        server.kill();
    }
    let witnesses = Witnesses::new();
    let standby = Leaderrun::on(&servers, &unique("early"), TTL).args(witnesses.command(&["for", "1"])).spawn();
    standby.reports("no quorum: 0 of 3 nodes can vote");
    for server in &mut servers.0 {
        server.start_again();
    }
    eventually("leadership", || (!witnesses.all().is_empty()).then_some(()));
    assert_eq!(standby.wait().code(), 0);
}

#[test]
fn a_moment_without_a_quorum_is_not_reported_and_a_lasting_outage_is_reported_once() {
    let ttl = Duration::from_secs(3);
    let servers = Servers::settled(3, ttl);
    for (lasts, lines) in [(Duration::from_millis(1500), 0), (2 * ttl, 1)] {
        servers.0[..2].iter().for_each(Server::freeze);
        let standby = Leaderrun::on(&servers, &unique("moment"), ttl).args(["true"]).spawn();
        let began = Instant::now();
        eventually("some time without a quorum", || (began.elapsed() > lasts).then_some(()));
        servers.0[..2].iter().for_each(crate::support::Server::thaw);
        let output = standby.wait();
        assert_eq!(output.code(), 0, "{}", output.stderr);
        assert_eq!(output.stderr.matches("no quorum: 1 of 3 nodes can vote").count(), lines, "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), lines, "{}", output.stderr);
    }
}
