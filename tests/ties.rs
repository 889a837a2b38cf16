//! With an even number of nodes, and candidates that are near to different halves of them, one candidate leads.

mod support;

use std::time::Duration;

use support::{Leaderrun, Mode, Proxy, Servers, Witnesses, unique};

const TTL: Duration = Duration::from_secs(1);

/// Returns the URLs of the nodes as a candidate near to the first or the second half of them sees them.
fn seen_from(servers: &Servers, first_half: bool) -> (Vec<Proxy>, String) {
    let half = servers.0.len() / 2;
    let mut far = Vec::new();
    let mut urls = Vec::new();
    for (index, server) in servers.0.iter().enumerate() {
        if (index < half) == first_half {
            urls.push(server.url());
        } else {
            let proxy = Proxy::new(server.port, index as u64);
            proxy.set(Mode::Late(Duration::from_millis(10)));
            urls.push(proxy.url.clone());
            far.push(proxy);
        }
    }
    (far, urls.join(","))
}

#[test]
fn of_two_candidates_that_do_not_wait_one_leads() {
    for nodes in [2, 4] {
        let servers = Servers::settled(nodes, TTL);
        let witnesses = Witnesses::new();
        let views = [true, false].map(|first_half| seen_from(&servers, first_half));
        for _ in 0..4 {
            let resource = unique("tie");
            // The command lasts for longer than a candidate tries after a tie.
            let candidates = [&views[0].1, &views[1].1].map(|urls| {
                let options = ["--try", "-t", "1s", "-R", urls, "-r", &resource];
                Leaderrun::new().args(options).args(witnesses.command(&["for", "1500"])).spawn()
            });
            let mut codes = candidates.map(|candidate| candidate.wait().code());
            codes.sort_unstable();
            assert_eq!(codes, [0, 75], "{nodes} nodes");
        }
        witnesses.check();
    }
}
