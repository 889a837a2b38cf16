//! `--slots N`: at most N lead at a time, each in a slot of its own, which is led as a resource is.

use std::{rc::Rc, time::Duration};

use crate::support::{LONG_TTL, Leaderrun, Running, Servers, Witnesses, eventually, program, unique};
use nix::sys::signal::Signal;

pub(crate) const TTL: Duration = LONG_TTL;

/// Three slots of one resource, on nodes or on this machine, and a log for the commands of each.
pub(crate) struct Slots<'a> {
    pub servers: Option<&'a Servers>,
    pub resource: String,
    pub logs: [Rc<Witnesses>; 3],
}

impl<'a> Slots<'a> {
    pub(crate) fn new(servers: Option<&'a Servers>) -> Self {
        Slots { servers, resource: unique("slots"), logs: [(); 3].map(|()| Rc::new(Witnesses::new())) }
    }

    /// Returns a leaderrun for the resource, without a number of slots.
    fn run(&self) -> Leaderrun {
        match self.servers {
            Some(servers) => Leaderrun::on(servers, &self.resource, TTL),
            None => Leaderrun::new().args(["--local", "-t", "3s", "-r", &self.resource]),
        }
    }

    fn ask(&self, args: &[&str]) -> crate::support::Output {
        self.run().args(args).output()
    }

    /// Starts an instance whose command writes to the log of its slot, and ends when it is asked to.
    pub(crate) fn start(&self, holder: &str) -> Running {
        let line = r#"shift $((LEADERRUN_SLOT - 1)); exec "$WITNESS" "$1" drain 1"#;
        let run = self.run().args(["-v", "--slots", "3", "--holder", holder]).env("WITNESS", program("witness"));
        let run = run.args(["--", "sh", "-c", line, "sh"]).args(self.logs.each_ref().map(|log| log.log()));
        run.spawn()
    }

    /// Waits until each slot has had this many leaders.
    fn led(&self, leaders: [usize; 3]) {
        for (log, leaders) in self.logs.iter().zip(leaders) {
            log.started(leaders);
        }
    }

    /// Checks that each slot had one leader at a time, with tokens that grow, and returns how many each had.
    fn check(&self) -> [usize; 3] {
        self.logs.each_ref().map(|log| log.check().len())
    }
}

/// Returns the slot that an instance leads, if it leads.
fn slot_of(instance: &Running) -> Option<usize> {
    let said = instance.stderr();
    let (_, rest) = said.split_once("leads in slot ")?;
    rest.split(' ').next()?.parse().ok()
}

/// Returns the instance that leads a slot.
fn leader_of(slot: usize, instances: &mut Vec<Running>) -> Running {
    let leads = |one: &mut Running| slot_of(one) == Some(slot) && !one.has_ended();
    let place = eventually("the slot's leader", || instances.iter_mut().position(leads));
    instances.swap_remove(place)
}

fn each_place(play: impl Fn(Option<&Servers>)) {
    let servers = Servers::settled(3, TTL);
    play(Some(&servers));
    play(None);
}

#[test]
fn each_slot_has_one_leader_at_a_time_and_a_standby_takes_over_the_slot_of_a_leader_that_ends_or_dies() {
    each_place(|servers| {
        let slots = Slots::new(servers);
        let mut instances: Vec<Running> = (0..6).map(|n| slots.start(&format!("web-{n}"))).collect();
        slots.led([1, 1, 1]);
        let killed = leader_of(2, &mut instances);
        killed.signal(Signal::SIGKILL);
        slots.led([1, 2, 1]);
        let ended = leader_of(3, &mut instances);
        ended.signal(Signal::SIGTERM);
        slots.led([1, 2, 2]);
        assert_eq!(ended.wait().code(), 0);
        let guard_killed = leader_of(1, &mut instances);
        crate::support::signal(guard_killed.guard(), Signal::SIGKILL);
        slots.led([2, 2, 2]);
        if let Some(servers) = servers {
            // Who leads isn't woken by what happens in other slots.
            servers.listened_to(&slots.resource, 0);
        }
        // Nobody is left to take over.
        leader_of(2, &mut instances).signal(Signal::SIGTERM);
        assert_eq!(slots.check(), [2, 2, 2]);
    });
}

#[test]
fn the_command_finds_its_slot_and_their_number_and_does_not_pass_them_on_to_another_leaderrun() {
    let run = || Leaderrun::new().args(["--local", "-r", &unique("environment")]);
    let line = r#"echo "$LEADERRUN_SLOT of $LEADERRUN_SLOTS""#;
    let with = |run: Leaderrun| run.args(["--", "sh", "-c", line]).output().stdout;
    let said = with(run().args(["--slots", "3"]));
    assert!(["1 of 3\n", "2 of 3\n", "3 of 3\n"].contains(&said.as_str()), "{said}");
    assert_eq!(with(run().args(["--slots", "1"])), "1 of 1\n");
    assert_eq!(with(run()), " of \n");
    assert!(with(run().env("LEADERRUN_SLOTS", "2")).ends_with(" of 2\n"));
    assert_eq!(with(run().env("LEADERRUN_SLOTS", "2").env("LEADERRUN_SLOT", "1")), " of \n");
    let output = run().env("LEADERRUN_SLOTS", "0").args(["true"]).output();
    assert_eq!(output.code(), 64);
    assert_eq!(output.stderr, "leaderrun: LEADERRUN_SLOTS=0 is no number of slots; set it to a number from 1 to 64\n");
}

#[test]
fn another_number_of_slots_is_refused_with_78_and_says_whose() {
    each_place(|servers| {
        let slots = Slots::new(servers);
        let leader = slots.start("web-1");
        leader.reports("leads in slot");
        for (args, ours) in [(&["--wait", "500ms", "true"][..], 1), (&["--slots", "2", "--wait", "500ms", "true"], 2)] {
            let output = slots.ask(args);
            assert_eq!(output.code(), 78, "{}", output.stderr);
            let whose =
                format!("uses --slots 3, but this instance {ours}; give all instances the same; the command was not");
            assert!(
                output.stderr.contains("web-1, whose lock is on ") && output.stderr.contains(&whose),
                "{}",
                output.stderr
            );
        }
        if servers.is_some() {
            let check = slots.ask(&["--check"]);
            let found = "has the lock of web-1, which uses --slots 3, but this instance 1: give all instances, and --check, the same";
            assert!(check.code() == 1 && check.stdout.contains(found), "{}", check.stdout);
        }
        leader.signal(Signal::SIGTERM);
        assert_eq!(leader.wait().code(), 0);
        let one = slots.run().args(["--holder", "web-2", "-v", "--", "sleep", "1000"]).spawn();
        one.reports("leads with");
        let output = slots.ask(&["--slots", "3", "--wait", "500ms", "true"]);
        assert_eq!(output.code(), 78, "{}", output.stderr);
        assert!(output.stderr.contains("web-2, whose lock is on "), "{}", output.stderr);
        assert!(output.stderr.contains("uses --slots 1, but this instance 3"), "{}", output.stderr);
    });
}

#[test]
fn a_try_answers_at_once_where_others_lead_with_another_number_of_slots() {
    each_place(|servers| {
        let slots = Slots::new(servers);
        let leader = slots.start("web-1");
        leader.reports("leads in slot");
        for other in ["1", "2"] {
            let output = slots.ask(&["-vv", "--slots", other, "-n", "true"]);
            assert_eq!(output.code(), 78, "{}", output.stderr);
            assert_eq!(output.stderr.matches("lost a round: web-1, ").count(), 1, "{}", output.stderr);
        }
    });
}

#[test]
fn with_all_slots_taken_a_try_exits_with_75_and_with_one_free_it_leads_there() {
    each_place(|servers| {
        let slots = Slots::new(servers);
        let mut instances: Vec<Running> = ["a", "b"].map(|holder| slots.start(holder)).into();
        instances.iter().for_each(|one| one.reports("leads in slot"));
        let free = (1..=3).find(|slot| instances.iter().all(|one| slot_of(one) != Some(*slot))).expect("a free slot");
        let output = slots.ask(&["--slots", "3", "--try", "--", "sh", "-c", "echo $LEADERRUN_SLOT"]);
        assert_eq!((output.code(), output.stdout), (0, format!("{free}\n")));
        instances.push(slots.start("c"));
        slots.led([1, 1, 1]);
        let output = slots.ask(&["-v", "--slots", "3", "--try", "true"]);
        assert_eq!(output.code(), 75, "{}", output.stderr);
        assert!(output.stderr.contains("all 3 slots are taken, by "), "{}", output.stderr);
    });
}

#[test]
fn status_and_its_relatives_know_slots_without_being_told_how_many() {
    each_place(|servers| {
        let slots = Slots::new(servers);
        let mut instances: Vec<Running> = ["a", "b"].map(|holder| slots.start(holder)).into();
        instances.iter().for_each(|one| one.reports("started"));
        let slot = slot_of(&instances[0]).expect("a leader");
        let output = slots.ask(&["--status"]);
        assert_eq!(output.code(), 0, "{}", output.stderr);
        assert!(
            output.stdout.contains(&format!("{} slot {slot}: a leads since ", slots.resource)),
            "{}",
            output.stdout
        );
        assert_eq!(output.stdout.matches(": nobody leads\n").count(), 1, "{}", output.stdout);
        let output = slots.ask(&["--status", "--json"]);
        let json: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
        let one = &json["slots"][slot - 1];
        assert_eq!(
            (&json["resource"], &one["slot"], &one["leader"]["holder"]),
            (&slots.resource.as_str().into(), &slot.into(), &"a".into())
        );
        assert_eq!(["a", "b", "c"].map(|holder| slots.ask(&["--leads", holder]).code()), [0, 0, 1]);
        let watch = slots.run().args(["--watch"]).spawn();
        eventually("three lines", || (watch.stdout().lines().count() == 3).then_some(()));
        instances.push(slots.start("c"));
        eventually("a fourth", || {
            watch.stdout().lines().nth(3).filter(|line| line.contains(": c leads since ")).map(drop)
        });
    });
}

#[test]
fn one_slot_is_asked_to_step_down_and_the_others_stay() {
    each_place(|servers| {
        let slots = Slots::new(servers);
        let mut instances: Vec<Running> = ["a", "b", "c"].map(|holder| slots.start(holder)).into();
        slots.led([1, 1, 1]);
        let standby = slots.start("d");
        standby.reports("all 3 slots are taken");
        eventually("a standby in the status", || {
            let said = format!("\n{}: 1 instance stands by\n", slots.resource);
            slots.ask(&["--status"]).stdout.contains(&said).then_some(())
        });
        let output = slots.ask(&["--step-down"]);
        assert_eq!(output.code(), 64, "{}", output.stderr);
        assert!(output.stderr.contains("has 3 slots; say which with --slot"), "{}", output.stderr);
        assert_eq!(slots.ask(&["--step-down", "--slot", "4"]).code(), 64);
        let leader = leader_of(2, &mut instances);
        let output = slots.ask(&["--step-down", "--slot", "2"]);
        assert_eq!(output.code(), 0, "{}", output.stderr);
        assert!(output.stdout.ends_with(" stepped down; d leads\n"), "{}", output.stdout);
        slots.led([1, 2, 1]);
        assert_eq!(leader.wait().code(), 76);
        assert_eq!(slots.check(), [1, 2, 1]);
    });
}

#[test]
fn a_slot_of_a_resource_that_has_one_leader_is_no_question() {
    each_place(|servers| {
        let slots = Slots::new(servers);
        for question in [&["--step-down"][..], &["--succeeded-within", "1h"]] {
            let output = slots.ask(&[question, &["--slot", "2"]].concat());
            let why = format!("leaderrun: {} has one leader at a time; leave out --slot\n", slots.resource);
            assert_eq!((output.code(), output.stderr), (64, why));
        }
    });
}

#[test]
fn slots_and_one_success_per_period_exclude_each_other_and_say_why() {
    let output = Leaderrun::new().args(["--local", "-r", "x", "--slots", "2", "--once-per", "1h", "true"]).output();
    assert_eq!(output.code(), 64);
    let why = "leaderrun: --slots can't be used with --once-per or --once-for: one success for all slots would leave the others undone; leave out one\n";
    assert_eq!(output.stderr, why);
    let output = Leaderrun::new().args(["--local", "-r", "x:slot2", "true"]).output();
    assert_eq!(output.code(), 64);
}

#[test]
fn the_end_of_one_leader_opens_no_resource_of_which_another_slot_is_led() {
    let servers = Servers::settled(3, TTL);
    let slots = Slots::new(Some(&servers));
    let mut instances = vec![slots.start("a"), slots.start("b")];
    eventually("two leaders", || instances.iter().all(|one| slot_of(one).is_some()).then_some(()));
    let other = Witnesses::new();
    let alone = slots.run().args(["-v"]).args(other.command(&["drain", "1"])).spawn();
    alone.reports("uses --slots 3");
    // It ends whose value keeps those with another number of slots away.
    let named = || servers.0[0].lock(&slots.resource).expect("a value under the resource's name");
    let ends = usize::from(named().contains(r#""holder":"b""#));
    let ending = instances.swap_remove(ends);
    let log = &slots.logs[slot_of(&ending).expect("its slot") - 1];
    log.started(1);
    log.stop_last();
    assert_eq!(ending.wait().code(), 0);
    let stays = instances.pop().expect("the other leader");
    let began = std::time::Instant::now();
    eventually("a ttl", || (began.elapsed() > TTL).then_some(()));
    assert!(other.all().is_empty(), "{}{}", alone.stderr(), stays.stderr());
    slots.logs[slot_of(&stays).expect("its slot") - 1].stop_last();
    assert_eq!(stays.wait().code(), 0, "the lead was lost");
    other.started(1);
    other.stop_last();
    assert_eq!(alone.wait().code(), 0);
}
