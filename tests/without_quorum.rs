//! Candidates that reach no quorum: they put off nobody who listens, and say when they give a vote back.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Leaderrun, Running, Server, Servers, eventually, unique};

const TTL: Duration = Duration::from_secs(2);

/// Tells one listener that a vote is gone again, and proves no release.
const RETURNED: &str = "released 1 ";

/// A node that nothing is behind.
const DEAD: &str = "redis://127.0.0.1:1";

/// Starts a candidate with these options that stands by for another's lock. Then this happens to two of three nodes, and the lock is
/// free on the first. Returns the candidate, and the lock's channel.
fn standing_by(servers: &Servers, resource: &str, options: &[&str], then: fn(&Server)) -> (Running, String) {
    let channel = format!("leaderrun:{resource}");
    for server in &servers.0 {
        server.query::<()>(&["SET", &channel, "gate", "PX", "60000"]);
    }
    let candidate = Leaderrun::on(servers, resource, TTL).args(["-vv"]).args(options).args(["true"]).spawn();
    servers.listened_to(resource, 1);
    let lost = || candidate.stderr().matches("lost a round").count();
    eventually("its round after it listens", || (lost() >= 2).then_some(()));
    servers.0[1..].iter().for_each(then);
    servers.0[0].query::<()>(&["DEL", &channel]);
    (candidate, channel)
}

/// From then on the server votes for nobody.
fn fill_memory(server: &Server) {
    server.query::<()>(&["FLUSHALL"]);
    server.query::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
}

/// Fails unless a candidate tells nobody of its votes after its first round since this happened to two of three nodes.
fn puts_off_none_after(then: fn(&Server)) {
    let servers = Servers::settled(3, TTL);
    let (resource, mut listener) = (unique("lone"), servers.0[0].connect());
    let (candidate, channel) = standing_by(&servers, &resource, &[], then);
    let lost = || candidate.stderr().matches("lost a round").count();
    let mut listener = listener.as_pubsub();
    listener.subscribe(&channel).expect("a subscription");
    let mut next = || listener.get_message().expect("a message").get_payload::<String>().expect("text");
    // Which node tells of a vote is drawn anew each time.
    for round in 0..16 {
        let before = lost();
        let released = format!("released 1 {round}");
        servers.0[0].query::<u32>(&["PUBLISH", &channel, &released]);
        eventually("a round", || (lost() > before).then_some(()));
        servers.0[0].query::<u32>(&["PUBLISH", &channel, "nothing more"]);
        let heard: Vec<_> = std::iter::from_fn(|| Some(next()).filter(|message| message != "nothing more")).collect();
        if round > 0 {
            assert_eq!(heard, [released]);
        } else if heard.iter().any(|message| message.starts_with("acquired")) && heard.last() != Some(&RETURNED.into())
        {
            // It can't have known yet, and tells that it has given the vote back.
            assert_eq!(next(), RETURNED);
        }
    }
}

#[test]
fn a_candidate_puts_off_none_that_listen_while_a_quorum_is_silent() {
    puts_off_none_after(Server::freeze);
}

#[test]
fn a_candidate_puts_off_none_that_listen_while_a_quorum_answers_with_errors() {
    puts_off_none_after(fill_memory);
}

/// Its looks at all slots, which only read, succeed there.
#[test]
fn a_candidate_for_a_slot_puts_off_none_that_listen_while_a_quorum_is_out_of_memory() {
    let servers = Servers::settled(3, TTL);
    let (resource, mut listener) = (unique("slot"), servers.0[0].connect());
    let (candidate, channel) = standing_by(&servers, &resource, &["--slots", "2"], fill_memory);
    let lost = || candidate.stderr().matches("lost a round").count();
    // By then it knows.
    let (known, mut listener) = (lost() + 2, listener.as_pubsub());
    eventually("two rounds", || (lost() >= known).then_some(()));
    listener.subscribe(&channel).expect("a subscription");
    eventually("some rounds", || (lost() >= known + 12).then_some(()));
    servers.0[0].query::<u32>(&["PUBLISH", &channel, "nothing before"]);
    let first = listener.get_message().expect("a message").get_payload::<String>().expect("text");
    assert_eq!(first, "nothing before");
}

#[test]
fn a_candidate_whose_vote_others_have_heard_of_says_so_when_it_reaches_no_quorum() {
    let servers = Servers::settled(3, TTL);
    // Which node tells of a vote is drawn for each round.
    let heard = (0..20).find_map(|_| {
        let (resource, mut listener) = (unique("returned"), servers.0[0].connect());
        let (candidate, channel) = standing_by(&servers, &resource, &[], Server::freeze);
        let lost = || candidate.stderr().matches("lost a round").count();
        let mut listener = listener.as_pubsub();
        listener.subscribe(&channel).expect("a subscription");
        let before = lost();
        servers.0[0].query::<u32>(&["PUBLISH", &channel, "released 1 x"]);
        eventually("a round", || (lost() > before).then_some(()));
        servers.0[0].query::<u32>(&["PUBLISH", &channel, "lost"]);
        let mut next = || listener.get_message().expect("a message").get_payload::<String>().expect("text");
        let before: Vec<_> = std::iter::from_fn(|| Some(next()).filter(|message| message != "lost")).collect();
        let told = before.iter().position(|message| message.starts_with("acquired"));
        let after = told.map(|at| before.get(at + 1).cloned().unwrap_or_else(&mut next));
        candidate.signal(Signal::SIGTERM);
        candidate.wait();
        servers.0[1..].iter().for_each(Server::thaw);
        after
    });
    assert_eq!(heard.expect("a vote that is told"), RETURNED);
}

#[test]
fn a_candidate_that_can_reach_no_quorum_puts_off_none_that_listen() {
    let servers = Servers::settled(1, TTL);
    let (resource, mut listener) = (unique("alone"), servers.0[0].connect());
    let channel = format!("leaderrun:{resource}");
    let mut listener = listener.as_pubsub();
    listener.subscribe(&channel).expect("a subscription");
    let urls = [&servers.0[0].url(), DEAD, DEAD.replace(":1", ":2").as_str()].join(",");
    let candidate = Leaderrun::new().args(["-vv", "-t", "2s", "-R", &urls, "-r", &resource]).args(["true"]).spawn();
    eventually("some rounds", || (candidate.stderr().matches("lost a round").count() >= 2).then_some(()));
    servers.0[0].query::<u32>(&["PUBLISH", &channel, "nothing before"]);
    let first = listener.get_message().expect("a message").get_payload::<String>().expect("text");
    assert_eq!(first, "nothing before");
    candidate.signal(Signal::SIGTERM);
    assert_eq!(candidate.wait().code(), 143);
}
