//! Dependencies between the files of src/ only go down: no circles, and no arrow to a higher layer.

#[path = "support/imports.rs"]
mod imports;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use self::imports::{Arrows, Sources, arrows, read_sources};

/// The rooms of src/ (its files and folders), from top to bottom. A room may use those on its own line and below.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["commands", "usage"],
    &["run"],
    &["run_end"],
    &["election", "leadership", "conclude"],
    &["observer", "backend", "guard"],
    &["settings", "config_error", "file_warning"],
    &["redlock", "local"],
    &["report", "event", "systemd"],
    &["lock", "status", "leader_variables"],
    &["once_per", "history", "lease", "renewal"],
    &["clock", "exit", "cli", "limits", "one_line", "program", "regular_file", "server_url", "trusted_path"],
    &["host"],
    &["sys"],
];

/// Returns the room that a file belongs to.
fn room(file: &str) -> &str {
    let (first, _) = file.split_once('/').unwrap_or((file, ""));
    first.trim_end_matches(".rs")
}

/// Names each arrow that points up, or that begins or ends in a room without a layer.
fn arrows_up(arrows: &Arrows, layers: &[&[&str]]) -> Vec<String> {
    let layer = |file: &str| layers.iter().position(|rooms| rooms.contains(&room(file)));
    let complaint = |(from, to): &(String, String)| match (layer(from), layer(to)) {
        (Some(above), Some(below)) if above <= below => None,
        (Some(_), Some(_)) => Some(format!("{from} uses {to}, which is in a higher layer")),
        (None, _) => Some(format!("{from} uses {to}: {} has no layer in {}", room(from), file!())),
        (_, None) => Some(format!("{from} uses {to}: {} has no layer in {}", room(to), file!())),
    };
    arrows.iter().filter_map(complaint).collect()
}

/// Names each circle of files, or of rooms.
fn circles(arrows: &Arrows) -> Vec<String> {
    let mut below: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in arrows {
        below.entry(from).or_default().insert(to);
    }
    let mut told = BTreeSet::new();
    let mut circles = Vec::new();
    for (from, to) in arrows {
        if let Some(back) = way(&below, to, from) {
            let members: BTreeSet<&str> = back.iter().copied().collect();
            if told.insert(members) {
                circles.push(format!("circle: {from} → {}", back.join(" → ")));
            }
        }
    }
    circles
}

/// Returns a shortest way along the arrows, both ends included.
fn way<'a>(below: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let mut ways = vec![vec![from]];
    let mut seen = BTreeSet::from([from]);
    while !ways.is_empty() {
        if let Some(found) = ways.iter().find(|way| way.last() == Some(&to)) {
            return Some(found.clone());
        }
        let mut longer = Vec::new();
        for way in &ways {
            for &next in way.last().and_then(|last| below.get(last)).into_iter().flatten() {
                if seen.insert(next) {
                    longer.push([way.as_slice(), &[next]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

fn between_rooms(arrows: &Arrows) -> Arrows {
    let rooms = arrows.iter().map(|(from, to)| (room(from).to_owned(), room(to).to_owned()));
    rooms.filter(|(from, to)| from != to).collect()
}

fn of_the_program() -> Arrows {
    arrows(&read_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")))
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let circles = circles(&of_the_program());
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn no_rooms_use_each_other_in_a_circle() {
    let circles = circles(&between_rooms(&of_the_program()));
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn no_file_uses_a_file_of_a_higher_layer() {
    let up = arrows_up(&of_the_program(), LAYERS);
    assert!(up.is_empty(), "{}", up.join("\n"));
}

/// Returns a program of a few files. Comments, strings and tests contribute no arrows.
fn small_program(changed: &[(&str, &str)]) -> Sources {
    let files = [
        (
            "main.rs",
            "mod store; mod shop; mod price; fn main() { shop::open(&store::Shelf::new(\"crate::store::none\")) }",
        ),
        (
            "shop.rs",
            "use crate::{store::{Shelf, self as goods}, price::Price}; pub fn open(_: &Shelf) { goods::count(); }",
        ),
        ("store/mod.rs", "mod shelf; mod stock; pub use self::{shelf::Shelf, stock::count};"),
        (
            "store/shelf.rs",
            "// use crate::main;\npub struct Shelf<'a>(&'a str); impl Shelf<'_> { fn len() { super::stock::count() } }",
        ),
        (
            "store/stock.rs",
            "pub fn count() {} #[cfg(test)] mod tests { use crate::shop::open; } #[cfg(test)] mod checks;",
        ),
        ("store/stock/checks.rs", "use crate::shop::open;"),
        ("price.rs", "pub struct Price; #[derive(Debug)] #[money(with = crate::store::count)] pub struct Tag;"),
    ];
    files.iter().chain(changed).map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect()
}

const SMALL_LAYERS: &[&[&str]] = &[&["main"], &["shop"], &["price"], &["store"]];

#[test]
fn arrows_follow_groups_other_names_inline_paths_and_re_exports() {
    let arrows = arrows(&small_program(&[]));
    let arrows: Vec<(&str, &str)> = arrows.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    let expected = [
        ("main.rs", "shop.rs"),
        ("main.rs", "store/shelf.rs"),
        ("price.rs", "store/stock.rs"),
        ("shop.rs", "price.rs"),
        ("shop.rs", "store/shelf.rs"),
        ("shop.rs", "store/stock.rs"),
        ("store/shelf.rs", "store/stock.rs"),
    ];
    assert_eq!(arrows, expected);
}

#[test]
fn a_sound_program_passes() {
    let arrows = arrows(&small_program(&[]));
    assert_eq!(circles(&arrows), [""; 0]);
    assert_eq!(circles(&between_rooms(&arrows)), [""; 0]);
    assert_eq!(arrows_up(&arrows, SMALL_LAYERS), [""; 0]);
}

#[test]
fn a_circle_inside_a_folder_is_found() {
    let stock = ("store/stock.rs", "use super::shelf; pub fn count() { shelf::Shelf::len() }");
    let circles = circles(&arrows(&small_program(&[stock])));
    assert_eq!(circles, ["circle: store/shelf.rs → store/stock.rs → store/shelf.rs"]);
}

#[test]
fn a_circle_by_way_of_a_re_export_is_found() {
    let stock = ("store/stock.rs", "pub fn count(_: super::Shelf) {}");
    let circles = circles(&arrows(&small_program(&[stock])));
    assert_eq!(circles, ["circle: store/shelf.rs → store/stock.rs → store/shelf.rs"]);
}

#[test]
fn a_circle_of_rooms_whose_files_form_none_is_found() {
    let shelf = ("store/shelf.rs", "use crate::price::Tag; pub struct Shelf(Tag);");
    let arrows = arrows(&small_program(&[shelf]));
    assert_eq!(circles(&arrows), [""; 0]);
    assert_eq!(circles(&between_rooms(&arrows)), ["circle: price → store → price"]);
}

#[test]
fn an_arrow_that_points_up_is_found_and_names_both_files() {
    let shelf = ("store/shelf.rs", "pub struct Shelf; fn sell() { println!(\"{}\", crate::price::Price) }");
    let up = arrows_up(&arrows(&small_program(&[shelf])), SMALL_LAYERS);
    assert_eq!(up, ["store/shelf.rs uses price.rs, which is in a higher layer"]);
}

#[test]
fn a_room_without_a_layer_is_found() {
    let cellar = [("cellar.rs", "use crate::store::count;")];
    let up = arrows_up(&arrows(&small_program(&cellar)), SMALL_LAYERS);
    assert_eq!(up, ["cellar.rs uses store/stock.rs: cellar has no layer in tests/arrows.rs"]);
}
