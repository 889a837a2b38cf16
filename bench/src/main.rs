//! Measures what leaderrun costs, side by side with other tools in one run on the loopback. Machines differ and are
//! noisy, so only ratios within a run are meaningful.

mod crowd;
mod delay;
mod events;
mod handover;
mod herd;
mod idle;
mod rslock;
mod servers;
mod table;
mod tools;
mod uncontended;
mod ways;

use std::{path::PathBuf, time::Duration};

use servers::Servers;
use table::Table;
use tools::Tool;

/// The ttl of all rows except those that name another.
const TTL: Duration = Duration::from_secs(15);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("child") => events::child(&args[2..]),
        Some("rslock") => rslock::run(&args[2..]),
        Some(leaderrun) if args.len() > 2 => measure(PathBuf::from(leaderrun), PathBuf::from(&args[2]), &args[3..]),
        _ => panic!("bench/run calls this"),
    }
}

fn measure(program: PathBuf, limit: PathBuf, args: &[String]) {
    let mut table = Table::new(&program);
    let three = Servers::redis(3, Duration::ZERO);
    let redis = Servers::redis(5, TTL);
    let folder = tempfile::tempdir().expect("a folder");
    let limit = Tool::Limit { program: limit, ports: three.ports().to_vec() };
    let leaderrun = Tool::Leaderrun { program: program.clone(), urls: three.urls(3), ttl: "15s" };
    if args.iter().any(|a| a == "--campaign") {
        herd::campaign(&leaderrun, &three, 1000, 60, &mut table);
    } else {
        let only = args.iter().skip_while(|a| *a != "--only").nth(1);
        let wanted = |part: &str| only.is_none_or(|only| only == part);
        // What isn't installed is left out.
        let etcd = tools::is_installed("etcd").then(Servers::etcd);
        let etcdctl = etcd.as_ref().map(|etcd| Tool::Etcdctl { endpoints: etcd.endpoints(), ttl: "2" });
        let flock = Tool::Flock { folder: folder.path().to_owned() };
        let rslock = Tool::Rslock { urls: three.urls(3), ttl: "2" };
        if wanted("uncontended") {
            let others: Vec<Tool> = etcdctl.iter().chain([&rslock]).cloned().collect();
            uncontended::measure(&program, &redis, &limit, &others, &mut table);
        }
        if wanted("ways") {
            ways::measure(&program, &redis, &mut table);
        }
        if wanted("handover") {
            let all: Vec<Tool> =
                [&limit, &leaderrun, &flock].into_iter().chain(&etcdctl).chain([&rslock]).cloned().collect();
            for standbys in [1, 10, 100] {
                handover::measure(&all, standbys, &mut table);
            }
            delay::measure(&program, &three, &mut table);
        }
        if wanted("death") {
            let others = etcdctl.into_iter().chain([rslock]).map(|tool| (tool, 3));
            let all: Vec<(Tool, usize)> = [(leaderrun.clone(), 20)].into_iter().chain(others).collect();
            handover::after_death(&all, &mut table);
        }
        if wanted("herd") {
            for candidates in [2, 10, 100] {
                herd::elect(&leaderrun, &three, candidates, &mut table);
            }
            for (standbys, handovers) in [(10, 8), (100, 20), (1000, 20)] {
                herd::measure(&leaderrun, &three, standbys, handovers, &mut table);
            }
        }
        if wanted("idle") {
            idle::measure(&leaderrun, &three, &mut table);
        }
    }
    if args.iter().any(|a| a == "--json") {
        println!("{}", table.json());
    } else {
        println!("{}", table.markdown());
    }
}
