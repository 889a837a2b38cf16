//! The servers of a running system are changed with --redis-before, instance by instance. No two lead at once meanwhile.

use std::time::Duration;

use crate::support::{Leaderrun, Running, Server, Servers, Witnesses, eventually, unique};

/// A node that answers later than a twentieth of it isn't heard, also on a busy host.
const TTL: Duration = Duration::from_secs(8);

/// How many instances there are.
const INSTANCES: usize = 4;

fn urls(servers: &[&Server]) -> String {
    servers.iter().map(|server| server.url()).collect::<Vec<_>>().join(",")
}

struct Change<'a> {
    before: &'a [&'a Server],
    after: &'a [&'a Server],
    resource: String,
    witnesses: Witnesses,
}

impl Change<'_> {
    /// Starts an instance with these servers and, if there are any, these before. Returns once it leads or stands by.
    fn start(&self, now: &[&Server], before: &[&Server]) -> Running {
        let mut run = Leaderrun::new().args(["-R", &urls(now), "-r", &self.resource, "-t", "8s", "-v"]);
        if !before.is_empty() {
            run = run.args(["--redis-before", &urls(before)]);
        }
        let instance = run.args(self.witnesses.command(&["drain", "1"])).spawn();
        eventually("a leader or standby", || {
            let said = instance.stderr();
            (said.contains(": leads with") || said.contains(": stands by: ")).then_some(())
        });
        instance
    }

    /// Ends an instance, and starts another one in its place while somebody leads.
    fn restart(&self, instance: Running, now: &[&Server], before: &[&Server]) -> Running {
        instance.signal(nix::sys::signal::Signal::SIGTERM);
        let said = instance.wait().stderr;
        assert!(!said.contains(" another number of nodes "), "{said}");
        let instance = self.start(now, before);
        self.witnesses.ticks_on();
        instance
    }

    /// Makes the change under a leader and three standbys, in both steps.
    fn make(&self) {
        let Change { before, after, .. } = self;
        let mut instances: Vec<Running> = (0..INSTANCES).map(|_| self.start(before, &[])).collect();
        for (now, before) in [(after, *before), (after, &[][..])] {
            instances = instances.into_iter().map(|instance| self.restart(instance, now, before)).collect();
        }
        let leaders = self.witnesses.check().len();
        assert!(leaders > 2, "each step has ended a leader, but {leaders} have led");
        for server in *after {
            eventually("the lock on each new server", || server.lock(&self.resource));
        }
    }
}

fn change(before: &[&Server], after: &[&Server]) {
    Change { before, after, resource: unique("change"), witnesses: Witnesses::new() }.make();
}

#[test]
fn from_one_server_to_three() {
    let Servers(all) = &Servers::settled(3, TTL);
    change(&[&all[0]], &[&all[0], &all[1], &all[2]]);
}

#[test]
fn from_two_servers_to_three_others() {
    let Servers(all) = &Servers::settled(5, TTL);
    change(&[&all[0], &all[1]], &[&all[2], &all[3], &all[4]]);
}

#[test]
fn a_server_that_has_died_is_replaced_and_two_are_added() {
    let mut servers = Servers::settled(6, TTL);
    servers.0[2].kill();
    let all = &servers.0;
    change(&[&all[0], &all[1], &all[2]], &[&all[0], &all[1], &all[3], &all[4], &all[5]]);
}

#[test]
fn a_list_that_is_neither_is_still_told() {
    let Servers(all) = &Servers::settled(3, TTL);
    let (resource, witnesses) = (unique("neither"), Witnesses::new());
    let run = |servers: &[&Server]| Leaderrun::new().args(["-R", &urls(servers), "-r", &resource, "-t", "8s"]);
    let both = run(&[&all[0], &all[1], &all[2]]).args(["--redis-before", &urls(&[&all[0]])]);
    let leader = both.args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    let other = run(&[&all[0], &all[1]]).args(["--try"]).args(witnesses.command(&[])).output();
    assert_eq!(other.code(), 78, "{}", other.stderr);
    assert!(
        other.stderr.contains(" uses another number of nodes (3, before 1) than this instance (2); give all"),
        "{}",
        other.stderr
    );
    let status = run(&[&all[0], &all[1], &all[2]]).args(["--redis-before", &urls(&[&all[0]]), "--status"]).output();
    assert!(status.stdout.contains("and on 1 of 1 before, 1 needed"), "{}", status.stdout);
    let check = run(&[&all[0], &all[1], &all[2]]).args(["--redis-before", &urls(&[&all[0]]), "--check"]).output();
    let verdicts =
        "good: 3 of 3 nodes can vote, 2 needed, 1 may fail\nbefore: good: the node can vote, none may fail\n";
    assert!(check.stdout.ends_with(verdicts), "{}", check.stdout);
    witnesses.stop_last();
    assert_eq!(leader.wait().code(), 0);
    witnesses.check();
}

#[test]
fn a_lease_is_lost_with_the_quorum_of_either_list() {
    for lost in [0, 2] {
        let mut servers = Servers::settled(3, TTL);
        let (resource, witnesses) = (unique("either"), Witnesses::new());
        let now = urls(&[&servers.0[1], &servers.0[2]]);
        let lists = ["-R", &now, "--redis-before", &servers.0[0].url()];
        let run = Leaderrun::new().args(lists).args(["-r", &resource, "-t", "8s"]);
        let leader = run.args(witnesses.command(&[])).spawn();
        witnesses.started(1);
        servers.0[lost].kill();
        let output = leader.wait();
        assert_eq!(output.code(), 76, "{}", output.stderr);
        let shortfall = if lost == 0 { "0 of 1 node extended it" } else { "1 of 2 nodes extended it" };
        assert!(output.stderr.contains(shortfall), "{}", output.stderr);
    }
}
