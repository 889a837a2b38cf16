//! The scripts for the slots of a resource.

use super::node::{ACQUIRE, EXTEND, Node, RELEASE, SURVEY};

/// A slot's value: the number of slots follows the id.
fn of_slots(id: &str, slots: u16) -> String {
    format!(r#"{{"id":"{id}","slots":{slots},"holder":"x","release":""}}"#)
}

#[test]
fn a_slot_is_granted_extended_and_released_beside_those_of_as_many_slots_alone() {
    let mut node = Node::start();
    let locks = ["l:slot1", "l:slot2"];
    let acquire = |node: &mut Node, slot: usize, value: &str| {
        let lock = locks[slot];
        let keys = [lock, &format!("{lock}:fence"), "done", "failed", "runs", "l"];
        node.eval_on(ACQUIRE, &keys, &[value, "10000", "1", "0", "1", "", "", "", "l", "{", " 1"])
    };
    let extend = |node: &mut Node, slot: usize, value: &str| {
        let lock = locks[slot];
        let keys = [lock, &format!("{lock}:fence"), "step-down", "runs", "l"];
        node.eval_on(EXTEND, &keys, &[value, "10000", "1", "", "", "", "0", "", ""]).swap_remove(0)
    };
    let release = |node: &mut Node, slot: usize, value: &str| {
        let lock = locks[slot];
        let keys = [lock, &format!("{lock}:fence"), "runs", "last-success", "l", locks[0], locks[1]];
        node.eval_on(RELEASE, &keys, &[value, "1", "2", "", "0", "", "", "1", "", "", "0", "0"]).swap_remove(0)
    };
    let (a, b, other) = (of_slots("a", 2), of_slots("b", 2), of_slots("c", 3));
    assert_eq!(acquire(&mut node, 0, &a)[0], "granted");
    assert_eq!(node.query::<String>(&["GET", "l"]), a);
    let refused = acquire(&mut node, 1, &other);
    assert_eq!((refused[0].as_str(), &refused[3]), ("held", &a));
    assert_eq!(node.acquire("one", "9", "0")[..1], ["held"]);
    assert_eq!(acquire(&mut node, 1, &b)[0], "granted");
    assert_eq!((extend(&mut node, 0, &a), extend(&mut node, 1, &b)), ("extended".into(), "extended".into()));
    // What was lost is restored.
    node.query::<()>(&["DEL", "l"]);
    assert_eq!(extend(&mut node, 0, &a), "extended");
    assert_eq!(release(&mut node, 0, &a), "released");
    assert!([&a, &b].contains(&&node.query::<String>(&["GET", "l"])), "one slot is still led");
    // Who has the resource for itself, or with another number of slots, has taken it from us.
    node.query::<()>(&["SET", "l", &other]);
    assert_eq!(extend(&mut node, 1, &b), "lost");
    node.query::<()>(&["SET", "l", &b]);
    assert_eq!(release(&mut node, 1, &b), "released");
    assert_eq!(node.query::<Option<String>>(&["GET", "l"]), None);
}

#[test]
fn a_slot_that_is_kept_closes_the_resource_for_as_long_to_other_numbers_of_slots() {
    let mut node = Node::start();
    let (a, b, kept) = (of_slots("a", 2), of_slots("b", 2), of_slots("k", 2));
    for (key, value) in [("l:slot1", &a), ("l:slot2", &b), ("l", &b)] {
        node.query::<()>(&["SET", key, value, "PX", "10000"]);
    }
    let keys = ["l:slot1", "l:slot1:fence", "runs", "last-success", "l", "l:slot1", "l:slot2"];
    let words = [&a, "1", "2", "", "0", "", "", "1", "", "", "0", "0", &kept, "60000", "0", "", ""];
    assert_eq!(node.eval_on(RELEASE, &keys, &words)[0], "released");
    assert_eq!(node.query::<String>(&["GET", "l"]), kept);
    assert!(node.query::<i64>(&["PTTL", "l"]) > 50_000);
}

#[test]
fn a_survey_tells_of_the_resource_and_of_each_slot() {
    let mut node = Node::start();
    node.query::<()>(&["SET", "l:slot2", "x", "PX", "10000"]);
    node.query::<()>(&["SET", "l:slot2:fence", "7"]);
    let keys = ["l", "l:slot1", "l:slot1:fence", "l:slot2", "l:slot2:fence"];
    let mut seen = node.eval_on(SURVEY, &keys, &["l"]);
    let left: i64 = seen.remove(7).parse().expect("a number");
    assert!((9000..=10000).contains(&left), "{left}");
    assert_eq!(seen, ["0", "", "-2", "", "-2", "", "x", "7"]);
}
