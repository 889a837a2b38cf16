//! What leaderrun costs, measured beside others in one run on the loopback: machines differ and are noisy, so that only
//! ratios within a run say something.

mod servers;
mod table;
mod uncontended;

use std::path::PathBuf;

use table::Table;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let leaderrun = PathBuf::from(args.get(1).expect("the path of leaderrun (bench/run gives it)"));
    let mut table = Table::new(&leaderrun);
    uncontended::measure(&leaderrun, &mut table);
    if args.iter().any(|a| a == "--json") {
        println!("{}", table.json());
    } else {
        println!("{}", table.markdown());
    }
}
