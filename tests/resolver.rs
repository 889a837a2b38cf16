//! Name servers are queried as resolv.conf(5) specifies.

use std::time::Duration;

use crate::support::{Apart, Leaderrun, NameServer, Query, Says, Server, addresses, is_found, is_not_resolved, look};

/// The address of the server that the names stand for.
const HERE: &str = "127.0.0.1";

fn here() -> Says {
    Says::addresses(HERE)
}

/// Returns the names that are queried while this host is looked up, in order.
fn asked_for(names: &NameServer, host: &str, port: u16) -> Vec<String> {
    let before = names.queries().len();
    is_found(host, port);
    let mut asked: Vec<String> = names.queries()[before..].iter().map(|query| query.name.clone()).collect();
    asked.dedup();
    asked
}

#[test]
fn a_short_name_is_searched_for_in_each_domain() {
    let Some(apart) = Apart::enter(a_short_name_is_searched_for_in_each_domain) else { return };
    let server = Server::start();
    let names = NameServer::at("127.0.0.53")
        .with("redis.second.test", here())
        .with("redis.third.test", Says::addresses("127.0.0.66"));
    apart.etc("resolv.conf", &format!("{}search first.test second.test third.test\n", names.line()));
    assert_eq!(asked_for(&names, "redis", server.port), ["redis.first.test", "redis.second.test"]);
    // A name without address records doesn't count.
    names.set("redis.first.test", Says::Addresses(Vec::new()));
    assert_eq!(asked_for(&names, "redis", server.port), ["redis.first.test", "redis.second.test"]);
    is_not_resolved("missing");
    // The last line counts.
    apart.etc("resolv.conf", &format!("search second.test\n{}search first.test\n", names.line()));
    is_not_resolved("redis");
    apart.etc("resolv.conf", &format!("{}domain second.test\n", names.line()));
    is_found("redis", server.port);
}

#[test]
fn a_name_with_enough_dots_is_first_tried_as_it_is() {
    let Some(apart) = Apart::enter(a_name_with_enough_dots_is_first_tried_as_it_is) else { return };
    let server = Server::start();
    let names = NameServer::at("127.0.0.53")
        .with("redis.web", here())
        .with("redis.web.first.test", here())
        .with("other.web.first.test", here())
        .with("third.web", here());
    let configure = |options: &str| {
        apart.etc("resolv.conf", &format!("{}search first.test\n{options}\n", names.line()));
    };
    configure("");
    assert_eq!(asked_for(&names, "redis.web", server.port), ["redis.web"]);
    assert_eq!(asked_for(&names, "other.web", server.port), ["other.web", "other.web.first.test"]);
    configure("options ndots:2");
    assert_eq!(asked_for(&names, "redis.web", server.port), ["redis.web.first.test"]);
    assert_eq!(asked_for(&names, "third.web", server.port), ["third.web.first.test", "third.web"]);
    // A name with a dot at its end is complete.
    assert_eq!(asked_for(&names, "redis.web.", server.port), ["redis.web"]);
    configure("options ndots:0");
    names.set("redis", here());
    assert_eq!(asked_for(&names, "redis", server.port), ["redis"]);
}

#[test]
fn a_lost_query_is_sent_again() {
    let Some(apart) = Apart::enter(a_lost_query_is_sent_again) else { return };
    let server = Server::start();
    let names = NameServer::at("127.0.0.53");
    for (lost, options) in [(1, "timeout:1 attempts:2"), (2, "timeout:1 attempts:3")] {
        apart.etc("resolv.conf", &format!("{}options {options}\n", names.line()));
        let name = format!("lost-{lost}.test");
        names.set(&name, Says::NothingAtFirst(lost, addresses(HERE)));
        is_found_within(Duration::from_secs(30), &name, server.port);
    }
}

/// Checks that `--status` with this ttl finds the host.
fn is_found_within(ttl: Duration, host: &str, port: u16) {
    let output = look(Leaderrun::new().args(["-t", &format!("{}s", ttl.as_secs())]), host, port);
    assert_eq!((output.code(), output.stderr.as_str()), (1, ""), "{host}: {output:?}");
}

/// A connection may take ttl/5, here 6 s. The name server is reported as the cause before that time is up.
#[test]
fn name_servers_that_are_silent_for_all_attempts_are_given_up() {
    let Some(apart) = Apart::enter(name_servers_that_are_silent_for_all_attempts_are_given_up) else { return };
    let names = NameServer::at("127.0.0.53");
    names.set_all(Some(Says::Nothing));
    for (attempts, least) in [(1, 1), (2, 2)] {
        apart.etc("resolv.conf", &format!("{}options timeout:1 attempts:{attempts}\n", names.line()));
        let before = names.queries().len();
        let run = Leaderrun::new().args(["-n", "-t", "30s", "-r", "names", "-R", "redis://silent.test", "true"]);
        let output = run.output();
        assert!(output.code() == 69 && output.stderr.contains("can't be resolved"), "{attempts}: {output:?}");
        let queries: Vec<Query> = names.queries().split_off(before);
        let asked = queries.iter().filter(|query| query.kind == 1).count();
        assert!(asked >= least, "{attempts}: {queries:?}");
    }
}

/// Uses the default time-outs of a resolv.conf that sets none.
#[test]
fn another_name_server_answers_if_the_first_is_dead() {
    let Some(apart) = Apart::enter(another_name_server_answers_if_the_first_is_dead) else { return };
    let server = Server::start();
    let (first, second) = (NameServer::at("127.0.0.53"), NameServer::at("127.0.0.54"));
    // The name of each server says what is wrong with the first, which shows before the second answers.
    let found_after = |matter: &str| {
        let name = format!("{matter}.test");
        second.set(&name, Says::Late(Duration::from_millis(50), addresses(HERE)));
        is_found(&name, server.port);
    };
    for options in ["", "options timeout:1 attempts:1\n", "options rotate\n"] {
        apart.etc("resolv.conf", &[&first.line(), &second.line(), options].concat());
        for (matter, says) in [("silence", Says::Nothing), ("failure", Says::Fails), ("refusal", Says::Refuses)] {
            first.set_all(Some(says));
            found_after(matter);
        }
        apart.etc("resolv.conf", &["nameserver 127.0.0.55\n", &second.line(), options].concat());
        found_after("closed-port");
    }
    first.set_all(Some(Says::Nothing));
    apart.etc("resolv.conf", &[&first.line(), "nameserver 127.0.0.55\n", &second.line()].concat());
    found_after("third-of-three");
    assert!(first.queries().iter().any(|query| query.name == "third-of-three.test"), "the first is asked, too");
}

#[test]
fn name_servers_that_only_fail_resolve_nothing() {
    let Some(apart) = Apart::enter(name_servers_that_only_fail_resolve_nothing) else { return };
    let names = [NameServer::at("127.0.0.53"), NameServer::at("127.0.0.54")];
    apart.etc("resolv.conf", &names.iter().map(NameServer::line).collect::<String>());
    for says in [Says::Fails, Says::Refuses, Says::NoSuchName, Says::Addresses(Vec::new())] {
        names.iter().for_each(|names| names.set_all(Some(says.clone())));
        is_not_resolved("node.test");
    }
    drop(names);
    is_not_reached("node.test");
}

/// Checks that the host is not reached. If nothing answers, the time for a connection may end before the time for a
/// name.
fn is_not_reached(host: &str) {
    let output = look(Leaderrun::new(), host, 6379);
    assert!(output.code() == 69 && output.stderr.is_empty(), "{host}: {output:?}");
}

#[test]
fn a_truncated_answer_is_fetched_over_tcp() {
    let Some(apart) = Apart::enter(a_truncated_answer_is_fetched_over_tcp) else { return };
    let server = Server::start();
    // More than fit into 512 bytes; most of the addresses lead nowhere.
    let many: Vec<String> = (2..60).map(|n| format!("127.0.1.{n}")).chain([HERE.to_owned()]).collect();
    let names = NameServer::at("127.0.0.53").with("many.test", Says::OverTcp(addresses(&many.join(" "))));
    apart.etc("resolv.conf", &names.line());
    is_found("many.test", server.port);
    assert!(names.queries().iter().any(|query| query.tcp), "{:?}", names.queries());
}

#[test]
fn an_alias_resolves_to_the_addresses_of_its_target() {
    let Some(apart) = Apart::enter(an_alias_resolves_to_the_addresses_of_its_target) else { return };
    let server = Server::start();
    let names = NameServer::at("127.0.0.53")
        .with("alias.test", Says::Alias("node.example"))
        .with("alias-of-alias.test", Says::Alias("alias.test"))
        .with("dangling.test", Says::Alias("missing.example"))
        .with("node.example", here());
    apart.etc("resolv.conf", &names.line());
    is_found("alias.test", server.port);
    is_found("alias-of-alias.test", server.port);
    is_not_resolved("dangling.test");
}

#[test]
fn without_a_name_server_the_local_one_is_queried() {
    let Some(apart) = Apart::enter(without_a_name_server_the_local_one_is_queried) else { return };
    let server = Server::start();
    let names = NameServer::at(HERE).with("node.test", here());
    is_found("node.test", server.port);
    for text in ["", "# nothing\n; either\n", "search example.com\n", "options ndots:3"] {
        apart.etc("resolv.conf", text);
        is_found("node.test", server.port);
    }
    drop(names);
    is_not_reached("node.test");
}

#[test]
fn a_name_server_may_have_an_ipv6_address() {
    let Some(apart) = Apart::enter(a_name_server_may_have_an_ipv6_address) else { return };
    let server = Server::start();
    let names = NameServer::at("::1").with("node.test", here());
    apart.etc("resolv.conf", &names.line());
    is_found("node.test", server.port);
}

/// The files as systemd-resolved, Docker, Kubernetes and NetworkManager write them.
#[test]
fn meaningless_options_and_lines_are_ignored() {
    let Some(apart) = Apart::enter(meaningless_options_and_lines_are_ignored) else { return };
    let server = Server::start();
    let _names = NameServer::at("127.0.0.53").with("redis.default.svc.cluster.test", here());
    for text in [
        "# Run \"resolvectl status\" to see more.\n\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch . cluster.test\n",
        "nameserver 127.0.0.53\nsearch default.svc.cluster.test svc.cluster.test\noptions edns0 trust-ad ndots:0\n",
        "search default.svc.cluster.test svc.cluster.test cluster.test\nnameserver 127.0.0.53\noptions ndots:5\n",
        "; a comment\nsortlist 10.0.0.0/255.0.0.0\noptions single-request no-tld-query use-vc inet6 new-option:9\nnew line\n\
         nameserver   127.0.0.53   \n",
        "nameserver 127.0.0.53",
    ] {
        apart.etc("resolv.conf", text);
        is_found("redis.default.svc.cluster.test", server.port);
    }
}

#[test]
fn a_domain_that_no_name_can_be_in_does_not_hide_the_name_servers() {
    let Some(apart) = Apart::enter(a_domain_that_no_name_can_be_in_does_not_hide_the_name_servers) else { return };
    let server = Server::start();
    let names = NameServer::at("127.0.0.53").with("redis.good.test", here());
    let long = "a".repeat(64);
    for bad in
        ["-x-.test", "foo..bar", ".good.test", "\"good.test\"", "${DOMAIN}", "büch.test", &long, "10.in-addr..arpa"]
    {
        for line in [format!("search {bad} good.test"), format!("domain {bad}")] {
            apart.etc("resolv.conf", &format!("{line}\n{}", names.line()));
            is_found("redis.good.test", server.port);
            if line.ends_with(" good.test") {
                is_found("redis", server.port);
            }
        }
    }
}
