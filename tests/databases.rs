//! The databases of a server are apart: the end of a leader in one wakes no standby in another.

use std::time::Duration;

use crate::support::{Leaderrun, Server, Servers, Witnesses, eventually, unique};

/// Longer than a test takes, so that no standby looks by itself.
const TTL: Duration = Duration::from_secs(8);

fn run(server: &Server, database: u8, resource: &str) -> Leaderrun {
    let url = format!("{}/{database}", server.url());
    Leaderrun::new().args(["-R", &url, "-r", resource, "-t", "8s", "-vv"])
}

#[test]
fn a_release_wakes_the_standbys_of_its_own_database_alone() {
    let Servers(servers) = &Servers::settled(1, TTL);
    let (resource, witnesses) = (unique("database"), Witnesses::new());
    for (database, other) in [(0, 1), (1, 0), (2, 1)] {
        let before = witnesses.all().len();
        let start = || run(&servers[0], database, &resource).args(witnesses.command(&["drain", "1"])).spawn();
        let leader = start();
        witnesses.started(before + 1);
        let standby = start();
        // The second one once it listens.
        eventually("two rounds", || (standby.stderr().matches("lost a round").count() == 2).then_some(()));
        for _ in 0..3 {
            assert_eq!(run(&servers[0], other, &resource).args(["--try", "true"]).output().code(), 0);
        }
        witnesses.stop_last();
        assert_eq!(leader.wait().code(), 0);
        let all = witnesses.started(before + 2);
        let [.., last, next] = all.as_slice() else { unreachable!("two have started") };
        assert!(Duration::from_nanos(next.start - last.last) < TTL / 2, "not notified: {all:?}");
        witnesses.stop_last();
        let stood_by = standby.wait().stderr;
        assert_eq!(stood_by.matches("lost a round").count(), 2, "{stood_by}");
    }
    witnesses.check();
}
