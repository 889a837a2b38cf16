//! A run without competitors, compared with flock(1) and with the command alone.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::resource::{UsageWho, getrusage},
    sys::time::TimeVal,
    time::{ClockId, clock_gettime},
};

use crate::{
    servers::Servers,
    table::{Table, median},
    tools::Tool,
};

const PAIRS: usize = 40;

struct Cost {
    wall: f64,
    cpu: f64,
}

/// Returns the wall and CPU time of one run, in ms.
fn run(command: &mut Command) -> Cost {
    let cpu = || {
        let used = getrusage(UsageWho::RUSAGE_CHILDREN).expect("our children's usage");
        let ms = |t: TimeVal| t.tv_sec() as f64 * 1e3 + t.tv_usec() as f64 / 1e3;
        ms(used.user_time()) + ms(used.system_time())
    };
    let (before, began) = (cpu(), Instant::now());
    let status = command.stdin(Stdio::null()).status().expect("a command that can be run");
    let wall = began.elapsed().as_secs_f64() * 1e3;
    assert!(status.success(), "{command:?}");
    Cost { wall, cpu: cpu() - before }
}

/// Returns the peak memory of the started process, in MB.
fn peak_memory(command: &mut Command) -> f64 {
    let mut child = command.stdin(Stdio::null()).process_group(0).spawn().expect("a command");
    let mut peak = 0.0_f64;
    while child.try_wait().expect("our child").is_none() {
        let pid = child.id();
        let rss = |pid: u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
            line.and_then(|l| l.trim_end_matches("kB").trim().parse::<f64>().ok()).unwrap_or(0.0) / 1e3
        };
        peak = peak.max(rss(pid));
    }
    peak
}

/// Returns the time until `date +%s.%N`, which `command` starts, tells the time, in ms.
pub fn until_start(command: &mut Command) -> f64 {
    let now = clock_gettime(ClockId::CLOCK_REALTIME).expect("a clock");
    let began = Duration::from(now).as_secs_f64();
    let output = command.output().expect("date");
    let started: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a time");
    (started - began) * 1e3
}

/// Returns the medians of two runs' wall and CPU times, and of the ratio of the second's to the first's, pair by pair.
fn compare(mut first: impl FnMut() -> Command, mut second: impl FnMut() -> Command) -> (Cost, Cost, f64) {
    run(&mut first());
    run(&mut second());
    let pairs: Vec<(Cost, Cost)> = (0..PAIRS).map(|_| (run(&mut first()), run(&mut second()))).collect();
    let middle = |of: fn(&(Cost, Cost)) -> f64| median(pairs.iter().map(of).collect());
    let one = Cost { wall: middle(|p| p.0.wall), cpu: middle(|p| p.0.cpu) };
    let other = Cost { wall: middle(|p| p.1.wall), cpu: middle(|p| p.1.cpu) };
    (one, other, middle(|p| p.1.wall / p.0.wall))
}

pub fn measure(leaderrun: &Path, servers: &Servers, limit: &Tool, others: &[Tool], table: &mut Table) {
    let folder = tempfile::tempdir().expect("a folder");
    let lock = folder.path().join("lock");
    let ours = |nodes: usize, args: &[&str]| {
        let mut command = Command::new(leaderrun);
        command.args(["-R", &servers.urls(nodes), "-r", &format!("bench{nodes}"), "--ttl", "15s", "--"]).args(args);
        command
    };
    let flock = || {
        let mut command = Command::new("flock");
        command.arg("-n").arg(&lock).arg("/bin/true");
        command
    };
    let what = "uncontended `/bin/true`";
    let alone: Vec<Cost> = (0..PAIRS).map(|_| run(&mut Command::new("/bin/true"))).collect();
    table.row(what, "alone", format!("{:.2} ms", median(alone.iter().map(|c| c.wall).collect())));
    let limits = || limit.command("uncontended", &["/bin/true".into()]);
    for nodes in [1, 3, 5] {
        let (theirs, own, ratio) = compare(flock, || ours(nodes, &["/bin/true"]));
        if nodes == 1 {
            table.row(what, "`flock -n`", format!("{:.2} ms, CPU {:.2} ms", theirs.wall, theirs.cpu));
        }
        let of_limit = if nodes == limit.nodes() {
            let (least, _, ratio) = compare(limits, || ours(nodes, &["/bin/true"]));
            table.row(what, &limit.name(), format!("{:.2} ms, CPU {:.2} ms", least.wall, least.cpu));
            format!(", {ratio:.2} × the limit")
        } else {
            String::new()
        };
        let memory = peak_memory(&mut ours(nodes, &["sleep", "0.1"]));
        table.row(
            what,
            &format!("leaderrun, {nodes} nodes"),
            format!("{:.2} ms, {ratio:.2} × flock{of_limit}; CPU {:.2} ms; peak RSS {memory:.1} MB", own.wall, own.cpu),
        );
    }
    for tool in others {
        let run_tool = || run(&mut tool.command("uncontended", &["/bin/true".into()]));
        run_tool();
        let costs: Vec<Cost> = (0..PAIRS / 2).map(|_| run_tool()).collect();
        let (wall, cpu) = costs.iter().map(|c| (c.wall, c.cpu)).unzip();
        table.row(what, &tool.name(), format!("{:.2} ms, CPU {:.2} ms", median(wall), median(cpu)));
    }
    for nodes in [1, 3] {
        let date = ["date", "+%s.%N"];
        let pairs = (0..PAIRS).map(|_| {
            let alone = until_start(Command::new(date[0]).arg(date[1]));
            until_start(&mut ours(nodes, &date)) - alone
        });
        let added = median(pairs.collect());
        table.row(
            "start to the command's start",
            &format!("leaderrun, {nodes} nodes"),
            format!("{added:.2} ms more than alone"),
        );
    }
}
