//! `--once-per`: at most one success per period, recorded before anybody else can lead.

use std::time::{Duration, Instant};

use crate::support::{
    LONG_TTL, Leaderrun, Running, Server, Servers, Witnesses, children, eventually, signal, state, unique,
};
use nix::sys::signal::Signal;

const TTL: Duration = Duration::from_secs(1);

/// Returns an instance with these options and this job.
fn instance(servers: &Servers, resource: &str, options: &[&str], witnesses: &Witnesses, job: &[&str]) -> Leaderrun {
    let options = ["--once-per", "60s"].iter().chain(options);
    Leaderrun::on(servers, resource, TTL).args(options).args(witnesses.command(job))
}

#[test]
fn an_instance_that_starts_after_a_success_exits_with_0_silently() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("done"), Witnesses::new());
    let run = |options: &[&str]| instance(&servers, &resource, options, &witnesses, &["for", "10"]).output();
    assert_eq!(run(&[]).code(), 0);
    for options in [&[][..], &["--try"], &["--wait", "5s"], &["--attempts", "3"]] {
        let output = run(options);
        assert_eq!((output.code(), output.stderr.as_str()), (0, ""), "{options:?}");
    }
    let output = run(&["-v"]);
    assert!(output.stderr.contains(" succeeded at 2"), "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert_eq!(witnesses.check().len(), 1);
    assert_eq!(Leaderrun::on(&servers, &resource, TTL).args(["sh", "-c", "exit 3"]).output().code(), 3, "without it");
}

#[test]
fn a_success_is_on_every_node_with_its_token_holder_and_end_and_expires_by_itself() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("note"), Witnesses::new());
    let job = witnesses.command(&["for", "1200"]);
    let run = Leaderrun::on(&servers, &resource, TTL).args(["--once-per", "3s", "--holder", "web-2"]).args(job);
    assert_eq!(run.output().code(), 0);
    let token = witnesses.check()[0].token;
    for server in &servers.0 {
        let note = server.get(&format!("{resource}:done")).expect("a note");
        let note: serde_json::Value = serde_json::from_str(&note).expect("JSON");
        assert_eq!((&note["token"], &note["holder"]), (&token.into(), &"web-2".into()));
        assert!(note["ended"].as_str().is_some_and(|t| t.starts_with("20")), "{note}");
        let left: u64 = server.query(&["PTTL", &format!("leaderrun:{resource}:done")]);
        // Nodes count by a wall clock, which may have been set meanwhile. From the command's end it would be 3 s.
        assert!(left <= 2400, "the period counts from the command's start: {left}");
    }
    eventually("the end of the period", || servers.0[0].get(&format!("{resource}:done")).is_none().then_some(()));
}

#[test]
fn standbys_exit_with_0_as_soon_as_the_leader_succeeds() {
    const TTL: Duration = Duration::from_secs(3);
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("told"), Witnesses::new());
    let start = |job: &[&str]| {
        let options = ["-v", "--once-per", "60s"];
        Leaderrun::on(&servers, &resource, TTL).args(options).args(witnesses.command(job)).spawn()
    };
    let leader = start(&["drain", "100"]);
    witnesses.started(1);
    let standbys: Vec<Running> = (0..4).map(|_| start(&[])).collect();
    standbys.iter().for_each(|standby| standby.reports("stands by: "));
    servers.listened_to(&resource, standbys.len());
    leader.signal(Signal::SIGTERM);
    assert_eq!(leader.wait().code(), 0);
    let ended = Instant::now();
    for standby in standbys {
        let output = standby.wait();
        assert_eq!(output.code(), 0, "{}", output.stderr);
        assert!(output.stderr.contains(" succeeded at "), "{}", output.stderr);
    }
    assert!(ended.elapsed() < TTL / 3, "not notified: {:?}", ended.elapsed());
    assert_eq!(witnesses.check().len(), 1);
}

#[test]
fn a_job_that_outlives_its_period_leaves_the_next_one_to_the_others() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("late"), Witnesses::new());
    let start = |job: &[&str]| {
        Leaderrun::on(&servers, &resource, TTL).args(["--once-per", "1s"]).args(witnesses.command(job)).spawn()
    };
    let leader = start(&["for", "1500"]);
    witnesses.started(1);
    let standby = start(&["for", "1"]);
    servers.listened_to(&resource, 1);
    assert_eq!((leader.wait().code(), standby.wait().code()), (0, 0));
    assert_eq!(witnesses.check().len(), 2);
}

#[test]
fn an_instance_that_does_not_wait_exits_with_75_while_the_job_runs() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("try"), Witnesses::new());
    let leader = instance(&servers, &resource, &[], &witnesses, &[]).spawn();
    witnesses.started(1);
    for (options, status) in [(&["--try"][..], 75), (&["--try", "-E", "0"], 0)] {
        let output = instance(&servers, &resource, options, &witnesses, &[]).output();
        assert_eq!((output.code(), output.stderr.as_str()), (status, ""), "{options:?}");
    }
    drop(leader);
}

#[test]
fn after_a_failure_the_next_instance_runs_the_job_until_one_succeeds() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("fails"), Witnesses::new());
    let start = |job: &[&str]| instance(&servers, &resource, &[], &witnesses, job).spawn();
    let first = start(&["for", "600", "exit", "1"]);
    witnesses.started(1);
    let others = [start(&["for", "100", "exit", "2"]), start(&["for", "100", "exit", "2"])];
    assert_eq!(first.wait().code(), 1);
    for other in others {
        assert_eq!(other.wait().code(), 2);
    }
    assert_eq!(start(&["for", "100"]).wait().code(), 0);
    assert_eq!(start(&["for", "100"]).wait().code(), 0);
    assert_eq!(witnesses.check().len(), 4);
}

#[test]
fn all_give_up_once_the_attempts_are_used_up() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("attempts"), Witnesses::new());
    let start =
        || instance(&servers, &resource, &["--attempts", "2"], &witnesses, &["for", "300", "exit", "1"]).spawn();
    let mut statuses: Vec<i32> =
        (0..5).map(|_| start()).collect::<Vec<_>>().into_iter().map(|r| r.wait().code()).collect();
    statuses.sort();
    assert_eq!(statuses, [1, 1, 75, 75, 75]);
    let late = instance(&servers, &resource, &["--attempts", "2", "-v"], &witnesses, &[]).output();
    assert_eq!(late.code(), 75);
    assert!(late.stderr.contains("no success in this period: 2 failures, the last on "), "{}", late.stderr);
    assert_eq!(witnesses.check().len(), 2);
    let more = instance(&servers, &resource, &["--attempts", "3"], &witnesses, &["for", "1"]).output();
    assert_eq!(more.code(), 0, "a third time would have been allowed: {}", more.stderr);
}

#[test]
fn a_success_that_a_stopped_instance_cannot_record_before_another_runs_sets_the_exit_status() {
    const TTL: Duration = Duration::from_secs(3);
    let servers = Servers::settled(3, TTL);
    let resource = unique("stopped");
    let once =
        |command: &[&str]| Leaderrun::on(&servers, &resource, TTL).args(["-v", "--once-per", "8s"]).args(command);
    let stopped = once(&["sleep", "1"]).spawn();
    stopped.reports(": started sleep");
    stopped.signal(Signal::SIGSTOP);
    let began = Instant::now();
    // Its lease runs out.
    assert_eq!(once(&["true"]).output().code(), 0);
    eventually("the end of the period", || (began.elapsed() > Duration::from_secs(8)).then_some(()));
    stopped.signal(Signal::SIGCONT);
    let output = stopped.wait();
    assert_eq!(output.code(), 74, "{}", output.stderr);
    assert!(output.stderr.contains("succeeded, but that could not be recorded: 0 of 3 nodes"), "{}", output.stderr);
}

#[test]
fn a_success_that_no_quorum_records_sets_the_exit_status_and_stays_on_the_other_nodes() {
    let mut servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("unrecorded"), Witnesses::new());
    let leader = instance(&servers, &resource, &[], &witnesses, &["for", "300"]).spawn();
    witnesses.started(1);
    servers.0[1].kill();
    servers.0[2].kill();
    let output = leader.wait();
    assert_eq!(output.code(), 74, "{}", output.stderr);
    assert!(output.stderr.contains("succeeded, but that could not be recorded: 1 of 3 nodes"), "{}", output.stderr);
    assert!(output.stderr.contains("another instance may run it again"), "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(servers.0[0].get(&format!("{resource}:done")).is_some());
    for node in [1, 2] {
        servers.0[node].start_again();
        servers.0[node].settle(TTL);
    }
    let output = instance(&servers, &resource, &[], &witnesses, &["for", "1"]).output();
    assert_eq!(
        (output.code(), witnesses.check().len()),
        (0, 1),
        "an instance that reaches the node with the record runs nothing"
    );
    servers.0[0].kill();
    let output = instance(&servers, &resource, &[], &witnesses, &["for", "1"]).output();
    assert_eq!((output.code(), witnesses.check().len()), (0, 2), "without it the job runs again");
}

#[test]
fn a_success_is_recorded_when_the_nodes_come_back_within_the_lease() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("later"), Witnesses::new());
    let leader = instance(&servers, &resource, &["-k", "10ms"], &witnesses, &["for", "100"]).spawn();
    witnesses.started(1);
    servers.0[1].freeze();
    servers.0[2].freeze();
    eventually("the end of the job", || (witnesses.successes() == 1).then_some(()));
    let note = || servers.0[0].get(&format!("{resource}:done"));
    eventually("a first note", note);
    servers.0[1].thaw();
    servers.0[2].thaw();
    let output = leader.wait();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
    assert!(servers.0.iter().all(|s| s.get(&format!("{resource}:done")).is_some()));
}

/// A server that was stopped records it when it goes on.
#[test]
fn a_record_that_a_node_writes_late_ends_with_the_others() {
    const PERIOD: i64 = 6_000;
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("late"), Witnesses::new());
    let job = witnesses.command(&["for", "300"]);
    let period = format!("{PERIOD}ms");
    let leader = Leaderrun::on(&servers, &resource, TTL).args(["--once-per", &period]).args(job).spawn();
    witnesses.started(1);
    eventually("the lock on all nodes", || (servers.locked(&resource) == 3).then_some(()));
    servers.0[2].freeze();
    assert_eq!(leader.wait().code(), 0);
    let left = |node: usize| servers.0[node].query::<i64>(&["PTTL", &format!("leaderrun:{resource}:done")]);
    eventually("half of the period", || (left(0) < PERIOD / 2).then_some(()));
    servers.0[2].thaw();
    let (first, late) = eventually("the late record", || Some((left(0), left(2))).filter(|&(_, late)| late > 0));
    assert!(late < first + 1000, "{late} ms, but {first} ms on another node");
}

#[test]
fn the_guard_records_the_success_of_a_dead_electors_command() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("elector"), Witnesses::new());
    let leader = instance(&servers, &resource, &[], &witnesses, &["for", "100"]).spawn();
    witnesses.started(1);
    leader.signal(Signal::SIGSTOP);
    eventually("the end of the job", || (witnesses.successes() == 1).then_some(()));
    leader.signal(Signal::SIGKILL);
    assert_eq!(leader.wait().code(), 137);
    let output = instance(&servers, &resource, &[], &witnesses, &["for", "1"]).output();
    assert_eq!((output.code(), witnesses.check().len()), (0, 1));
}

/// Fails unless the guard of a dead elector records that a command which runs for so many milliseconds has succeeded, after this
/// has happened to the only node. That ends with the elector stopped, and early enough for a lease that counts from the election: the
/// elector may be stopped before it hears that it has extended it.
fn the_guard_records_a_success_after(lasts: &str, then: impl FnOnce(&mut Server, &Running, &str)) {
    let ttl = 2 * LONG_TTL;
    let mut servers = Servers::settled(1, ttl);
    let (resource, witnesses) = (unique("young"), Witnesses::new());
    let run = Leaderrun::on(&servers, &resource, ttl).args(["--once-per", "1h"]);
    let leader = run.args(witnesses.command(&["for", lasts])).spawn();
    witnesses.started(1);
    then(&mut servers.0[0], &leader, &resource);
    eventually("the end of the job", || (witnesses.successes() == 1).then_some(()));
    leader.signal(Signal::SIGKILL);
    eventually("the record", || servers.0[0].get(&format!("{resource}:done")));
    assert_eq!(leader.wait().code(), 137);
}

#[test]
fn the_guard_of_a_dead_elector_records_a_success_on_a_node_that_has_just_started_too() {
    // It ends after the first extension.
    the_guard_records_a_success_after("2500", |server, leader, resource| {
        server.query::<()>(&["SAVE"]);
        server.start_again();
        server.is_extended(resource);
        leader.signal(Signal::SIGSTOP);
    });
}

/// The guard has not heard what the node's clock shows.
#[test]
fn the_guard_of_a_dead_elector_records_a_success_on_a_node_that_has_just_started_empty() {
    the_guard_records_a_success_after("1500", |server, leader, _| {
        leader.signal(Signal::SIGSTOP);
        server.start_again();
    });
}

#[test]
fn the_elector_records_the_success_of_a_dead_guards_command() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("guard"), Witnesses::new());
    let leader = instance(&servers, &resource, &["-v"], &witnesses, &["for", "300"]).spawn();
    leader.reports(": started ");
    let job = witnesses.started(1)[0].pid;
    let guard = leader.guard();
    assert_eq!(children(guard), [job]);
    signal(guard, Signal::SIGSTOP);
    eventually("the end of the job", || (state(job) == 'Z').then_some(()));
    signal(guard, Signal::SIGKILL);
    let output = leader.wait();
    assert_eq!(output.code(), 0, "{}", output.stderr);
    let output = instance(&servers, &resource, &[], &witnesses, &["for", "1"]).output();
    assert_eq!((output.code(), witnesses.check().len()), (0, 1));
}

#[test]
fn successes_of_resources_with_names_of_all_kinds_are_kept_apart() {
    let servers = Servers::settled(3, TTL);
    let names = ["night job", "a/b//c", "{tag}x", "{tag}y", "größe-夜", "*?[a]", "night job 2", "\"q\" 'x' $HOME"];
    for name in names {
        let resource = format!("{name} {}", unique(""));
        let witnesses = Witnesses::new();
        let run = || instance(&servers, &resource, &[], &witnesses, &["for", "1"]).output();
        assert_eq!([run().code(), run().code()], [0, 0], "{name}");
        assert_eq!(witnesses.check().len(), 1, "{name}");
    }
}

#[test]
fn a_node_out_of_memory_does_not_vote_and_the_others_do() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("oom"), Witnesses::new());
    servers.0[1].query::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let run = |options: &[&str]| instance(&servers, &resource, options, &witnesses, &["for", "1500"]).output();
    let output = run(&[]);
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
    assert_eq!(run(&["--try"]).code(), 0);
    assert_eq!(witnesses.check().len(), 1);
}

#[test]
fn instances_that_do_not_lead_cause_no_cron_mail_and_verbose_ones_name_the_leader() {
    let servers = Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("mail"), Witnesses::new());
    let leader = instance(&servers, &resource, &["-v", "--holder", "web-1"], &witnesses, &["drain", "1"]).spawn();
    leader.reports(": started ");
    witnesses.started(1);
    let quiet = instance(&servers, &resource, &[], &witnesses, &[]).spawn();
    let verbose = instance(&servers, &resource, &["-v"], &witnesses, &[]).spawn();
    verbose.reports(": stands by: web-1 leads since 20");
    servers.listened_to(&resource, 2);
    leader.signal(Signal::SIGTERM);
    let lines = |text: &str| text.lines().map(|l| l.replace(&resource, "R")).collect::<Vec<_>>();
    let led = lines(&leader.wait().stderr);
    assert_eq!(led.len(), 4, "{led:?}");
    let parts = ["leads with fencing token ", "started ", "got SIGTERM from process ", " ended with exit status 0"];
    for (line, part) in led.iter().zip(parts) {
        assert!(line.starts_with("leaderrun: R: ") && line.contains(part), "{line}");
    }
    let stood_by = lines(&verbose.wait().stderr);
    assert_eq!(stood_by.len(), 2, "{stood_by:?}");
    assert!(stood_by[1].contains("web-1 succeeded at "), "{stood_by:?}");
    assert_eq!(quiet.wait().stderr, "");
}
