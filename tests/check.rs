//! `--check` examines every node, says which has which problem and how to fix it, and leaves nothing behind.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

use crate::support::{Apart, Leaderrun, Output, Server, Servers, free_port};
use serde_json::Value;

/// Healthy nodes answer far within half of the answer timeout that follows from it, 150 ms, on a busy machine, too.
const TTL: Duration = Duration::from_secs(6);

fn check(urls: &str) -> Output {
    Leaderrun::new().args(["--check", "-t", "6s", "-R", urls]).output()
}

/// Checks a node with one problem: the weight of its finding, and that advice comes with it.
fn finds(url: &str, weight: &str, what: &str) -> Output {
    let output = check(url);
    let found = output.stdout.lines().find(|line| line.contains(what));
    let found = found.unwrap_or_else(|| panic!("{what:?} is not in: {}{}", output.stdout, output.stderr));
    assert!(found.starts_with(&format!("{weight}: redis")), "{found}");
    let (_, advice) = found.split_once(what).expect("its advice");
    assert!(advice.len() > 10, "{found}");
    assert_eq!(output.code(), if weight == "no vote" { 69 } else { 1 }, "{}", output.stdout);
    output
}

#[test]
fn healthy_nodes_are_good_and_nothing_is_left_on_them() {
    let servers = Servers::settled(3, TTL);
    let before: Vec<u64> = servers.0.iter().map(|s| s.query::<u64>(&["DBSIZE"])).collect();
    let output = check(&servers.urls());
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
    assert_eq!(output.stdout.lines().last(), Some("good: 3 of 3 nodes can vote, 2 needed, 1 may fail"));
    for server in &servers.0 {
        assert!(output.stdout.contains(&server.url()));
    }
    let after: Vec<u64> = servers.0.iter().map(|s| s.query::<u64>(&["DBSIZE"])).collect();
    assert_eq!((before, servers.keys()), (after, Vec::<String>::new()));
}

#[test]
fn a_minority_that_is_down_needs_a_fix_and_a_majority_is_bad() {
    let mut servers = Servers::settled(3, TTL);
    servers.0[0].kill();
    let output = check(&servers.urls());
    assert_eq!(output.code(), 1);
    assert!(output.stdout.contains(&format!("no vote: {} refused the connection: ", servers.0[0].url())));
    assert!(output.stdout.contains("look: 2 of 3 nodes can vote, 2 needed, none may fail"), "{}", output.stdout);
    servers.0[1].freeze();
    let output = check(&servers.urls());
    assert_eq!(output.code(), 69);
    assert!(output.stdout.contains(&format!("no vote: {} timed out: ", servers.0[1].url())), "{}", output.stdout);
    assert!(output.stdout.contains("bad: 1 of 3 nodes can vote, 2 needed: nobody can lead"), "{}", output.stdout);
    servers.0[1].thaw();
}

#[test]
fn what_keeps_a_node_from_voting() {
    let server = Server::start();
    finds(&server.url(), "no vote", "has just started and votes in ");
    server.settle(TTL);
    finds(&format!("{},redis://localhost:{}", server.url(), server.port), "no vote", "is the same server as ");
    server.query::<()>(&["CONFIG", "SET", "requirepass", "secret"]);
    finds(&server.url(), "no vote", "wants a password (NOAUTH)");
    let wrong = finds(&format!("redis://:s3cret@127.0.0.1:{}", server.port), "no vote", "rejected the user name");
    assert!(!wrong.stdout.contains("s3cret"));
    let cluster = Server::start_with(&["--cluster-enabled", "yes"]);
    finds(&cluster.url(), "no vote", "belongs to a cluster");
    let replica = Server::start();
    replica.query::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    finds(&replica.url(), "no vote", "is a replica");
    finds(&format!("redis://127.0.0.1:{}", free_port()), "no vote", "refused the connection");
}

#[test]
fn what_a_voting_node_risks() {
    let server = Server::start();
    server.settle(TTL);
    server.query::<()>(&["CONFIG", "SET", "maxmemory", "1gb"]);
    assert_eq!(check(&server.url()).code(), 0);
    server.query::<()>(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
    finds(&server.url(), "risk", "may throw the lock out when its memory is full (maxmemory-policy volatile-lru)");
    server.query::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let used: String = server.query(&["INFO", "memory"]);
    let used: u64 =
        used.lines().find_map(|l| l.strip_prefix("used_memory:")).and_then(|n| n.parse().ok()).expect("a number");
    server.query::<()>(&["CONFIG", "SET", "maxmemory", &(used * 105 / 100).to_string()]);
    finds(&server.url(), "risk", " % of its memory in use");
    server.query::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    finds(&server.url(), "no vote", "is out of memory (OOM)");
}

#[test]
fn data_that_could_not_be_saved() {
    let server = Server::start();
    server.settle(TTL);
    server.query::<()>(&["CONFIG", "SET", "save", "3600 1"]);
    std::fs::create_dir(server.folder().join("dump.rdb")).expect("a folder in the file's place");
    server.query::<()>(&["SET", "some", "thing"]);
    server.query::<()>(&["BGSAVE"]);
    crate::support::eventually("a save that fails", || {
        server.query::<String>(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err").then_some(())
    });
    server.query::<()>(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    finds(&server.url(), "risk", "could not save its data");
    server.query::<()>(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"]);
    finds(&server.url(), "no vote", "can't save its data (MISCONF)");
}

#[test]
fn all_missing_rights_at_once() {
    let server = Server::start();
    server.settle(TTL);
    let grant = |rights: &[&str]| {
        let user = [
            "ACL",
            "SETUSER",
            "leaderrun",
            "reset",
            "on",
            ">secret",
            "~leaderrun:*",
            "resetchannels",
            "&leaderrun:*",
            "-@all",
        ];
        server.query::<()>(&[&user[..], rights].concat());
    };
    let url = format!("redis://leaderrun:secret@127.0.0.1:{}", server.port);
    grant(&["+info", "+time", "+eval", "+get", "+expire", "+pexpire", "+publish", "+del"]);
    let output = finds(&url, "no vote", "doesn't let this user run SET, PTTL (NOPERM)");
    assert!(output.stdout.contains("ACL SETUSER USER +set +pttl"), "{}", output.stdout);
    grant(&["+info", "+time", "+eval", "+get", "+expire", "+pexpire", "+publish", "+del", "+set", "+pttl"]);
    finds(&url, "risk", "doesn't let this user listen");
    server.query::<()>(&["ACL", "SETUSER", "leaderrun", "+subscribe", "+pubsub|numsub", "+zadd", "+zrevrange"]);
    let lacking =
        "doesn't let this user run SCAN, ZREMRANGEBYRANK, ZREMRANGEBYSCORE (NOPERM): runs are not all recorded";
    finds(&url, "risk", lacking);
    server.query::<()>(&["ACL", "SETUSER", "leaderrun", "+scan", "+zremrangebyrank", "+zremrangebyscore"]);
    assert_eq!(check(&url).code(), 0);
    server.query::<()>(&["ACL", "SETUSER", "leaderrun", "-publish"]);
    let output = finds(&url, "risk", "doesn't let this user publish on the lock's channel");
    assert!(output.stdout.contains("ACL SETUSER USER +publish"), "{}", output.stdout);
    server.query::<()>(&["ACL", "SETUSER", "leaderrun", "+publish", "resetkeys", "~other:*"]);
    let other = ["--check", "--key-prefix", "other:", "-t", "6s", "-R", &url];
    let output = Leaderrun::new().args(other).output();
    assert!(output.stdout.contains("ACL SETUSER USER &other:*"), "{}", output.stdout);
    assert!(output.stdout.contains("risk: ") && output.stdout.contains("look: the node can vote"), "{}", output.stdout);
    assert_eq!(output.code(), 1, "{}", output.stdout);
    let leads = ["--key-prefix", "other:", "-n", "-t", "6s", "-R", &url, "-r", "x", "true"];
    assert_eq!(Leaderrun::new().args(leads).output().code(), 0, "a leader needs no channel");
    let output = finds(&url, "no vote", "doesn't let this user use the lock's keys (NOPERM)");
    assert!(output.stdout.contains("ACL SETUSER USER ~leaderrun:*"), "{}", output.stdout);
}

#[test]
fn a_master_with_a_replica_is_checked_like_any_other() {
    let server = Server::start();
    let _replica = Server::start_with(&["--replicaof", "127.0.0.1", &server.port.to_string()]);
    server.settle(TTL);
    crate::support::eventually("a replica", || {
        server.query::<String>(&["INFO", "replication"]).contains("connected_slaves:1").then_some(())
    });
    let output = check(&server.url());
    assert_eq!(output.code(), 0, "{}", output.stdout);
    assert!(output.stdout.contains("has 1 replica: "), "{}", output.stdout);
    server.query::<()>(&["ACL", "SETUSER", "leaderrun", "on", ">secret", "~*", "&*", "+@all", "-set"]);
    let url = format!("redis://leaderrun:secret@127.0.0.1:{}", server.port);
    finds(&url, "no vote", "doesn't let this user run SET (NOPERM)");
}

#[test]
fn a_ttl_that_is_too_short_for_the_round_trips() {
    let server = Server::start();
    server.settle(TTL);
    let proxy = crate::support::Proxy::new(server.port, 1);
    proxy.set(crate::support::Mode::Late(Duration::from_millis(100)));
    finds(&proxy.url, "risk", "with --ttl 6s it must within 300ms");
    proxy.set(crate::support::Mode::Late(Duration::from_millis(200)));
    finds(&proxy.url, "no vote", "with --ttl 6s it must within 300ms");
}

/// Starts a server that answers INFO with this text, TIME with the largest possible numbers, and all else with this error.
/// Returns its URL.
fn server_that_says(info: &str, error: &'static str) -> String {
    let largest = u64::MAX;
    let info = format!("${}\r\n{info}\r\n", info.len());
    let time = format!("*2\r\n$20\r\n{largest}\r\n$20\r\n{largest}\r\n");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("redis://{}", listener.local_addr().expect("its address"));
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let (info, time) = (info.clone(), time.clone());
            thread::spawn(move || {
                let mut asked = [0; 16384];
                while let Ok(length @ 1..) = client.read(&mut asked) {
                    let answer = match &asked[..length] {
                        b"*1\r\n$4\r\nINFO\r\n" => &info,
                        b"*1\r\n$4\r\nTIME\r\n" => &time,
                        _ => error,
                    };
                    if client.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[test]
fn the_largest_numbers_that_a_server_can_report_are_shown_like_any_other() {
    let largest = u64::MAX;
    let info = format!(
        "uptime_in_seconds:{largest}\r\nmaxmemory:1\r\nused_memory:{largest}\r\nconnected_slaves:{largest}\r\n"
    );
    let url = server_that_says(&info, "-NONE of that\r\n");
    let output = finds(&url, "no vote", "answered: NONE of that");
    for part in [" ahead of this machine's: ", "has 100 % of its memory in use", &format!("has {} replicas", u64::MAX)]
    {
        assert!(output.stdout.contains(part), "{part:?} is not in: {}", output.stdout);
    }
    assert_eq!(output.stderr, "");
    let json = Leaderrun::new().args(["--check", "--json", "-t", "6s", "-R", &url]).output();
    let told: Value = serde_json::from_str(&json.stdout).expect("JSON");
    let node = &told["nodes"][0];
    assert_eq!(node["up_seconds"].as_u64(), Some(u64::MAX));
    assert!(node["clock_ahead_ms"].as_i64().is_some_and(|ahead| ahead > i64::MAX / 2), "{told}");
}

#[test]
fn what_a_server_says_stays_on_its_line_and_moves_no_cursor() {
    let info = "redis_version:7.0\x1b]0;title\x07\r\nuptime_in_seconds:100\r\n";
    let url = server_that_says(info, "-NONE of\x1b[2J\rgood: \u{9b}2J\u{202e}\r\n");
    for json in [&[][..], &["--json"]] {
        let output = Leaderrun::new().args(["--check", "-t", "6s", "-R", &url]).args(json).output();
        crate::support::is_plain(&output.stdout);
        assert!(output.stdout.contains("NONE of") && output.stdout.contains("7.0"), "{}", output.stdout);
    }
}

/// On this machine nobody can read the traffic; the name of another leads here, too.
#[test]
fn a_password_without_tls_is_noted_where_it_leaves_the_machine() {
    let Some(apart) = Apart::enter(a_password_without_tls_is_noted_where_it_leaves_the_machine) else { return };
    let server = Server::start();
    server.settle(TTL);
    server.query::<()>(&["ACL", "SETUSER", "job", "on", ">secret", "~*", "&*", "+@all"]);
    apart.etc("hosts", "127.0.0.1 another.test\n");
    for (host, noted) in [("another.test", true), ("localhost", false)] {
        let output = check(&format!("redis://job:secret@{host}:{}", server.port));
        assert_eq!(output.code(), 0, "{}", output.stdout);
        let note = format!("note: redis://{host}:{} gets a password without TLS: ", server.port);
        assert_eq!(output.stdout.contains(&note), noted, "{}", output.stdout);
    }
}

#[test]
fn json_reports_the_same() {
    let (server, port) = (Server::start(), free_port());
    server.settle(TTL);
    let urls = format!("{},redis://127.0.0.1:{port}", server.url());
    let output = Leaderrun::new().args(["--check", "--json", "-t", "6s", "-R", &urls]).output();
    assert_eq!(output.code(), 69);
    let told: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(
        (told["exit_status"].as_u64(), told["able"].as_u64(), told["quorum"].as_u64()),
        (Some(69), Some(1), Some(2))
    );
    let [good, bad] = [&told["nodes"][0], &told["nodes"][1]];
    assert!(good["round_trip_ms"].is_f64() && good["server"].is_string() && good["clock_ahead_ms"].is_i64(), "{told}");
    assert_eq!(bad["findings"][0]["weight"], "no_vote");
    assert_eq!(bad["findings"][0]["found"], "refused the connection");
}

#[test]
fn it_needs_servers_and_no_command() {
    for (args, part) in [
        (&["--check"][..], "use --redis URL,... for many machines or --local"),
        (&["--check", "--local"], "--check asks the Redis servers, of which --local has none"),
        (&["--check", "-R", "redis://h", "true"], "takes no command"),
        (&["--json", "--local", "-r", "x", "true"], "--check"),
    ] {
        let output = Leaderrun::new().args(args).output();
        assert_eq!(output.code(), 64, "{args:?}: {}", output.stderr);
        assert!(output.stderr.contains(part), "{args:?}: {}", output.stderr);
    }
}
