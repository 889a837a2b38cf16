//! `--step-down`: the leader steps down in good order and another leads; with `--rejoin` it stands by again.

use std::time::Duration;

use crate::support::{LONG_TTL, Leaderrun, Mode, Proxy, Servers, Witnesses, eventually, unique};
use nix::sys::signal::Signal;

const TTL: Duration = Duration::from_secs(1);

fn on(servers: Option<&Servers>, resource: &str) -> Leaderrun {
    with_ttl(TTL, servers, resource)
}

fn with_ttl(ttl: Duration, servers: Option<&Servers>, resource: &str) -> Leaderrun {
    match servers {
        Some(servers) => Leaderrun::on(servers, resource, ttl),
        None => Leaderrun::new().args(["--local", "-t", &format!("{}s", ttl.as_secs()), "-r", resource]),
    }
}

#[test]
fn the_command_stops_another_instance_leads_and_the_call_returns() {
    let servers = Servers::settled(3, TTL);
    for place in [Some(&servers), None] {
        let (resource, witnesses) = (unique("step-down"), Witnesses::new());
        let start = |holder: &str| {
            on(place, &resource).args(["--holder", holder]).args(witnesses.command(&["drain", "100"])).spawn()
        };
        let leader = start("web-1");
        witnesses.started(1);
        let standby = start("web-2");
        if let Some(servers) = place {
            servers.listened_to(&resource, 1);
        } else {
            let pid = standby.pid().to_string();
            let waits = |line: &str| line.contains("-> FLOCK") && line.split_whitespace().any(|word| word == pid);
            eventually("the standby to wait", || {
                std::fs::read_to_string("/proc/locks").expect("locks").lines().any(waits).then_some(())
            });
        }
        let asked = on(place, &resource).args(["--step-down"]).output();
        assert_eq!((asked.code(), asked.stderr.as_str()), (0, ""));
        assert_eq!(asked.stdout, format!("{resource}: web-1 stepped down; web-2 leads\n"));
        let output = leader.wait();
        assert_eq!(output.code(), 76, "{}", output.stderr);
        assert!(output.stderr.contains("asked to step down; stopping "), "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        witnesses.started(2);
        let all = witnesses.check();
        assert!(all.len() == 2 && all[0].term.is_some() && all[0].status == Some(0), "{all:?}");
        standby.signal(Signal::SIGTERM);
        assert_eq!(standby.wait().code(), 0);
    }
}

/// A leader that has stood by, and somebody who watches, are no standbys.
#[test]
fn if_standby_leaves_a_leader_alone_that_nobody_could_follow() {
    let servers = Servers::settled(3, TTL);
    for place in [Some(&servers), None] {
        for slots in [&[][..], &["--slots", "2"]] {
            let resource = unique("if-standby");
            let run = || on(place, &resource).args(slots);
            let start = || run().args(["-v", "sleep", "1000"]).spawn();
            let which: &[&str] = if slots.is_empty() { &[] } else { &["--slot", "1"] };
            let ask = || run().args(["--step-down", "--if-standby"]).args(which).output();
            let mut leaders: Vec<_> = (0..slots.len().max(1)).map(|_| start()).collect();
            leaders.iter().for_each(|leader| leader.reports(": started "));
            let follower = start();
            follower.reports("stands by");
            leaders[0].signal(Signal::SIGTERM);
            follower.reports(": started ");
            leaders.remove(0).wait();

            let mut watcher = run().args(["--watch"]).spawn();
            watcher.says("leads");
            let asked = ask();
            assert_eq!((asked.code(), asked.stdout.as_str()), (75, ""), "{}", asked.stderr);
            assert!(asked.stderr.contains(" was not asked to step down: nobody stands by"), "{}", asked.stderr);
            let asked = run().args(["-E", "9", "--step-down", "--if-standby"]).args(which).output();
            assert_eq!(asked.code(), 9, "{}", asked.stderr);

            let standby = start();
            standby.reports("stands by");
            let asked = eventually("a standby that is seen", || Some(ask()).filter(|asked| asked.code() != 75));
            assert_eq!(asked.code(), 0, "{}", asked.stderr);
            standby.reports(": started ");
        }
    }
}

#[test]
fn if_standby_belongs_to_a_question_and_not_to_a_command() {
    for command in [&["--", "echo", "ran"][..], &["-c", "echo ran"]] {
        let output = on(None, &unique("if-standby")).args(["--if-standby"]).args(command).output();
        assert_eq!((output.code(), output.stdout.as_str()), (64, ""), "{command:?}");
        assert!(output.stderr.contains("'--if-standby' "), "{}", output.stderr);
    }
}

#[test]
fn if_standby_asks_nobody_where_no_quorum_can_say() {
    let servers = Servers::settled(3, TTL);
    let resource = unique("if-standby");
    let leader = on(Some(&servers), &resource).args(["-v", "sleep", "1000"]).spawn();
    leader.reports(": started ");
    for server in &servers.0 {
        server.query::<()>(&["ACL", "SETUSER", "default", "-pubsub|numsub"]);
    }
    let asked = on(Some(&servers), &resource).args(["--step-down", "--if-standby"]).output();
    assert_eq!(asked.code(), 69, "{}", asked.stderr);
    assert!(asked.stderr.contains("whether an instance stands by can't be seen"), "{}", asked.stderr);
}

#[test]
fn a_command_that_does_not_stop_is_killed_in_time_and_the_lease_is_kept_until_then() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("ignores"), Witnesses::new());
    let start = || on(Some(&servers), &resource).args(["-k", "100ms"]).args(witnesses.command(&["ignore"])).spawn();
    let leader = start();
    witnesses.started(1);
    let _standby = start();
    servers.listened_to(&resource, 1);
    let asked = on(Some(&servers), &resource).args(["--step-down"]).output();
    assert_eq!(asked.code(), 0, "{}", asked.stderr);
    assert_eq!(leader.wait().code(), 76);
    witnesses.started(2);
    witnesses.check();
}

#[test]
fn a_command_that_has_succeeded_before_it_was_to_stop_has_succeeded() {
    let servers = Servers::settled(3, LONG_TTL);
    // What it leaves behind keeps the lease for an extension.
    let ends = "trap '' TERM; sh -c \"$1\" sh $$ & exit 0";
    let behind = "while kill -0 $1 2>/dev/null; do sleep 0.01; done; echo behind; exec sleep 1000";
    for place in [Some(&servers), None] {
        let resource = unique("succeeds");
        let base = || with_ttl(LONG_TTL, place, &resource);
        let run = || base().args(["--once-per", "1d", "-k", "1500ms"]);
        let mut leader = run().args(["sh", "-c", ends, "sh", behind]).spawn();
        leader.says("behind");
        let asked = base().args(["--step-down"]).spawn();
        leader.reports("asked to step down");
        assert_eq!(leader.wait().code(), 0);
        asked.wait();
        let next = run().shell("echo again").wait();
        assert_eq!((next.code(), next.stdout.as_str()), (0, ""), "{}", next.stderr);
    }
}

#[test]
fn with_rejoin_the_leader_stands_by_again_and_lets_another_lead_first() {
    let servers = Servers::settled(3, TTL);
    for place in [Some(&servers), None] {
        let (resource, witnesses) = (unique("rejoin"), Witnesses::new());
        let start = |holder: &str| {
            let options = ["--rejoin", "-v", "--holder", holder];
            on(place, &resource).args(options).args(witnesses.command(&["drain", "1"])).spawn()
        };
        let mut instances = [start("web-1"), start("web-2")];
        witnesses.started(1);
        for turn in 0..4 {
            eventually("both to run", || instances.iter().all(|i| !i.stderr().is_empty()).then_some(()));
            let asked = on(place, &resource).args(["--step-down"]).output();
            assert_eq!(asked.code(), 0, "{}", asked.stderr);
            witnesses.started(turn + 2);
            let waits = |r: &crate::support::Running| r.stderr().matches("stands by again").count();
            eventually("the other to rejoin", || {
                (instances.iter().map(waits).sum::<usize>() == turn + 1).then_some(())
            });
        }
        let all = witnesses.check();
        assert_eq!(all.len(), 5);
        let led = |r: &crate::support::Running| r.stderr().matches("leads with fencing token").count();
        let mut leads = instances.each_ref().map(led);
        leads.sort_unstable();
        assert_eq!(leads, [2, 3], "each in turn: {}{}", instances[0].stderr(), instances[1].stderr());
        for instance in &mut instances {
            assert!(!instance.has_ended(), "{}", instance.stderr());
            instance.signal(Signal::SIGTERM);
        }
        for instance in instances {
            assert!([0, 143].contains(&instance.wait().code()));
        }
    }
}

#[test]
fn with_rejoin_the_leader_gives_another_time_to_lead() {
    // What the former leader waits for the other, a ttl, must be long enough on a busy host, too: for rounds without an
    // answer in time.
    let ttl = Duration::from_secs(8);
    let servers = Servers::settled(3, ttl);
    let (resource, witnesses) = (unique("time"), Witnesses::new());
    let run = || Leaderrun::on(&servers, &resource, ttl);
    let leader = run().args(["--rejoin", "-v"]).args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    let standby = run().args(["--rejoin", "-vv"]).args(witnesses.command(&["drain", "1"])).spawn();
    servers.listened_to(&resource, 1);
    // The second one follows what it does to listen. Stopped in the middle of that, it would take the nodes for silent.
    eventually("its second round", || (standby.stderr().matches("lost a round").count() > 1).then_some(()));
    standby.signal(Signal::SIGSTOP);
    let asked = run().args(["--step-down"]).spawn();
    leader.reports("asked to step down");
    eventually("the release", || (servers.locked(&resource) == 0).then_some(()));
    // Long enough for the former leader to take the lock again, and shorter than a ttl.
    let released = std::time::Instant::now();
    eventually("a tenth of a ttl", || (released.elapsed() > ttl / 10).then_some(()));
    assert_eq!(servers.locked(&resource), 0, "{}", leader.stderr());
    standby.signal(Signal::SIGCONT);
    witnesses.started(2);
    assert!(standby.stderr().contains("leads with fencing token"), "{}", leader.stderr());
    assert_eq!(asked.wait().code(), 0);
}

#[test]
fn a_leader_that_hears_of_it_from_any_quorum_steps_down() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("quorum"), Witnesses::new());
    // Nodes 1 and 2 decide the leader's extensions: node 3 is far.
    let far = Proxy::new(servers.0[2].port, 1);
    far.set(Mode::Late(Duration::from_millis(20)));
    let urls = [servers.0[0].url(), servers.0[1].url(), far.url.clone()].join(",");
    let options = ["-R", &urls, "-t", "1s", "-r", &resource];
    let leader = Leaderrun::new().args(options).args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    let value = eventually("the lock", || servers.0[1].lock(&resource));
    for server in &servers.0[1..] {
        server.query::<()>(&["SET", &format!("leaderrun:{resource}:step-down"), &value, "PX", "60000"]);
    }
    leader.reports("asked to step down");
    assert_eq!(leader.wait().code(), 76);
}

#[test]
fn with_rejoin_a_lost_lease_is_won_again_and_the_command_has_its_input_and_output() {
    let servers = Servers::settled(1, TTL);
    let (resource, witnesses) = (unique("lost"), Witnesses::new());
    let command = ["--", "sh", "-c", "printf 'in: '; head -n 1; shift; exec \"$@\"", "sh"];
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input");
    std::fs::write(&input, "first\nsecond\n").expect("a file");
    let stdin = std::fs::File::open(&input).expect("a file");
    let leader = on(Some(&servers), &resource).args(["--rejoin"]).stdin(stdin).args(command);
    let leader = leader.args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    servers.0[0].freeze();
    leader.reports("lost the lease: ");
    servers.0[0].thaw();
    witnesses.started(2);
    witnesses.check();
    assert!(leader.stdout().contains("in: first\n"), "{}", leader.stdout());
    assert_eq!(leader.stdout().matches("in: ").count(), 2, "the command still has its stdout");
    leader.signal(Signal::SIGTERM);
    assert_eq!(leader.wait().code(), 0);
}

#[test]
fn without_a_leader_or_a_reaction_of_it_the_call_says_so() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("deaf"), Witnesses::new());
    let ask = |wait: &[&str]| on(Some(&servers), &resource).args(["--step-down"]).args(wait).output();
    let output = ask(&[]);
    assert_eq!((output.code(), output.stderr), (1, format!("leaderrun: {resource}: nobody leads\n")));
    let leader = on(Some(&servers), &resource).args(["--holder", "web-1"]).args(witnesses.command(&[])).spawn();
    witnesses.started(1);
    leader.signal(Signal::SIGSTOP);
    let guard = leader.guard();
    crate::support::signal(guard, Signal::SIGSTOP);
    let output = ask(&["--wait", "100ms"]);
    let other = ask(&["--wait", "100ms", "-E", "9"]);
    // Stopped, it would live on.
    crate::support::signal(guard, Signal::SIGCONT);
    assert_eq!(output.code(), 75, "{}", output.stderr);
    assert!(output.stderr.contains("web-1 still leads after 100ms"), "{}", output.stderr);
    assert_eq!(other.code(), 9, "{}", other.stderr);
}

#[test]
fn a_request_lasts_until_a_leader_with_a_longer_ttl_hears_of_it() {
    let ttl = 2 * LONG_TTL;
    let servers = Servers::settled(1, ttl);
    let (resource, witnesses) = (unique("longer"), Witnesses::new());
    let leader = with_ttl(ttl, Some(&servers), &resource).args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    Leaderrun::on(&servers, &resource, TTL).args(["--step-down", "--wait", "1ms"]).output();
    let left = servers.0[0].query::<u64>(&["PTTL", &format!("leaderrun:{resource}:step-down")]);
    assert!(Duration::from_millis(left) > ttl, "{left} ms");
    assert_eq!(leader.wait().code(), 76);
}

#[test]
fn a_minority_of_nodes_cannot_make_a_leader_step_down() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("minority"), Witnesses::new());
    let mut leader = on(Some(&servers), &resource).args(witnesses.command(&[])).spawn();
    witnesses.started(1);
    let value = eventually("the lock", || servers.0[0].lock(&resource));
    servers.0[0].query::<()>(&["SET", &format!("leaderrun:{resource}:step-down"), &value]);
    let began = std::time::Instant::now();
    eventually("two extensions", || (began.elapsed() > TTL).then_some(()));
    assert!(!leader.has_ended(), "{}", leader.stderr());
    witnesses.ticks_on();
}

#[test]
fn a_stop_that_is_no_lost_lease_has_its_own_time() {
    let servers = Servers::settled(3, LONG_TTL);
    for place in [Some(&servers), None] {
        let (resource, witnesses) = (unique("drains"), Witnesses::new());
        // The command takes longer than a ttl, and than --kill-after.
        let options = ["-k", "100ms", "--stop-timeout", "1h"];
        let leader =
            with_ttl(LONG_TTL, place, &resource).args(options).args(witnesses.command(&["drain", "3300"])).spawn();
        witnesses.started(1);
        let asked = with_ttl(LONG_TTL, place, &resource).args(["--step-down", "--wait", "1m"]).output();
        assert_eq!((asked.code(), leader.wait().code()), (0, 76), "{}", asked.stderr);
        assert_eq!(witnesses.check()[0].status, Some(0), "it was not killed");
    }
}

/// Two commands would run otherwise.
#[test]
fn a_lease_that_is_lost_meanwhile_leaves_no_more_than_its_own_time() {
    let servers = Servers::settled(1, LONG_TTL);
    let (resource, witnesses) = (unique("lost"), Witnesses::new());
    let options = ["--stop-timeout", "1h"];
    let leader =
        with_ttl(LONG_TTL, Some(&servers), &resource).args(options).args(witnesses.command(&["ignore"])).spawn();
    witnesses.started(1);
    let asked = with_ttl(LONG_TTL, Some(&servers), &resource).args(["--step-down"]).spawn();
    leader.reports("asked to step down");
    servers.0[0].query::<()>(&["SET", &format!("leaderrun:{resource}"), "another", "PX", "9000"]);
    let taken = crate::support::monotonic();
    assert_eq!(leader.wait().code(), 76);
    let lived = Duration::from_nanos(witnesses.all()[0].last.saturating_sub(taken));
    assert!(lived < LONG_TTL, "for {lived:?}");
    asked.wait();
}
