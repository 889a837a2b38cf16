//! What a waiting standby costs.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    crowd::{Crowd, descendants},
    servers::Servers,
    table::Table,
    tools::Tool,
};

const WATCHED: Duration = Duration::from_secs(100);

struct Memory {
    rss: f64,
    pss: f64,
}

/// Returns the memory of a process in MiB.
fn memory(pid: i32) -> Memory {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("its memory");
    let mib = |name: &str| -> f64 {
        let line = rollup.lines().find_map(|l| l.strip_prefix(name)).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
    };
    Memory { rss: mib("Rss:"), pss: mib("Pss:") }
}

/// Returns the CPU time of a process so far, in seconds.
fn cpu(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("its time");
    stat.split(' ').next().expect("nanoseconds").parse::<f64>().expect("a number") / 1e9
}

pub fn measure(tool: &Tool, servers: &Servers, table: &mut Table) {
    let mut crowd = Crowd::new(tool, "idle", 600_000);
    crowd.join(1);
    crowd.wait_for(1, false);
    std::thread::sleep(Duration::from_millis(500));
    let before = client_memory(servers);
    crowd.join(1);
    std::thread::sleep(Duration::from_secs(2));
    let after = client_memory(servers);
    let standby = crowd.members()[1];
    let processes = [vec![standby], descendants(standby)].concat();
    let used = || processes.iter().map(|&pid| cpu(pid)).sum::<f64>();
    let (from, began, cpu_before) = (servers.turned_down(), Instant::now(), used());
    std::thread::sleep(WATCHED);
    let seconds = began.elapsed().as_secs_f64();
    let rate = (servers.turned_down() - from) as f64 / seconds;
    let memories: Vec<Memory> = processes.iter().map(|&pid| memory(pid)).collect();
    let (rss, pss) = memories.iter().fold((0.0, 0.0), |sum, m| (sum.0 + m.rss, sum.1 + m.pss));
    let minute = (used() - cpu_before) / seconds * 60.0;
    table.row(
        "an idle standby, ttl 15 s",
        &tool.name(),
        format!(
            "{} processes: RSS {rss:.2} MiB, PSS {pss:.2} MiB; CPU {minute:.3} s a minute; {rate:.2} commands/s over all nodes",
            processes.len()
        ),
    );
    table.row(
        "a standby on a node",
        &tool.name(),
        format!("{} connection, {:.1} KiB", after.0 - before.0, (after.1 - before.1) / 1024.0),
    );
}

/// Returns the number of connections to one node, and the memory that the node counts for them.
fn client_memory(servers: &Servers) -> (usize, f64) {
    let list: String = servers.query(0, &["CLIENT", "LIST"]);
    let memory = |line: &str| {
        let field = line.split(' ').find_map(|f| f.strip_prefix("tot-mem="));
        field.and_then(|m| m.parse::<f64>().ok()).unwrap_or(0.0)
    };
    (list.lines().count(), list.lines().map(memory).sum())
}
