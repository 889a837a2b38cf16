//! What a handover and an election with many participants cost the servers.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::{
    crowd::Crowd,
    events::gaps,
    servers::Servers,
    table::{Table, spread},
    tools::Tool,
};

/// Holds the lock by hand until the crowd has gathered, then releases it as a leader does.
struct Gate<'a> {
    servers: &'a Servers,
    lock: String,
}

impl<'a> Gate<'a> {
    fn close(servers: &'a Servers, resource: &str) -> Self {
        let gate = Gate { servers, lock: format!("leaderrun:{resource}") };
        for node in 0..servers.ports().len() {
            servers.query::<()>(node, &["SET", &gate.lock, "gate", "PX", "600000"]);
        }
        gate
    }

    fn listeners(&self, node: usize) -> usize {
        self.servers.query::<(String, usize)>(node, &["PUBSUB", "NUMSUB", &self.lock]).1
    }

    fn wait_for(&self, listeners: usize) {
        for node in 0..self.servers.ports().len() {
            while self.listeners(node) < listeners {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // Each standby asks once more after it begins to listen.
        std::thread::sleep(Duration::from_millis(1500));
    }

    fn open(&self) {
        for node in 0..self.servers.ports().len() {
            self.servers.query::<()>(node, &["DEL", &self.lock]);
        }
        let told = format!("released {} gate", self.listeners(0));
        self.servers.query::<()>(0, &["PUBLISH", &self.lock, &told]);
    }
}

/// Counts the commands on all nodes per handover, without those of the leader's own life.
pub fn measure(tool: &Tool, servers: &Servers, standbys: usize, handovers: usize, table: &mut Table) {
    let resource = format!("herd{standbys}");
    let gate = Gate::close(servers, &resource);
    let mut crowd = Crowd::new(tool, &resource, 300);
    crowd.join(standbys);
    gate.wait_for(standbys);
    gate.open();
    crowd.wait_for(1, false);
    std::thread::sleep(Duration::from_millis(200));
    let before = servers.scripts_run();
    let runs = crowd.wait_for(handovers + 1, false);
    std::thread::sleep(Duration::from_millis(200));
    let commands = (servers.scripts_run() - before) as f64 / handovers as f64;
    table.row(
        &format!("a handover with {standbys} standbys"),
        &tool.name(),
        format!("{commands:.1} commands of all nodes together; {}", spread(gaps(&runs))),
    );
}

/// Starts all candidates at the same instant: the servers are stopped until every candidate has asked.
pub fn elect(tool: &Tool, servers: &Servers, candidates: usize, table: &mut Table) {
    let (mut commands, mut took) = (Vec::new(), Vec::new());
    for election in 0..10 {
        let mut crowd = Crowd::new(tool, &format!("election{candidates}-{election}"), 1500);
        let before = servers.scripts_run();
        servers.signal(Signal::SIGSTOP);
        crowd.join(candidates);
        std::thread::sleep(Duration::from_millis(50 + 3 * candidates as u64));
        let began = crate::events::now();
        servers.signal(Signal::SIGCONT);
        let runs = crowd.wait_for(1, false);
        took.push((runs[0].start - began) as f64 / 1e6);
        std::thread::sleep(Duration::from_millis(700));
        commands.push((servers.scripts_run() - before) as f64 / candidates as f64);
    }
    let mean = commands.iter().sum::<f64>() / commands.len() as f64;
    table.row(
        &format!("an election with {candidates} candidates at the same instant"),
        &tool.name(),
        format!("{mean:.1} commands a candidate, {:.1} rounds; {}", mean / servers.ports().len() as f64, spread(took)),
    );
}

/// Runs a crowd of standbys for a minute, with a leader that ends every second.
pub fn campaign(tool: &Tool, servers: &Servers, standbys: usize, seconds: usize, table: &mut Table) {
    let gate = Gate::close(servers, "campaign");
    let mut crowd = Crowd::new(tool, "campaign", 1000);
    crowd.join(standbys);
    gate.wait_for(standbys);
    gate.open();
    let runs = crowd.wait_for(seconds, false);
    let rejected: u64 = (0..servers.ports().len())
        .map(|node| {
            let stats: String = servers.query(node, &["INFO", "stats"]);
            let line = stats.lines().find_map(|l| l.strip_prefix("rejected_connections:")).expect("a count");
            line.trim().parse::<u64>().expect("a number")
        })
        .sum();
    let handovers = runs.len() - 1;
    table.row(
        &format!("{standbys} standbys, a leader that ends every second, {seconds} times"),
        &tool.name(),
        format!("{handovers} handovers, none overlaps, {rejected} connections refused; {}", spread(gaps(&runs))),
    );
}
