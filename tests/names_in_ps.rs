//! ps(1) tells leaderrun's two processes apart, also after it has stood by again.

use std::time::Duration;

use crate::support::{Leaderrun, Servers, eventually, name, unique};

#[test]
fn the_processes_have_names_of_their_own_and_keep_them() {
    let ttl = Duration::from_secs(1);
    let servers = Servers::settled(1, ttl);
    let resource = unique("names");
    let leader = Leaderrun::on(&servers, &resource, ttl).args(["--rejoin", "-v", "sleep", "1000"]).spawn();
    leader.reports("started sleep");
    let names = || (name(leader.pid()), name(crate::support::children(leader.pid())[0]));
    let expected = ("leaderrun".to_owned(), "leaderrun-guard".to_owned());
    assert_eq!(names(), expected);
    servers.0[0].query::<()>(&["SET", &format!("leaderrun:{resource}"), "another", "PX", "500"]);
    leader.reports("stands by again");
    eventually("the next leadership", || (leader.stderr().matches("started sleep").count() == 2).then_some(()));
    assert_eq!(names(), expected);
}
