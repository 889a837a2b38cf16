//! Redis users with few rights: the minimal rights suffice, and each missing right is named.

use std::time::Duration;

use crate::support::{Leaderrun, Output, Server, Witnesses, eventually, unique};

const TTL: Duration = Duration::from_secs(1);

/// The rights that docs/servers.md lists.
const KEYS: [&str; 3] = ["resetkeys", "~leaderrun:*", "resetchannels"];
const CHANNELS: &str = "&leaderrun:*";
const NEEDED: [&str; 10] =
    ["+eval", "+get", "+set", "+del", "+expire", "+pexpire", "+pttl", "+info", "+time", "+publish"];
const TO_BE_TOLD: [&str; 3] = ["+subscribe", "+unsubscribe", "+pubsub|numsub"];
const TO_RECORD: [&str; 5] = ["+zadd", "+zremrangebyscore", "+zremrangebyrank", "+zrevrange", "+scan"];

/// Starts a server with one user, who has these additional rights.
fn server_for(rights: &[&str]) -> (Server, String) {
    let server = Server::start();
    let user = ["ACL", "SETUSER", "leaderrun", "reset", "on", ">secret", "-@all"];
    server.query::<()>(&[&user[..], &KEYS, &[CHANNELS], rights].concat());
    server.settle(TTL);
    let url = format!("redis://leaderrun:secret@127.0.0.1:{}", server.port);
    (server, url)
}

fn run(url: &str, command: &[&str]) -> Output {
    Leaderrun::new().args(["-n", "-t", "1s", "-R", url, "-r", &unique("acl"), "--"]).args(command).output()
}

#[test]
fn the_minimal_rights_suffice_to_elect_extend_record_release_and_hand_over() {
    let rights = [&NEEDED[..], &TO_BE_TOLD, &TO_RECORD].concat();
    let (server, url) = server_for(&rights);
    let (resource, witnesses) = (unique("acl"), Witnesses::new());
    let start = |job: &[&str]| {
        let options = ["-t", "1s", "-R", &url, "-r", &resource, "--once-per", "60s", "--attempts", "3"];
        Leaderrun::new().args(options).args(witnesses.command(job)).spawn()
    };
    let leader = start(&["for", "1500", "exit", "1"]);
    witnesses.started(1);
    let standby = start(&["for", "10"]);
    eventually("the standby to listen", || {
        let listen: (String, u32) = server.query(&["PUBSUB", "NUMSUB", &format!("leaderrun:{resource}")]);
        (listen.1 == 1).then_some(())
    });
    server.query::<()>(&["ACL", "SETUSER", "default", "off"]);
    let ends = |instance: crate::support::Running, status: i32| {
        let output = instance.wait();
        assert_eq!((output.code(), output.stderr.as_str()), (status, ""));
    };
    ends(leader, 1);
    ends(standby, 0);
    ends(start(&[]), 0);
    let all = witnesses.check();
    assert_eq!(all.len(), 2);
    assert!(Duration::from_nanos(all[1].start - all[0].last) < TTL / 2, "the standby was not notified: {all:?}");
    let ask = |question: &[&str]| {
        Leaderrun::new().args(["-R", &url]).env("LEADERRUN_RESOURCE", &resource).args(question).output()
    };
    let history = ask(&["--history"]);
    assert!(history.code() == 0 && history.stdout.contains("  exit status 1  "), "{}", history.stdout);
    let list = ask(&["--list"]);
    assert!(list.code() == 0 && list.stdout.contains(&format!("\n{resource} ")), "{}", list.stdout);
    assert_eq!(ask(&["--succeeded-within", "1h"]).code(), 0);
}

#[test]
fn a_leader_that_may_not_unsubscribe_is_no_standby_all_the_same() {
    let rights: Vec<&str> = [&NEEDED[..], &["+subscribe", "+pubsub|numsub"]].concat();
    let (server, url) = server_for(&rights);
    let (resource, witnesses) = (unique("silent"), Witnesses::new());
    let start = || {
        let options = ["-t", "1s", "-R", &url, "-r", &resource];
        Leaderrun::new().args(options).args(witnesses.command(&["drain", "1"])).spawn()
    };
    let listen = || server.query::<(String, u32)>(&["PUBSUB", "NUMSUB", &format!("leaderrun:{resource}")]).1;
    let leader = start();
    witnesses.started(1);
    let standby = start();
    eventually("the standby to listen", || (listen() == 1).then_some(()));
    witnesses.stop_last();
    assert_eq!(leader.wait().code(), 0);
    witnesses.started(2);
    eventually("nobody to listen", || (listen() == 0).then_some(()));
    witnesses.ticks_on();
    witnesses.stop_last();
    assert_eq!(standby.wait().code(), 0);
}

#[test]
fn without_the_rights_to_record_an_instance_leads_and_asking_says_what_is_missing() {
    let (_server, url) = server_for(&NEEDED);
    let resource = unique("acl");
    let ask = |rest: &[&str]| {
        let run = Leaderrun::new().args(["-n", "-t", "1s", "-R", &url]).env("LEADERRUN_RESOURCE", &resource);
        run.args(rest).output()
    };
    let output = ask(&["sleep", "0.5"]);
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
    for (question, command) in
        [(&["--history"][..], "ZREVRANGE"), (&["--succeeded-within", "1h"], "ZREVRANGE"), (&["--list"], "SCAN")]
    {
        let output = ask(question);
        let named = format!("doesn't let this user run {command} (NOPERM)");
        assert_eq!(output.code(), 69, "{question:?}");
        assert!(format!("{}{}", output.stdout, output.stderr).contains(&named), "{}{}", output.stdout, output.stderr);
    }
    assert_eq!(ask(&["--status"]).code(), 1);
}

#[test]
fn each_missing_right_is_named() {
    for missing in NEEDED.iter().filter(|right| !["+publish", "+del", "+expire", "+pexpire", "+pttl"].contains(right)) {
        let rights: Vec<&str> = NEEDED.into_iter().filter(|right| right != missing).collect();
        let (_server, url) = server_for(&rights);
        let output = run(&url, &["true"]);
        let named = format!("doesn't let this user run {} (NOPERM)", missing[1..].to_uppercase());
        assert_eq!(output.code(), 69, "{missing}: {}", output.stderr);
        assert!(output.stderr.contains(&named), "{missing}: {}", output.stderr);
        assert!(!output.stderr.contains("secret"), "{}", output.stderr);
    }
}

#[test]
fn keys_that_the_user_may_not_use_are_reported() {
    let (server, url) = server_for(&NEEDED);
    server.query::<()>(&["ACL", "SETUSER", "leaderrun", "resetkeys", "~other:*"]);
    let output = run(&url, &["true"]);
    assert_eq!(output.code(), 69);
    assert!(output.stderr.contains("doesn't let this user use the lock's keys (NOPERM)"), "{}", output.stderr);
}

#[test]
fn revoking_a_leaders_user_ends_the_command_before_its_lease() {
    let (server, url) = server_for(&NEEDED);
    let (resource, witnesses) = (unique("revoked"), Witnesses::new());
    let options = ["-t", "1s", "-R", &url, "-r", &resource];
    let leader = Leaderrun::new().args(options).args(witnesses.command(&["ignore"])).spawn();
    witnesses.started(1);
    server.query::<()>(&["ACL", "DELUSER", "leaderrun"]);
    let revoked = crate::support::monotonic();
    let output = leader.wait();
    assert_eq!(output.code(), 76, "{}", output.stderr);
    assert!(output.stderr.contains("rejected the user name or password"), "{}", output.stderr);
    let lived = Duration::from_nanos(witnesses.all()[0].last.saturating_sub(revoked));
    assert!(lived < TTL, "for {lived:?}");
}
