//! Nodes that can't be used give no vote, are named once with the reason, and don't stop a quorum of the others.

use std::{
    io::{Read, Write},
    net::TcpListener,
    time::Duration,
};

use crate::support::{LONG_TTL, Leaderrun, Server, Servers, Witnesses, unique};

const TTL: Duration = Duration::from_secs(1);

/// Checks that a node is named with a reason when it is the only one, and is outvoted by two good ones.
fn is_outvoted(url: &str, label: &str, reason: &str) {
    let servers = Servers::settled(2, TTL);
    let alone = Leaderrun::new()
        .args(["-R", url, "--resource", &unique("bad"), "--ttl", "1s", "--try", "echo", "led"])
        .output();
    assert_eq!((alone.code(), alone.stdout.as_str()), (69, ""), "{}", alone.stderr);
    assert!(alone.stderr.contains(&format!("0 of 1 node can vote, 1 needed ({label} {reason}")), "{}", alone.stderr);
    assert_eq!(alone.stderr.lines().count(), 1, "{}", alone.stderr);
    assert!(!alone.stderr.contains("secret"), "{}", alone.stderr);

    let urls = format!("{url},{}", servers.urls());
    let outvoted =
        Leaderrun::new().args(["-R", &urls, "--resource", &unique("bad"), "--ttl", "1s", "echo", "led"]).output();
    assert_eq!((outvoted.code(), outvoted.stdout.as_str()), (0, "led\n"), "{}", outvoted.stderr);
    assert_eq!(outvoted.stderr, "");
}

#[test]
fn a_node_that_requires_a_password() {
    let node = Server::start_with(&["--requirepass", "secret"]);
    is_outvoted(&node.url(), &node.url(), "wants a password (NOAUTH)");
}

#[test]
fn a_node_that_rejects_the_password() {
    let node = Server::start_with(&["--requirepass", "other"]);
    let url = format!("redis://:secret@127.0.0.1:{}", node.port);
    is_outvoted(&url, &node.url(), "rejected the user name or password");
}

#[test]
fn a_user_who_may_not_run_the_commands() {
    let node = Server::start();
    node.query::<()>(&["ACL", "SETUSER", "limited", "on", ">secret", "~*", "+ping"]);
    let url = format!("redis://limited:secret@127.0.0.1:{}", node.port);
    is_outvoted(&url, &node.url(), "doesn't let this user run EVAL (NOPERM)");
}

#[test]
fn a_replica() {
    let node = Server::start();
    node.query::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    node.settle(TTL);
    is_outvoted(&node.url(), &node.url(), "is a replica (READONLY)");
}

#[test]
fn a_member_of_a_cluster() {
    let node = Server::start_with(&["--cluster-enabled", "yes"]);
    is_outvoted(&node.url(), &node.url(), "belongs to a cluster (MOVED)");
}

#[test]
fn a_node_without_memory() {
    let node = Server::start_with(&["--maxmemory", "1"]);
    node.settle(TTL);
    is_outvoted(&node.url(), &node.url(), "is out of memory (OOM)");
}

#[test]
fn a_node_that_cannot_save() {
    let node = Server::start_with(&["--dbfilename", "dump"]);
    node.query::<()>(&["CONFIG", "SET", "save", "3600 1"]);
    node.query::<()>(&["SET", "something", "1"]);
    // A folder blocks the path of the dump.
    std::fs::create_dir(node.socket().with_file_name("dump")).expect("a folder");
    node.query::<()>(&["BGSAVE"]);
    crate::support::eventually("a failed save", || {
        let info: String = node.query(&["INFO", "persistence"]);
        info.contains("rdb_last_bgsave_status:err").then_some(())
    });
    node.settle(TTL);
    is_outvoted(&node.url(), &node.url(), "can't save its data (MISCONF)");
}

#[test]
fn a_node_that_is_loading() {
    let mut node = Server::start_with(&["--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"]);
    node.query::<()>(&["EVAL", "for i = 1, 20000 do redis.call('SET', i, string.rep('x', i % 100)) end", "0"]);
    node.query::<()>(&["SAVE"]);
    node.start_again();
    is_outvoted(&node.url(), &node.url(), "is still loading its data (LOADING)");
}

#[test]
fn a_database_that_does_not_exist() {
    let node = Server::start();
    let url = format!("{}/99", node.url());
    is_outvoted(&url, &url, "answered: ERR DB index is out of range");
}

#[test]
fn a_server_that_is_not_redis() {
    for greeting in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let listener = TcpListener::bind(("127.0.0.1", crate::support::free_port())).expect("a port");
        let url = format!("redis://{}", listener.local_addr().expect("its address"));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                std::thread::spawn(move || {
                    let mut asked = [0; 64];
                    if stream.read(&mut asked).is_ok() {
                        let _ = stream.write_all(greeting.as_bytes());
                        let _ = stream.read(&mut asked);
                    }
                });
            }
        });
        is_outvoted(&url, &url, "doesn't speak the Redis protocol");
    }
}

#[test]
fn a_server_that_closes_each_connection() {
    let listener = TcpListener::bind(("127.0.0.1", crate::support::free_port())).expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || listener.incoming().for_each(drop));
    is_outvoted(&url, &url, "closed the connection");
}

#[test]
fn a_port_that_nobody_listens_on() {
    let url = format!("redis://127.0.0.1:{}", crate::support::free_port());
    is_outvoted(&url, &url, "refused the connection");
}

#[test]
fn an_unknown_host_name() {
    is_outvoted("redis://no-such-host.invalid:6379", "redis://no-such-host.invalid:6379", "can't be resolved: ");
}

#[test]
fn another_value_under_the_locks_name() {
    let servers = Servers::settled(1, TTL);
    let resource = unique("list");
    servers.0[0].query::<()>(&["LPUSH", &format!("leaderrun:{resource}"), "x"]);
    let output = Leaderrun::on(&servers, &resource, TTL).args(["--try", "echo", "led"]).output();
    assert_eq!(output.code(), 69);
    assert!(output.stderr.contains("has something else under the lock's name (WRONGTYPE)"), "{}", output.stderr);
}

#[test]
fn percent_encoded_passwords_and_users_work_also_in_another_database() {
    let node = Server::start();
    node.query::<()>(&["ACL", "SETUSER", "job", "on", ">s,cret", "~*", "&*", "+@all"]);
    node.query::<()>(&["CONFIG", "SET", "requirepass", "p@ss:w/rd"]);
    for url in [
        format!("redis://:p%40ss%3Aw%2Frd@127.0.0.1:{}", node.port),
        format!("redis://default:p%40ss%3Aw%2Frd@localhost:{}/2", node.port),
        format!("redis://job:s%2Ccret@127.0.0.1:{}/3", node.port),
        format!("unix://{}?db=4&user=job&pass=s%2Ccret", node.socket().display()),
    ] {
        let output = Leaderrun::new()
            .args(["-R", &url, "--resource", &unique("signed-in"), "--ttl", "1s", "echo", "led"])
            .output();
        assert_eq!((output.code(), output.stdout.as_str(), output.stderr.as_str()), (0, "led\n", ""), "{url}");
    }
}

#[test]
fn one_server_under_two_names_is_an_error_and_starts_nothing() {
    let servers = Servers::settled(2, TTL);
    let port = servers.0[0].port;
    for urls in [
        format!("redis://127.0.0.1:{port},redis://127.0.0.1:{port}/1"),
        format!("redis://127.0.0.1:{port},redis://localhost:{port}"),
        format!("redis://127.0.0.1:{port},unix://{}", servers.0[0].socket().display()),
        format!("redis://127.0.0.1:{port},redis://localhost:{port},{}", servers.0[1].url()),
    ] {
        let resource = unique("twice");
        let output =
            Leaderrun::new().args(["-R", &urls, "--resource", &resource, "--ttl", "1s", "echo", "led"]).output();
        assert_eq!((output.code(), output.stdout.as_str()), (64, ""), "{urls}: {}", output.stderr);
        assert!(output.stderr.contains("the same server"), "{}", output.stderr);
        assert_eq!(servers.locked(&resource), 0);
    }
}

#[test]
fn a_fencing_token_from_the_far_future_is_reported_with_what_to_do() {
    let servers = Servers::settled(3, LONG_TTL);
    let (resource, witnesses) = (unique("future"), Witnesses::new());
    let key = format!("leaderrun:{resource}:fence");
    servers.0[0].query::<()>(&["SET", &key, "9000000000000000"]);
    servers.0[2].freeze();
    let run = || Leaderrun::on(&servers, &resource, LONG_TTL);
    let output = run().args(["--try", "true"]).output();
    assert_eq!(output.code(), 69, "{}", output.stderr);
    assert!(output.stderr.contains("has a fencing token from 2255-03-"), "{}", output.stderr);
    let standby = run().args(witnesses.command(&[])).spawn();
    standby.reports(&format!("set the clocks right, then DEL {key} there; standing by"));
    assert_eq!(standby.stderr().lines().count(), 1, "{}", standby.stderr());
    servers.0[0].query::<()>(&["DEL", &key]);
    witnesses.started(1);
    servers.0[2].thaw();
}
