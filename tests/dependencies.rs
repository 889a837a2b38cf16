//! What the program is built from: known licences, one version of each crate, and no source but the registry, as deny.toml has it.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// What cargo-tree(1) prints about a crate, with a bar between the parts.
const FORMAT: &str = "{p}|{l}";

fn tree(more: &[&str]) -> String {
    let mut tree = Command::new(env!("CARGO"));
    tree.envs(crate::support::given_variables())
        .args(["tree", "--locked", "--offline", "--prefix", "none", "--format", FORMAT])
        .args(more);
    let tree = tree.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    String::from_utf8(tree.stdout).expect("text")
}

/// Returns the name and version of each crate, what else is said of its source, and its licences.
fn crates(tree: &str) -> BTreeSet<(String, String, String)> {
    let line = |line: &str| {
        let (package, licences) = line.trim_end_matches(" (*)").split_once('|')?;
        let package = package.replace(" (proc-macro)", "");
        let mut words = package.splitn(3, ' ');
        let (name, version, source) = (words.next()?, words.next()?, words.next().unwrap_or_default());
        Some((format!("{name}@{}", version.trim_start_matches('v')), source.to_owned(), licences.to_owned()))
    };
    tree.lines().filter_map(line).collect()
}

/// Returns the quoted texts of a list in deny.toml.
fn listed(name: &str) -> Vec<String> {
    let rules = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml")).expect("deny.toml");
    let (_, list) = rules.split_once(&format!("\n{name} = [")).expect("a list");
    let (list, _) = list.split_once(']').expect("its end");
    list.split('"').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

#[test]
fn each_crate_has_an_allowed_licence_and_comes_from_the_registry() {
    let licences = listed("allow");
    let is_allowed = |licence: &str| licences.iter().any(|allowed| allowed == licence);
    let found = crates(&tree(&["--edges", "normal,build,dev"]));
    assert!(found.len() > 100 && licences.len() > 3, "{licences:?}");
    for (name, source, offered) in found {
        let offered = offered.replace(['(', ')'], "").replace('/', " OR ");
        let is_good = offered.split(" AND ").all(|one| one.split(" OR ").any(is_allowed));
        assert!(is_good, "{name} has the licence {offered}");
        // A path in parentheses is this project's; a crate of the registry has nothing there.
        assert!(source.is_empty() || name.starts_with("leaderrun@"), "{name} comes from {source}");
    }
}

#[test]
fn each_crate_is_there_once_or_with_a_reason() {
    let reasons = listed("skip");
    let found = crates(&tree(&["--edges", "normal"]));
    for (name, ..) in &found {
        let (crate_name, version) = name.split_once('@').expect("a version");
        let twice = found.iter().filter(|(other, ..)| other.starts_with(&format!("{crate_name}@"))).count() > 1;
        let newest = found.iter().all(|(other, ..)| {
            other.split_once('@').is_none_or(|(other, another)| other != crate_name || !is_newer(another, version))
        });
        let has_reason = reasons.iter().any(|skipped| name.starts_with(&format!("{skipped}.")));
        assert!(!twice || newest || has_reason, "{name} is there beside a newer one: see cargo tree -d");
    }
}

fn is_newer(one: &str, other: &str) -> bool {
    let numbers = |version: &str| version.split('.').filter_map(|part| part.parse().ok()).collect::<Vec<u64>>();
    numbers(one) > numbers(other)
}
