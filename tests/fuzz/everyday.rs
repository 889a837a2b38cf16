//! A small part of the fuzzing that `tests/campaign fuzz` does: the seeds, which include each input that once broke a
//! rule, and changes to them.

use std::{collections::BTreeSet, fs, path::Path};

use fastrand::Rng;

use super::TARGETS;

/// How often each seed is changed, unless CHANGES says otherwise.
const FEW_CHANGES: usize = 40;

/// What seldom comes up by chance.
const HOSTILE: &[&str] =
    &["-1", "18446744073709551615", "9223372036854775808", "\r\n", "\0", "\u{9b}", "*1\r\n", "$-1\r\n"];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let files = fs::read_dir(folder).expect("a folder of seeds");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a seed")).collect()
}

fn change(data: &mut Vec<u8>, other: &[u8], random: &mut Rng) {
    for _ in 0..random.usize(1..4) {
        let at = random.usize(0..=data.len());
        let end = (at + random.usize(0..8)).min(data.len());
        match random.u8(0..5) {
            0 => drop(data.drain(at..end)),
            1 => data.insert(at, random.u8(..)),
            2 => data[at..end].fill_with(|| random.u8(..)),
            3 => drop(data.splice(at..end, HOSTILE[random.usize(0..HOSTILE.len())].bytes())),
            _ => {
                let from = random.usize(0..=other.len());
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
        }
    }
}

#[test]
fn no_target_breaks_a_rule_on_its_seeds_or_on_changes_to_them() {
    let changes = std::env::var("CHANGES").map_or(FEW_CHANGES, |n| n.parse().expect("a number of changes"));
    for (name, target) in TARGETS {
        let (seeds, mut random) = (seeds(name), Rng::with_seed(1));
        assert!(!seeds.is_empty(), "{name} has no seed");
        target(&[]);
        for seed in &seeds {
            target(seed);
            for _ in 0..changes {
                let mut data = seed.clone();
                change(&mut data, &seeds[random.usize(0..seeds.len())], &mut random);
                target(&data);
            }
        }
    }
}

#[test]
fn cargo_fuzz_builds_each_target_from_the_crates_of_the_program() {
    let manifest =
        |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a manifest");
    let section = |text: &str, from: &str, to: &str| -> BTreeSet<String> {
        let (_, rest) = text.split_once(from).expect("a section");
        rest.split(to)
            .next()
            .unwrap_or_default()
            .lines()
            .filter(|line| line.contains(" = "))
            .map(ToOwned::to_owned)
            .collect()
    };
    let (ours, theirs) = (manifest("Cargo.toml"), manifest("fuzz/Cargo.toml"));
    assert_eq!(
        section(&theirs, "# As in the program's own manifest.\n", "\n\n"),
        section(&ours, "[dependencies]\n", "\n[")
    );
    for (name, _) in TARGETS {
        let program = manifest(&format!("fuzz/targets/{name}.rs"));
        assert!(program.ends_with(&format!("fuzz_target!(|data: &[u8]| program::fuzz::{name}(data));\n")), "{program}");
        assert!(theirs.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml doesn't have {name}");
    }
}
