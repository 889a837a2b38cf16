//! Each file is one promise and holds the tests that would show it broken. They share one program, which links once;
//! `tests/run` starts it anew for each test.

mod acl;
mod arrows;
mod bad_nodes;
mod bare_quorum;
mod busy_host;
mod campaign;
mod changed_servers;
mod check;
mod clocks;
mod command_line;
mod confined;
mod conventions;
mod databases;
mod debugged;
mod dependencies;
mod documents;
mod ends_alike;
mod examples;
mod faults;
mod forged_messages;
mod handover;
mod hardened;
mod history;
mod hold;
mod hostile_node;
mod invisible;
mod job_control;
mod large_trees;
mod left_alone;
mod left_behind;
mod list;
mod local;
mod lost_lease;
mod max_run;
mod messages;
mod names;
mod names_in_ps;
mod names_not_looked_up;
mod nested;
mod nights;
mod once_for;
mod once_per;
mod one_at_a_time;
mod other_terms;
mod other_users;
mod periods;
mod pid_one;
mod recipes;
mod redis_file;
mod resolver;
mod scripts;
mod secrets;
mod sentinel;
mod server_lists;
mod service;
mod shared_state;
mod signals;
mod slots;
mod slots_under_faults;
mod standing_by;
mod status;
mod step_down;
mod support;
mod terminal;
mod terminal_signals;
mod the_tree_dies;
mod ties;
mod tls;
mod used_up;
mod variables;
mod without_quorum;

#[test]
fn no_file_of_tests_is_left_out() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).expect("this folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        if let Some(promise) = name.strip_suffix(".rs").filter(|promise| *promise != "main") {
            assert!(include_str!("main.rs").contains(&format!("\nmod {promise};\n")), "{name} is not in main.rs");
        }
    }
}
