//! The same cron entry on every machine: clocks differ by more than a job takes, leaders crash and nodes restart; and
//! in each period the job succeeds exactly once.
//!
//! PERIODS=N runs each test through N periods instead of the few that fit in the everyday tests.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Leaderrun, Output, Running, Servers, Witness, Witnesses, children, eventually, monotonic, signal, unique,
};
use nix::sys::signal::Signal;

const TTL: Duration = Duration::from_secs(1);

/// How far apart the instances' clocks are.
const APART: Duration = Duration::from_secs(3);

/// A period: longer than the difference between the clocks, shorter than the time between two runs.
const ONCE_PER: &str = "4s";

const INSTANCES: usize = 5;

/// What goes wrong in each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    /// The job fails on this many instances, those that come first.
    Failures(usize),
    /// The first leader's elector, guard and job are killed, in turn.
    Kills,
    /// The nodes are restarted empty, in turn.
    Restarts,
    /// A node is down throughout.
    NodeDown,
}

/// Runs the periods, spread over separate crontabs that run side by side, as far as there are processors for them.
fn exactly_one_success_in_each_period(name: &str, crontabs: usize, few: usize, trouble: Trouble) {
    let crontabs = crontabs.min(5 * thread::available_parallelism().map_or(1, usize::from));
    let periods = std::env::var("PERIODS").map_or(few, |n| n.parse().expect("a number of periods"));
    thread::scope(|scope| {
        for crontab in 0..crontabs {
            scope.spawn(move || {
                let mut servers = Servers::settled(3, TTL);
                if trouble == Trouble::NodeDown {
                    servers.0[crontab % 3].kill();
                }
                let resource = unique(name);
                let mut random = fastrand::Rng::with_seed(crontab as u64);
                let witnesses = Witnesses::new();
                let windows = (crontab..periods).step_by(crontabs).map(|period| {
                    let begin = monotonic();
                    let due = one_period(&mut servers, &resource, period, trouble, &mut random, &witnesses);
                    Window { begin, end: monotonic(), due }
                });
                let windows: Vec<_> = windows.collect();
                each_window_has_its_success(&windows, &witnesses);
            });
        }
    });
}

/// A period, in nanoseconds of CLOCK_MONOTONIC, and how many successes are due in it.
struct Window {
    begin: u64,
    end: u64,
    due: usize,
}

/// Matches each success to the window in which it began and ended: none is missing, and none is left over.
fn each_window_has_its_success(windows: &[Window], witnesses: &Witnesses) {
    let all = witnesses.check();
    let mut successes: Vec<_> = all.iter().filter(|witness| witness.status == Some(0)).collect();
    for Window { begin, end, due } in windows {
        let before = successes.len();
        successes.retain(|success| !(*begin..*end).contains(&success.start) || success.last > *end);
        assert_eq!(before - successes.len(), *due, "in the period from {begin} to {end}: {all:#?}");
    }
    assert!(successes.is_empty(), "in no period: {successes:#?}");
}

/// Returns how many successes were due.
fn one_period(
    servers: &mut Servers,
    resource: &str,
    period: usize,
    trouble: Trouble,
    random: &mut fastrand::Rng,
    witnesses: &Witnesses,
) -> usize {
    let (ran, succeeded) = (witnesses.all().len(), witnesses.successes());
    let mut offsets: Vec<Duration> = (0..INSTANCES).map(|_| APART.mul_f64(random.f64())).collect();
    offsets.sort();
    let began = Instant::now();
    let mut instances: Vec<Running> = Vec::new();
    let mut troubled = false;
    let mut outputs: Vec<Output> = Vec::new();
    while instances.len() < INSTANCES {
        let number = instances.len();
        eventually("an instance's clock", || (began.elapsed() >= offsets[number]).then_some(()));
        let shortest = if trouble == Trouble::Kills { 300 } else { 10 };
        let length = random.u32(shortest..1000).to_string();
        let status = if matches!(trouble, Trouble::Failures(fail) if number < fail) { "1" } else { "0" };
        let job = witnesses.command(&["for", &length, "exit", status]);
        instances.push(Leaderrun::on(servers, resource, TTL).args(["--once-per", ONCE_PER]).args(job).spawn());
        if !troubled {
            troubled = true;
            match trouble {
                Trouble::Kills => kill_one_of(&instances[0], period, &witnesses.started(ran + 1)[ran]),
                Trouble::Restarts => {
                    witnesses.started(ran + 1);
                    servers.0[period % 3].start_again();
                }
                _ => {}
            }
        }
    }
    outputs.extend(instances.into_iter().map(Running::wait));
    let successes = witnesses.successes() - succeeded;
    let attempts = witnesses.check();
    let shown = || format!("{trouble:?}, period {period}: {attempts:#?}\n{outputs:#?}");
    let expected = usize::from(trouble != Trouble::Failures(INSTANCES));
    assert_eq!(successes, expected, "{}", shown());
    let done = outputs.iter().filter(|o| o.code() == 0).count();
    let most = if trouble == Trouble::Kills || matches!(trouble, Trouble::Failures(_)) { 0 } else { INSTANCES };
    assert!(done >= most.max(expected), "{}", shown());
    let quiet = |o: &&Output| o.code() != 0 || o.stderr.is_empty();
    assert!(outputs.iter().all(|o| quiet(&o)), "{}", shown());
    // The next period begins when this one is over on every node that is up.
    for server in servers.0.iter().filter(|server| server.is_up()) {
        eventually("the end of the period", || server.get(&format!("{resource}:done")).is_none().then_some(()));
    }
    expected
}

fn kill_one_of(leader: &Running, period: usize, job: &Witness) {
    let job = job.pid;
    match period % 3 {
        0 => leader.signal(Signal::SIGKILL),
        1 => signal(leader.guard(), Signal::SIGKILL),
        _ => signal(children(leader.guard()).into_iter().find(|&c| c == job).expect("the job"), Signal::SIGKILL),
    }
}

#[test]
fn with_clocks_that_differ() {
    exactly_one_success_in_each_period("apart", 10, 100, Trouble::None);
}

#[test]
fn with_a_job_that_fails_on_the_first_instance() {
    exactly_one_success_in_each_period("first", 3, 6, Trouble::Failures(1));
}

#[test]
fn with_a_job_that_fails_on_all_instances_but_the_last() {
    exactly_one_success_in_each_period("last", 3, 6, Trouble::Failures(INSTANCES - 1));
}

#[test]
fn with_a_job_that_always_fails_there_is_none() {
    exactly_one_success_in_each_period("none", 2, 4, Trouble::Failures(INSTANCES));
}

#[test]
fn with_leaders_that_are_killed() {
    exactly_one_success_in_each_period("kills", 3, 9, Trouble::Kills);
}

#[test]
fn with_a_node_restarted_empty_each_time() {
    exactly_one_success_in_each_period("restarts", 3, 9, Trouble::Restarts);
}

#[test]
fn with_a_node_down_throughout() {
    exactly_one_success_in_each_period("down", 3, 6, Trouble::NodeDown);
}
