//! Names are resolved without the system's C library: whatever nsswitch.conf says, without any libc, and while a leader
//! can't start a thread.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{
    Apart, Leaderrun, Mode, NameServer, Proxy, Running, Says, Server, Servers, Witnesses, eventually, example,
    free_port, is_found, is_found_by, is_not_resolved, unique,
};

const TTL: Duration = Duration::from_secs(1);

/// The `hosts` lines of Debian, Ubuntu, Fedora and Arch, which depend on what is installed.
const SWITCHES: [&str; 4] = [
    "files dns",
    "files myhostname dns",
    "files mdns4_minimal [NOTFOUND=return] dns",
    "files resolve [!UNAVAIL=return] dns",
];

fn settled() -> Server {
    let server = Server::start();
    server.settle(TTL);
    server
}

/// Checks that three ttl later the command still runs, and is the only one there was.
fn leads_on(leader: &Running, witnesses: &Witnesses) {
    let began = Instant::now();
    eventually("three ttl", || (began.elapsed() > 3 * TTL).then_some(()));
    witnesses.ticks_on();
    assert_eq!(witnesses.all().len(), 1, "{}", leader.stderr());
}

fn ends_well(leader: Running, witnesses: &Witnesses) {
    witnesses.stop_last();
    let output = leader.wait();
    assert!(output.code() == 0 && !output.stderr.contains("panicked"), "{output:?}");
}

/// A debug build keeps an unreachable part of the loader, but not what calls a module's functions. A release is
/// stripped of symbols and has none of it.
#[test]
fn the_program_has_no_loader_of_nss_modules() {
    let program = fs::read(env!("CARGO_BIN_EXE_leaderrun")).expect("the program");
    for text in program.split(|&byte| byte == 0) {
        assert!(![&b"getaddrinfo"[..], b"__nss_lookup_function"].contains(&text), "{}", String::from_utf8_lossy(text));
        assert!(cfg!(debug_assertions) || !text.windows(7).any(|bytes| bytes == b"libnss_"), "a name of modules");
    }
}

#[test]
fn names_resolve_or_fail_whatever_nsswitch_conf_says() {
    let Some(apart) = Apart::enter(names_resolve_or_fail_whatever_nsswitch_conf_says) else { return };
    let server = Server::start();
    let _six = Proxy::at(&format!("[::1]:{}", server.port), server.port, 1);
    let names = NameServer::at("127.0.0.53")
        .with("four.test", Says::addresses("127.0.0.1"))
        .with("six.test", Says::addresses("::1"));
    apart.etc("hosts", "127.0.0.1 localhost\n127.0.0.1 another.test listed.test # a comment\n");
    apart.etc("resolv.conf", &names.line());
    for switch in SWITCHES {
        apart.etc("nsswitch.conf", &format!("passwd: files\nhosts: {switch}\n"));
        for host in ["listed.test", "four.test", "six.test"] {
            is_found(host, server.port);
        }
        is_not_resolved("missing.test");
    }
}

#[test]
fn a_name_in_the_hosts_file_costs_no_query_and_needs_no_name_server() {
    let Some(apart) = Apart::enter(a_name_in_the_hosts_file_costs_no_query_and_needs_no_name_server) else { return };
    let server = Server::start();
    let names = NameServer::at("127.0.0.53");
    apart.etc("hosts", "127.0.0.1\tlisted.test listed\n");
    apart.etc("resolv.conf", &format!("search test\n{}", names.line()));
    let both = |port| ["listed.test", "listed"].into_iter().for_each(|host| is_found(host, port));
    for switch in SWITCHES {
        apart.etc("nsswitch.conf", &format!("hosts: {switch}\n"));
        both(server.port);
    }
    assert_eq!(names.queries(), []);
    names.set_all(Some(Says::Nothing));
    both(server.port);
    drop(names);
    both(server.port);
}

#[test]
fn localhost_and_its_subdomains_need_no_files() {
    let Some(_apart) = Apart::enter(localhost_and_its_subdomains_need_no_files) else { return };
    assert!(["hosts", "resolv.conf", "nsswitch.conf"].iter().all(|file| !Path::new("/etc").join(file).exists()));
    let four = Server::start();
    let six = Proxy::at("[::1]:0", four.port, 1);
    let (_, port) = six.url.rsplit_once(':').expect("a port");
    for host in ["localhost", "x.localhost"] {
        is_found(host, four.port);
        is_found(host, port.parse().expect("a port"));
    }
}

/// Lists that block advertisers make hosts files of megabytes.
#[test]
fn a_hosts_file_of_megabytes_is_searched_in_time() {
    let Some(apart) = Apart::enter(a_hosts_file_of_megabytes_is_searched_in_time) else { return };
    let server = Server::start();
    let blocked: String = (0..100_000).map(|n| format!("0.0.0.0 ads{n}.tracker.example.com\n")).collect();
    apart.etc("hosts", &format!("{blocked}127.0.0.1 node.test\n"));
    is_found("node.test", server.port);
}

#[test]
fn a_root_without_any_libc_resolves_names() {
    let Some(apart) = Apart::enter(a_root_without_any_libc_resolves_names) else { return };
    let server = Server::start();
    let names = NameServer::at("127.0.0.53").with("node.test", Says::addresses("127.0.0.1"));
    for (file, text) in [("hosts", "127.0.0.1 node.test\n"), ("resolv.conf", &names.line())] {
        let root = apart.folder(&format!("root with {file}"));
        ["etc", "proc"].iter().for_each(|folder| fs::create_dir(root.join(folder)).expect("a folder"));
        fs::write(root.join("etc").join(file), text).expect("a file");
        fs::copy(env!("CARGO_BIN_EXE_leaderrun"), root.join("leaderrun")).expect("a copy");
        let mount = Command::new("mount").args(["--rbind", "/proc"]).arg(root.join("proc")).status();
        assert!(mount.expect("mount").success());
        let words = vec!["chroot".into(), root.into(), "/leaderrun".into()];
        is_found_by(Leaderrun::new().through(words), "node.test", server.port);
    }
}

#[test]
fn an_ipv6_address() {
    let Some(_apart) = Apart::enter(an_ipv6_address) else { return };
    let server = settled();
    let proxy = Proxy::at("[::1]:0", server.port, 1);
    assert!(proxy.url.starts_with("redis://[::1]:"), "{}", proxy.url);
    let output = Leaderrun::new().args(["-n", "-t", "1s", "-R", &proxy.url, "-r", &unique("six"), "true"]).output();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
}

/// Of the addresses, one has no route, one refuses, one is silent, and one is the server's.
#[test]
fn a_name_with_several_addresses_is_reached_by_the_one_that_answers() {
    let Some(apart) = Apart::enter(a_name_with_several_addresses_is_reached_by_the_one_that_answers) else { return };
    let server = Server::start();
    // Packets to this address are lost.
    let route = Command::new("ip").args(["route", "add", "198.51.100.0/24", "dev", "lo"]).status();
    assert!(route.expect("ip").success());
    let names = NameServer::at("127.0.0.53");
    apart.etc("resolv.conf", &names.line());
    let lists = |good: &str| {
        let bad = ["2001:db8::1", "192.0.2.1", "198.51.100.1", "127.0.0.66", "2001:db8::1 192.0.2.1 198.51.100.1"];
        bad.map(|bad| [format!("{bad} {good}"), format!("{good} {bad}")]).concat()
    };
    let found = |list: &str, port: u16| {
        names.set("dns.test", Says::addresses(list));
        is_found("dns.test", port);
        apart.etc("hosts", &list.split(' ').map(|ip| format!("{ip} hosts.test\n")).collect::<String>());
        is_found("hosts.test", port);
    };
    lists("127.0.0.1").iter().for_each(|list| found(list, server.port));
    let six = Proxy::at("[::1]:0", server.port, 1);
    let port = six.url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    lists("::1").iter().for_each(|list| found(list, port));
}

/// The container's network changes under it: first the server's address in the hosts file, then the name server too.
#[test]
fn a_leader_follows_a_name_whose_address_changes() {
    let Some(apart) = Apart::enter(a_leader_follows_a_name_whose_address_changes) else { return };
    let (server, port) = (settled(), free_port());
    let places = [71, 72, 73, 74].map(|n| format!("127.0.0.{n}"));
    let [one, two, three, _four] = places.each_ref().map(|ip| Proxy::at(&format!("{ip}:{port}"), server.port, 1));
    let [old, new] = [("127.0.0.53", 2), ("127.0.0.54", 3)]
        .map(|(ip, place)| NameServer::at(ip).with("node.test", Says::addresses(&places[place])));
    let listed = |place: &str| apart.etc("hosts", &format!("127.0.0.1 localhost\n{place} node.test\n"));
    listed(&places[0]);
    let (resource, witnesses) = (unique("moved"), Witnesses::new());
    let url = format!("redis://node.test:{port}");
    let leader = Leaderrun::new().args(["-t", "1s", "-R", &url, "-r", &resource]);
    let leader = leader.args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);

    listed(&places[1]);
    one.set(Mode::Refuse);
    leads_on(&leader, &witnesses);

    apart.etc("hosts", "127.0.0.1 localhost\n");
    apart.etc("resolv.conf", &old.line());
    two.set(Mode::Refuse);
    leads_on(&leader, &witnesses);

    apart.etc("resolv.conf", &new.line());
    drop(old);
    three.set(Mode::Refuse);
    leads_on(&leader, &witnesses);

    witnesses.stop_last();
    let output = leader.wait();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
}

/// Open connections need no names. The third of three may break: the others are a quorum.
#[test]
fn an_outage_of_the_name_servers_does_not_affect_a_leader() {
    let Some(apart) = Apart::enter(an_outage_of_the_name_servers_does_not_affect_a_leader) else { return };
    let (servers, urls, proxies) = named(&apart);
    let names = || {
        let names = NameServer::at("127.0.0.53");
        (1..4).for_each(|n| names.set(&format!("redis-{n}.test"), Says::addresses("127.0.0.1")));
        names
    };
    let mut up = names();
    apart.etc("hosts", "127.0.0.1 localhost\n");
    apart.etc("resolv.conf", &up.line());
    let (resource, witnesses) = (unique("outage"), Witnesses::new());
    let leader = Leaderrun::new().args(["-t", "1s", "-R", &urls, "-r", &resource]);
    let leader = leader.args(witnesses.command(&["drain", "1"])).spawn();
    witnesses.started(1);
    eventually("three votes", || (servers.locked(&resource) == 3).then_some(()));
    for closed in [false, true] {
        if closed {
            drop(up);
            up = NameServer::at("127.0.0.55");
        } else {
            up.set_all(Some(Says::Nothing));
        }
        leads_on(&leader, &witnesses);
        assert_eq!(servers.locked(&resource), 3, "{}", leader.stderr());
        proxies[0].set(Mode::Refuse);
        proxies[0].set(Mode::Pass);
        eventually("two votes", || servers.0[0].lock(&resource).is_none().then_some(()));
        leads_on(&leader, &witnesses);
        assert_eq!(servers.locked(&resource), 2, "{}", leader.stderr());
        drop(up);
        up = names();
        eventually("three votes", || (servers.locked(&resource) == 3).then_some(()));
    }
    ends_well(leader, &witnesses);
}

/// Returns three servers behind proxies, the URLs that name the proxies redis-1.test to redis-3.test, and the proxies.
/// A hosts file has these names.
fn named(apart: &Apart) -> (Servers, String, Vec<Proxy>) {
    let servers = Servers::settled(3, TTL);
    let proxies: Vec<_> = servers.0.iter().map(|server| Proxy::new(server.port, 1)).collect();
    let urls: Vec<_> =
        (1..).zip(&proxies).map(|(n, proxy)| proxy.url.replace("127.0.0.1", &format!("redis-{n}.test"))).collect();
    apart.etc("hosts", "127.0.0.1 redis-1.test redis-2.test redis-3.test\n");
    (servers, urls.join(","), proxies)
}

/// Checks that a broken connection is reestablished after the command has used up its user's processes and threads.
fn reconnects_without_a_thread(apart: &Apart, source: impl FnOnce(&str) -> [String; 2]) {
    let (servers, urls, proxies) = named(apart);
    let words = apart.limited(40);
    let tried = Command::new(&words[0]).args(&words[1..]).args(["sh", "-c", "sleep 0 & wait $!"]).output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        println!("not tried: no user of our own whose processes are counted");
        return;
    }
    let (resource, witnesses) = (unique("crowded"), Witnesses::new());
    fs::set_permissions(witnesses.log().parent().expect("a folder"), fs::Permissions::from_mode(0o755))
        .expect("a mode");
    fs::set_permissions(witnesses.log(), fs::Permissions::from_mode(0o666)).expect("a mode");
    let words = words.into_iter().map(Into::into);
    let words = words.chain([apart.copy(Path::new(env!("CARGO_BIN_EXE_leaderrun"))).into()]).collect();
    let leader = Leaderrun::new().through(words).args(source(&urls)).args(["-t", "1s", "-r", &resource, "--"]);
    let leader = leader.args([apart.copy(&example("witness")), witnesses.log()]).args(["crowd", "drain", "1"]).spawn();
    eventually("all processes to be used up", || {
        fs::read_to_string(witnesses.log()).expect("the log").contains(" crowded ").then_some(())
    });
    // No thread from before may help.
    eventually("the last thread but one to end", || {
        let status = fs::read_to_string(format!("/proc/{}/status", leader.pid())).expect("a running elector");
        status.contains("\nThreads:\t1\n").then_some(())
    });
    (0..2).for_each(|_| witnesses.ticks_on());
    proxies[0].set(Mode::Refuse);
    eventually("two votes", || servers.0[0].lock(&resource).is_none().then_some(()));
    leads_on(&leader, &witnesses);
    proxies[0].set(Mode::Pass);
    eventually("three votes", || {
        assert!(!leader.stderr().contains("panicked"), "{}", leader.stderr());
        (servers.locked(&resource) == 3).then_some(())
    });
    leads_on(&leader, &witnesses);
    ends_well(leader, &witnesses);
}

#[test]
fn an_elector_that_cannot_start_a_thread_reconnects() {
    let Some(apart) = Apart::enter(an_elector_that_cannot_start_a_thread_reconnects) else { return };
    reconnects_without_a_thread(&apart, |urls| ["-R".into(), urls.into()]);
}

#[test]
fn an_elector_that_cannot_start_a_thread_rereads_the_list_of_servers() {
    let Some(apart) = Apart::enter(an_elector_that_cannot_start_a_thread_rereads_the_list_of_servers) else { return };
    reconnects_without_a_thread(&apart, |urls| {
        let file = apart.folder("list").join("urls");
        fs::write(&file, urls.replace(',', "\n")).expect("a file");
        ["--redis-file".into(), file.to_str().expect("UTF-8").into()]
    });
}
