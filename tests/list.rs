//! Every resource can be listed, with its leader and last run, for people, programs and Prometheus.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, time::Duration};

use crate::support::{Leaderrun, Output, Running, Servers, unique};
use serde_json::{Value, json};

const TTL: Duration = Duration::from_secs(3);

fn ask(run: &dyn Fn(&str) -> Leaderrun, question: &[&str]) -> (i32, String, String) {
    let output = run("unused").args(question).output();
    (output.code(), output.stdout, output.stderr)
}

fn leader(run: &dyn Fn(&str) -> Leaderrun, resource: &str) -> Running {
    let mut leader = run(resource).args(["--holder", "web \"9\""]).shell("echo runs; exec sleep 100");
    leader.says("runs");
    leader
}

/// Reads a text in the format that Prometheus and OpenMetrics have in common, and checks that it is one.
fn samples(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    let (mut types, mut samples) = (Vec::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let name = kind.strip_suffix(" gauge").expect("a gauge");
            assert!(!types.contains(&name), "{name} is there twice");
            types.push(name);
        } else if !line.starts_with("# ") {
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            let name = sample.split('{').next().unwrap_or_default();
            assert_eq!(types.last(), Some(&name), "{line}");
            assert!(samples.insert(sample.to_owned(), value.parse().expect("a number")).is_none(), "{line}");
        }
    }
    samples
}

fn resources(listed: &Value) -> &[Value] {
    listed["resources"].as_array().expect("a list")
}

/// Checks the list and the metrics of a place where nothing has been led.
fn lists(run: &dyn Fn(&str) -> Leaderrun) {
    let [led, failed, odd] = [unique("led"), unique("failed"), format!("{}*[é] {{\"x\\", unique("odd"))];
    assert_eq!(run(&failed).args(["--holder", "web-1"]).shell("exit 3").wait().code(), 3);
    assert_eq!(run(&odd).args(["true"]).output().code(), 0);
    let _leader = leader(run, &led);
    let (code, stdout, stderr) = ask(run, &["--list"]);
    assert_eq!((code, stderr.as_str(), stdout.lines().count()), (0, "", 4), "{stdout}");
    let line =
        |name: &str| stdout.lines().find(|line| line.starts_with(&format!("{name} "))).expect("a line").to_owned();
    assert!(line(&led).contains("  web \"9\"  20"), "{stdout}");
    assert!(line(&failed).contains("  exit status 3 after ") && line(&odd).contains("  success after "), "{stdout}");
    let listed: Value = serde_json::from_str(&ask(run, &["--list", "--json"]).1).expect("JSON");
    let of = |name: &str| resources(&listed).iter().find(|one| one["resource"] == name).expect("it").clone();
    assert_eq!(json!([listed["known"], of(&led)["known"]]), json!([true, true]), "{listed}");
    assert_eq!(of(&led)["leader"]["holder"], "web \"9\"");
    assert_eq!(json!([of(&failed)["leader"], of(&failed)["last_run"]["exit_status"]]), json!([null, 3]));

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("leaderrun.prom");
    let path = file.to_str().expect("a path");
    assert_eq!(ask(run, &["--list", "--openmetrics", path]), (0, String::new(), String::new()));
    let all = samples(&fs::read_to_string(&file).expect("a file"));
    let value = |name: &str, labels: &str| all.get(&format!("leaderrun_{name}{{{labels}}}")).copied();
    let escaped = odd.replace('\\', "\\\\").replace('"', "\\\"");
    assert_eq!(value("led", &format!("resource=\"{led}\"")), Some(1.0));
    assert_eq!(value("led", &format!("resource=\"{failed}\"")), Some(0.0));
    assert_eq!(value("leader", &format!("resource=\"{led}\",holder=\"web \\\"9\\\"\"")), Some(1.0));
    let runs = |of: &str, result: &str| value("runs", &format!("resource=\"{of}\",result=\"{result}\""));
    assert_eq!([runs(&failed, "exit"), runs(&led, "leads")], [Some(1.0); 2], "{all:?}");
    assert!(
        value("last_success_age_seconds", &format!("resource=\"{escaped}\"")).is_some_and(|age| age < 60.0),
        "{all:?}"
    );
    assert!(value("last_success_timestamp_seconds", &format!("resource=\"{escaped}\"")).is_some_and(|at| at > 1.6e9));
    assert_eq!(value("last_success_age_seconds", &format!("resource=\"{failed}\"")), None);

    let status = run(&failed).args(["--status", "--openmetrics", path]).output();
    assert_eq!((status.code(), status.stdout.as_str()), (0, ""));
    let one = samples(&fs::read_to_string(&file).expect("a file"));
    assert!(one.contains_key(&format!("leaderrun_led{{resource=\"{failed}\"}}")) && one.len() < all.len(), "{one:?}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn every_resource_of_the_nodes_under_a_prefix_is_listed() {
    let mut servers = Servers::settled(3, TTL);
    servers.0[0].query::<()>(&["SET", "leaderrun:teamX:other:fence", "5"]);
    let with = |servers: &Servers, resource: &str| {
        let servers = ["-R", &servers.urls(), "--key-prefix", "leaderrun:team?:", "-t", "3s"];
        Leaderrun::new().env("LEADERRUN_RESOURCE", resource).args(servers)
    };
    lists(&|resource| with(&servers, resource));
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path");
    let metrics = |servers: &Servers| {
        assert_eq!(with(servers, "x").args(["--list", "--openmetrics", path]).output().code(), 0);
        let all = samples(&fs::read_to_string(path).expect("a file"));
        ["nodes", "nodes_voting", "known"].map(|name| all[&format!("leaderrun_{name}")])
    };
    assert_eq!(metrics(&servers), [3.0, 3.0, 1.0]);
    servers.0[0].kill();
    assert_eq!(metrics(&servers), [3.0, 2.0, 1.0]);
    servers.0[1].kill();
    assert_eq!(metrics(&servers), [3.0, 1.0, 0.0]);
    let output = with(&servers, "x").args(["--list"]).output();
    assert_eq!(output.code(), 69);
    assert!(output.stderr.contains("1 of 3 nodes answered, 2 needed: redis://"), "{}", output.stderr);
    let output = with(&servers, "x").args(["--list", "--json"]).output();
    let listed: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(json!([listed["known"], listed["answered"], listed["quorum"]]), json!([false, 1, 2]), "{listed}");
    assert!(resources(&listed).iter().all(|one| one["known"] == false), "{listed}");
}

#[test]
fn every_resource_of_this_machine_is_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    lists(&|resource| {
        Leaderrun::new().env("XDG_RUNTIME_DIR", folder.path()).env("LEADERRUN_RESOURCE", resource).args(["--local"])
    });
}

#[test]
fn the_list_has_every_resource_so_that_naming_one_is_an_error() {
    let output = Leaderrun::new().args(["--local", "-r", "a", "--list"]).output();
    let why = "leaderrun: '--list' prints every resource; leave out --resource, or ask --status about one; see 'leaderrun --help'\n";
    assert_eq!((output.code(), output.stderr.as_str()), (64, why));
}

#[test]
fn many_resources_with_long_names_are_listed() {
    let servers = Servers::start(1);
    let name = |number: usize| format!("{number:04}{}", "x".repeat(500));
    let mut set = redis::cmd("MSET");
    for key in (0..300)
        .map(|number| format!("{}:fence", name(number)))
        .chain((0..20_000).map(|number| format!("{number}:other")))
    {
        set.arg(format!("leaderrun:{key}")).arg("5");
    }
    set.query::<()>(&mut servers.0[0].connect()).expect("keys");
    let output = Leaderrun::new().args(["-R", &servers.urls(), "--list", "--json"]).output();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
    let listed: Value = serde_json::from_str(&output.stdout).expect("JSON");
    let listed = resources(&listed);
    assert_eq!((listed.len(), &listed[299]["resource"]), (300, &json!(name(299))));
}

#[test]
fn names_longer_than_any_of_ours_fill_no_screen() {
    let servers = Servers::start(1);
    let (resource, long) = (unique("plain"), "x".repeat(5_000));
    let value = json!({ "id": "7", "holder": long, "release": "a" });
    let run = json!({ "token": 5, "id": "7", "holder": long, "start": 1_000, "ran_ms": 9, "end": "success" });
    for [command, key, member] in
        [["SET", "", &value.to_string()], ["SET", ":fence", "5"], ["ZADD", ":runs", &run.to_string()]]
    {
        let key = format!("leaderrun:{resource}{key}");
        let score = (command == "ZADD").then_some("5");
        servers.0[0].query::<()>(&[&[command, &key], score.as_slice(), &[member]].concat());
    }
    servers.0[0].query::<()>(&["SET", &format!("leaderrun:{long}:fence"), "5"]);
    for question in [&["--list"][..], &["-r", &resource, "--status"], &["-r", &resource, "--history"]] {
        let Output { stdout, .. } = Leaderrun::new().args(["-R", &servers.urls()]).args(question).output();
        assert!(stdout.contains("xxx"), "{stdout}");
        assert!(stdout.lines().all(|line| line.len() < 1_000), "{stdout}");
    }
}

/// A collector takes no series that two files have.
#[test]
fn the_metrics_of_two_resources_have_no_series_in_common() {
    let servers = Servers::start(1);
    let metrics = |resource: &str| {
        let options = ["-R", &servers.urls(), "-r", resource, "--status", "--openmetrics", "-"];
        samples(&Leaderrun::new().args(options).output().stdout)
    };
    let (first, second) = (metrics("first"), metrics("second"));
    assert_eq!(first["leaderrun_nodes{resource=\"first\"}"], 1.0);
    let common: Vec<_> = first.keys().filter(|series| second.contains_key(*series)).collect();
    assert!(common.is_empty(), "{common:?}");
}

#[test]
fn metrics_that_cannot_be_written_are_an_error() {
    let options = ["--local", "-r", &unique("none"), "--status", "--openmetrics", "/no/such/folder/x.prom"];
    let output = Leaderrun::new().args(options).output();
    assert_eq!(output.code(), 74);
    assert!(output.stderr.contains("--openmetrics /no/such/folder/x.prom can't be written: "), "{}", output.stderr);
    let output = Leaderrun::new().args(["--local", "-r", "x", "--openmetrics", "/tmp/x", "true"]).output();
    assert_eq!(output.code(), 64);
}

#[test]
fn metrics_go_to_stdout_or_to_where_a_link_points_and_replace_nothing_but_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, link, fifo) = (folder.path().join("x.prom"), folder.path().join("link"), folder.path().join("fifo"));
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    std::fs::write(&file, "").expect("a file");
    let resource = unique("none");
    let write =
        |to: &str| Leaderrun::new().args(["--local", "-r", &resource, "--status", "--openmetrics", to]).output();
    let text = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();

    assert_eq!(write(&text(&link)).code(), 0);
    let written = std::fs::read_to_string(&file).expect("a file");
    assert!(link.is_symlink() && written.contains("leaderrun_"), "{written}");
    assert_eq!(write("-").stdout, written);
    let refused = write(&text(&fifo));
    assert_eq!(refused.code(), 74, "{}", refused.stderr);
    assert!(refused.stderr.contains("it isn't a regular file (for stdout, write -)"), "{}", refused.stderr);
}

#[test]
fn every_user_can_read_the_metrics_whatever_the_umask_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.prom");
    let words = ["sh", "-c", "umask 077; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_leaderrun")].map(Into::into);
    let path = file.to_str().expect("UTF-8");
    let run = Leaderrun::new().args(["--local", "-r", &unique("umask"), "--status", "--openmetrics", path]);
    assert_eq!(run.through(words.into()).output().code(), 0);
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o644);
}
