//! Programs without one of the protocol's rules, each of which the simulation must find. In Rust the rule is left out by
//! the program itself (src/broken.rs); in a script, by a change of its text.

use super::{
    first_wrong,
    schedule::{Clocks, Schedule},
    sweep, world,
};
use crate::broken::is_left_out;

/// What is changed in the scripts to leave out a rule, and into what.
const IN_SCRIPTS: &[(&str, &str, &str)] = &[
    ("token_check", "if tonumber(ARGV[3]) <= tonumber(fence) then", "if false then"),
    ("release_check", "if not is_ours or tonumber(fence) > tonumber(ARGV[2]) then", "if not is_ours then"),
    // It is left out in the program as well, which counts where a lock is kept.
    ("hold", " or not value and ARGV[13] and restores(settles, ARGV[17])", ""),
    ("release_proof", " .. redis.sha1hex(ARGV[6]) .. ", " .. ARGV[6] .. "),
    // Whoever shows what a message said is told that the command has succeeded.
    (
        "done_confirmed",
        "local done = redis.call('GET', KEYS[3])",
        "local done = redis.call('GET', KEYS[3]) or ARGV[6] ~= '' and ARGV[6]",
    ),
    // It is left out in the program as well, which then sends how long the note lasts.
    ("note_end", "local left = ARGV[11] - now", "local left = ARGV[11] + 0"),
    ("negative_uptime", "'uptime_in_seconds:(-?%d+)'", "'uptime_in_seconds:(%d+)'"),
    ("known_process", "if left <= 0 or run_id == known then", "if left <= 0 then"),
];

/// Returns the name of the rule that is left out in the scripts at present.
pub fn in_scripts() -> Option<&'static str> {
    IN_SCRIPTS.iter().map(|(rule, ..)| *rule).find(|rule| is_left_out(rule))
}

/// Returns a script without the rule that is left out.
pub fn mutated(script: &[u8]) -> String {
    let mut script = String::from_utf8_lossy(script).into_owned();
    for (_, text, instead) in IN_SCRIPTS.iter().filter(|(rule, ..)| is_left_out(rule)) {
        script = script.replace(text, instead);
    }
    script
}

/// Checks that a thousand schedules in which a rule matters find what goes wrong without it. `from`: the first seed. It may be the
/// one that has found it, to save time; from 0 on, they are in docs/proof.md. With the rule, nothing is wrong there.
fn is_found(rule: &'static str, from: u64, matters: fn(&Schedule) -> bool) {
    let from = super::number("FROM").unwrap_or(from);
    let sweep = |schedules| sweep(from..from + schedules, matters, rule);
    let outcomes = Some(sweep(1)).filter(|one| first_wrong(one).is_some()).unwrap_or_else(|| sweep(5000));
    let found = first_wrong(&outcomes);
    println!("{rule}: {found:?}, {} schedules", outcomes.len());
    let Some((seed, _)) = found.filter(|_| outcomes.len() <= 1000) else {
        panic!("a thousand schedules did not find that a rule is missing: {rule}")
    };
    assert_eq!(world::run(seed, false).wrong, None, "seed {seed} with the rule: {rule}");
}

#[test]
fn each_change_of_a_script_applies_once() {
    let scripts = ["settled", "restored", "acquire", "extend", "release", "look", "tell", "runs", "list"];
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/redlock/scripts");
    let all: String =
        scripts.map(|script| std::fs::read_to_string(format!("{folder}/{script}.lua")).expect("a script")).concat();
    for (rule, text, _) in IN_SCRIPTS {
        assert_eq!(all.matches(text).count(), 1, "{rule}");
    }
}

#[test]
fn a_node_that_grants_during_its_startup_grace_is_found() {
    is_found("startup_grace", 30, |schedule| schedule.crashes.is_some() && !schedule.keeps_data);
}

#[test]
fn a_node_that_grants_any_token_is_found() {
    is_found("token_check", 6, |schedule| schedule.jitter.is_some());
}

#[test]
fn a_late_release_that_is_obeyed_is_found() {
    is_found("release_check", 6, |schedule| schedule.resets.is_some());
}

#[test]
fn a_release_that_is_believed_without_proof_is_found() {
    is_found("release_proof", 3, |schedule| schedule.forgeries.is_some());
}

#[test]
fn a_lease_without_an_allowance_for_drift_is_found() {
    is_found("drift", 35, |schedule| schedule.clocks == Clocks::Apart && schedule.freezes.is_some());
}

#[test]
fn votes_counted_against_the_nodes_that_answered_are_found() {
    is_found("configured_nodes", 3, |schedule| schedule.nodes > 1);
}

#[test]
fn a_tie_that_is_taken_for_anothers_leadership_is_found() {
    is_found("tie", 420, |schedule| schedule.nodes % 2 == 0);
}

#[test]
fn a_step_down_that_is_looked_for_in_the_first_answers_only_is_found() {
    is_found("step_down", 37, |schedule| {
        schedule.far && schedule.nodes > 2 && schedule.command_lasts > schedule.times.ttl()
    });
}

#[test]
fn a_hold_that_counts_where_nothing_was_written_is_found() {
    is_found("hold", 38, |schedule| schedule.empties);
}

#[test]
fn a_lock_of_another_list_that_is_ignored_is_found() {
    is_found("other_list", 12, |schedule| schedule.lists);
}

#[test]
fn a_node_with_a_candidates_vote_that_is_not_asked_again_is_found() {
    is_found("asked_again", 105, |schedule| schedule.votes_between);
}

#[test]
fn a_lock_of_another_list_that_is_ignored_after_a_candidates_is_found() {
    is_found("voted_first", 1004, |schedule| schedule.votes_between);
}

#[test]
fn a_message_that_puts_a_standby_off_for_good_is_found() {
    is_found("longest_wait", 408, |schedule| schedule.forgeries.is_some());
}

#[test]
fn a_success_that_is_believed_without_a_note_is_found() {
    is_found("done_confirmed", 25, |schedule| schedule.once_per.is_some());
}

#[test]
fn a_success_that_others_are_told_of_without_a_note_is_found() {
    is_found("done_with_note", 442, |schedule| schedule.once_per.is_some());
}

#[test]
fn a_note_that_outlives_its_period_is_found() {
    is_found("note_end", 2, |schedule| schedule.once_per.is_some() && schedule.stalls.is_some());
}

#[test]
fn a_success_before_a_step_down_that_is_forgotten_is_found() {
    is_found("early_success", 39, |schedule| schedule.once_per.is_some() && schedule.step_downs.is_some());
}

#[test]
fn a_negative_uptime_that_fails_a_script_is_found() {
    is_found("negative_uptime", 21, |schedule| schedule.set_back);
}

#[test]
fn a_process_that_is_known_but_does_not_count_is_found() {
    is_found("known_process", 21, |schedule| schedule.set_back);
}

#[test]
fn a_fence_from_the_future_that_nobody_hears_of_is_found() {
    is_found("fence_ahead", 5, |schedule| schedule.fence_ahead);
}

#[test]
fn a_vote_that_another_has_and_that_still_counts_is_found() {
    is_found("vote_taken", 43, |schedule| schedule.overlap.is_some());
}

#[test]
fn a_guard_that_keeps_no_deadline_is_found() {
    is_found("deadline", 72, |schedule| schedule.freezes.is_some());
}

#[test]
fn a_guard_that_outlives_its_elector_is_found() {
    is_found("elector", 0, |schedule| schedule.hold.is_none() && schedule.once_per.is_none());
}
