//! With an even number of nodes, and candidates that are near to different halves of them, one candidate leads.
//!
//! PAIRS=N lets that many pairs of candidates compete, with two nodes and with four.

use std::time::Duration;

use crate::support::{Leaderrun, Mode, Proxy, Server, Servers, unique};

/// Answers that are late by more than a twentieth of it are none, also on a busy host.
const TTL: Duration = Duration::from_secs(5);

/// How many pairs compete at once, each for its own resource.
const AT_ONCE: usize = 3;

/// Returns the URLs of the nodes as a candidate near to the first or the second half of them sees them.
fn seen_from(servers: &[Server], first_half: bool) -> (Vec<Proxy>, String) {
    let half = servers.len() / 2;
    let mut far = Vec::new();
    let mut urls = Vec::new();
    for (index, server) in servers.iter().enumerate() {
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
    let rounds = std::env::var("PAIRS").map_or(1, |n| n.parse::<usize>().expect("a number of pairs").div_ceil(AT_ONCE));
    let servers = Servers::settled(4, TTL);
    for nodes in [2, 4].repeat(rounds) {
        let views = [true, false].map(|first_half| seen_from(&servers.0[..nodes], first_half));
        // The commands last for longer than a candidate tries after a tie.
        let pairs: [_; AT_ONCE] = std::array::from_fn(|_| {
            let resource = unique("tie");
            [&views[0].1, &views[1].1].map(|urls| {
                let options = ["--try", "-t", "5s", "-R", urls, "-r", &resource];
                Leaderrun::new().args(options).args(["sleep", "5.5"]).spawn()
            })
        });
        for pair in pairs {
            let mut outputs = pair.map(|candidate| candidate.wait());
            outputs.sort_by_key(|output| output.code());
            let codes = outputs.each_ref().map(|output| output.code());
            assert_eq!(codes, [0, 75], "{nodes} nodes: {outputs:?}");
        }
    }
}
