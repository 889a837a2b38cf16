//! Where a server is: IPv6, names with several addresses, and a name whose address changes under a leader.

mod support;

use std::{fs, path::Path, time::Duration};

use support::{Leaderrun, Mode, Proxy, Server, Witnesses, eventually, free_port, unique};

const TTL: Duration = Duration::from_secs(1);

fn settled() -> Server {
    let server = Server::start();
    server.settle(TTL);
    server
}

/// With names of its own.
fn with_hosts(hosts: &Path, url: &str, resource: &str) -> Leaderrun {
    let run = Leaderrun::new();
    let mount = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
    let program = run.command.get_program().to_owned();
    let words = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh"].map(Into::into);
    let words = words.into_iter().chain([hosts.into(), program]).collect();
    run.through(words).args(["-t", "1s", "-R", url, "-r", resource])
}

#[test]
fn an_address_of_ipv6() {
    let server = settled();
    let proxy = Proxy::at("[::1]:0", server.port, 1);
    assert!(proxy.url.starts_with("redis://[::1]:"), "{}", proxy.url);
    let output = Leaderrun::new().args(["-n", "-t", "1s", "-R", &proxy.url, "-r", &unique("six"), "true"]).output();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
}

#[test]
fn a_name_with_several_addresses_is_reached_by_the_one_that_answers() {
    let server = settled();
    let folder = tempfile::tempdir().expect("a folder");
    let hosts = folder.path().join("hosts");
    fs::write(&hosts, "127.0.0.66 node.test\n127.0.0.67 node.test\n127.0.0.1 node.test\n").expect("a file");
    let url = format!("redis://node.test:{}", server.port);
    let output = with_hosts(&hosts, &url, &unique("several")).args(["-n", "true"]).output();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
}

#[test]
fn a_name_whose_address_changes_under_a_leader_is_followed() {
    let (server, port) = (settled(), free_port());
    let folder = tempfile::tempdir().expect("a folder");
    let hosts = folder.path().join("hosts");
    fs::write(&hosts, "127.0.0.71 node.test\n").expect("a file");
    let [old, _new] = ["127.0.0.71", "127.0.0.72"].map(|ip| Proxy::at(&format!("{ip}:{port}"), server.port, 1));
    let (resource, witnesses) = (unique("moved"), Witnesses::new());
    let url = format!("redis://node.test:{port}");
    let leader = with_hosts(&hosts, &url, &resource).args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    fs::write(&hosts, "127.0.0.72 node.test\n").expect("a file");
    old.set(Mode::Refuse);
    let moved = std::time::Instant::now();
    eventually("three ttl", || (moved.elapsed() > 3 * TTL).then_some(()));
    witnesses.ticks_on();
    assert_eq!(witnesses.all().len(), 1, "{}", leader.stderr());
    witnesses.stop_last();
    let output = leader.wait();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
}
