//! The recipes of README and docs run as they stand: the tests take them out of the files.

use std::{collections::BTreeSet, fs, path::Path, process::Stdio, time::Duration};

use crate::support::{Kitchen, Leaderrun, Server, Servers, eventually, signal};
use nix::sys::signal::Signal;

const TTL: Duration = Duration::from_secs(1);

/// A node that answers later than a twentieth of it isn't heard, also on a busy host.
const LONGER_TTL: Duration = Duration::from_secs(3);

fn text(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("a document")
}

/// Returns the blocks of a file in this language.
fn blocks(file: &str, language: &str) -> Vec<String> {
    let text = text(file);
    let parts: Vec<&str> = text.split("```").collect();
    let fenced = parts.iter().skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    fenced.filter(|(first, _)| *first == language).map(|(_, block)| block.to_owned()).collect()
}

/// Returns the rows of the tables of a page's part, cell by cell.
fn rows(file: &str, heading: &str) -> Vec<Vec<String>> {
    let text = text(file);
    let (_, part) = text.split_once(heading).expect("the part");
    let part = part.split("\n## ").next().unwrap_or_default();
    let cells = |line: &str| {
        let line = line.replace("\\|", "\0");
        let cells = line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').replace('\0', "|"));
        cells.collect::<Vec<_>>()
    };
    part.lines().filter(|line| line.starts_with('|')).map(cells).skip(2).collect()
}

/// What a crontab's line runs.
fn command_of(entry: &str) -> &str {
    entry.splitn(6, ' ').nth(5).expect("a command").trim()
}

#[test]
fn each_block_for_a_shell_is_run_here_or_says_what_it_needs() {
    let run_here = |file: &str, block: &str| match file {
        "README.md" => true,
        "docs/servers.md" => !block.contains("--redis NEW"),
        _ => false,
    };
    let parts = text("tests/campaign");
    for file in
        ["README.md", "CONTRIBUTING.md", "docs/cron.md", "docs/from-flock.md", "docs/proof.md", "docs/servers.md"]
    {
        for block in blocks(file, "sh").iter().filter(|block| !run_here(file, block)) {
            for line in block.lines() {
                let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
                let is_known = match words.as_slice() {
                    ["tests/campaign", part, ..] => parts.contains(&format!(" {part}")),
                    // history.rs and list.rs have these.
                    ["leaderrun", "--redis-file", "/etc/leaderrun", ..] => true,
                    // changed_servers.rs has these.
                    ["leaderrun", "--redis", "NEW", ..] => true,
                    [] | ["tests/run" | "bench/run", ..] | ["cargo", "tree" | "deny" | "nextest" | "run", ..] => true,
                    _ => false,
                };
                assert!(is_known, "{file}: nothing runs {line:?}");
            }
        }
    }
}

#[test]
fn what_readme_begins_with_works() {
    let servers = Servers::settled(3, TTL);
    let kitchen = Kitchen::new(&servers, TTL);
    let [try_it, script, shards] = blocks("README.md", "sh").try_into().expect("three blocks");
    assert_eq!(kitchen.run(&try_it, &[]), (0, "I lead\nrun\n".into()));
    assert_eq!(kitchen.run(&script, &[]), (0, "migrate.sh\n".into()));
    let (status, said) = kitchen.run(&shards, &[]);
    assert!(status == 0 && said.starts_with("work --shard ") && said.ends_with(" --of 3\n"), "{said}");
    fs::write(kitchen.path("etc/leaderrun"), servers.urls().replace(',', "\n")).expect("a file");
    for (file, ran) in [("README.md", "nightly.sh\n"), ("docs/cron.md", "")] {
        let [entry] = blocks(file, "cron").try_into().expect("one entry");
        assert_eq!(kitchen.run(command_of(&entry), &[]), (0, ran.into()), "{file}: the second one finds the success");
    }
    let [image] = blocks("README.md", "dockerfile").try_into().expect("one image");
    let after = |word: &str| image.lines().find_map(|line| line.strip_prefix(word)).expect("a line").to_owned();
    let entry: Vec<String> = serde_json::from_str(&after("ENTRYPOINT ")).expect("the form of exec");
    let line = format!("{} {}", after("ENV "), entry.join(" "));
    assert_eq!(kitchen.run(&line, &[]), (0, "consumer\n".into()));
}

#[test]
fn a_line_of_flock_and_the_line_of_leaderrun_beside_it_do_the_same() {
    let kitchen = Kitchen::new(&Servers(Vec::new()), LONGER_TTL);
    let rows = rows("docs/from-flock.md", "# From flock");
    let runs = |line: &str| line.contains(" -- ") || line.contains(" -c ");
    let both: Vec<_> = rows.iter().filter(|row| row[1].contains("/nightly ") && runs(&row[2])).collect();
    assert!(both.len() >= 6, "{rows:?}");
    let mut seen = BTreeSet::new();
    for row in both {
        let [of_flock, ours] = [&row[1], &row[2]].map(|line| kitchen.run(line, &[]));
        assert_eq!((of_flock.0, &of_flock.1), (0, &ours.1), "{}", row[0]);
        assert_eq!(ours.0, 0, "{}", row[0]);
        assert!(!ours.1.is_empty(), "{}", row[0]);
        seen.insert(ours.1);
    }
    assert!(seen.len() > 1, "{seen:?}");
    let part = rows.iter().find(|row| row[0].starts_with("a part")).expect("the row of a part");
    let parts = [&part[1], &part[2]].map(|line| kitchen.run(line, &[]));
    assert_eq!(parts, [(0, "part.sh\n".into()), (0, "part.sh\n".into())]);
    // A script that locks itself.
    let itself = rows.iter().find(|row| row[0].starts_with("a script that")).expect("the row of a script");
    for line in &itself[1..] {
        kitchen.put("itself", &format!("#!/bin/sh\n{line}\necho itself \"$@\"\n"));
        assert_eq!(kitchen.run("./itself with words", &[]), (0, "itself with words\n".into()), "{line}");
    }
    // Another one has both locks.
    let hold = "exec setpriv --pdeathsig TERM flock -F /run/lock/nightly leaderrun --local -r nightly -- \
                sh -c 'touch held; exec sleep 1000'";
    let mut holder = kitchen.command(hold).stdin(Stdio::null()).spawn().expect("bash");
    eventually("both locks", || kitchen.path("held").exists().then_some(()));
    for row in
        rows.iter().filter(|row| row[1].contains("flock -n ") && row[2].contains(" -- ") && !row[1].contains("exec"))
    {
        let [of_flock, ours] = [&row[1], &row[2]].map(|line| kitchen.run(line, &[]).0);
        let expected = if row[1].contains("-E 0") { (0, 0) } else { (1, 75) };
        assert_eq!((of_flock, ours), expected, "{}", row[0]);
    }
    let status = rows.iter().find(|row| row[0] == "who has it").expect("the row of the holder");
    assert!(kitchen.run(&status[2], &[]).1.contains("leads since"), "{}", status[2]);
    signal(holder.id() as i32, Signal::SIGTERM);
    holder.wait().expect("our child");
}

#[test]
fn servers_are_installed_and_their_password_is_changed_as_described() {
    let folder = tempfile::tempdir().expect("a folder");
    let configuration = blocks("docs/servers.md", "").swap_remove(0);
    let settings = configuration.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '));
    let settings: Vec<(&str, &str)> = settings.filter(|(name, _)| !["bind", "port"].contains(name)).collect();
    let start = |number: u8| {
        let users = folder.path().join(format!("users-{number}.acl"));
        fs::write(&users, "").expect("a file");
        let users = users.display().to_string();
        let options = settings.iter().flat_map(|&(name, value)| {
            [format!("--{name}"), if name == "aclfile" { users.clone() } else { value.to_owned() }]
        });
        let options: Vec<String> = options.collect();
        Server::start_with(&options.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let servers = Servers((1..=3).map(start).collect());
    servers.0.iter().for_each(|server| server.settle(LONGER_TTL));
    let kitchen = Kitchen::new(&servers, LONGER_TTL);
    let [install, file, add, take_away] = {
        let mut all = blocks("docs/servers.md", "sh");
        all.retain(|block| !block.contains("--redis NEW"));
        all.try_into().expect("four blocks")
    };
    let passwords = [("ADMIN", "for-admin"), ("PASSWORD", "old-secret"), ("NEW", "new-secret")];
    let on_each = |block: &str| {
        for server in &servers.0 {
            let port = server.port.to_string();
            let (status, said) = kitchen.run(block, &[&passwords[..], &[("NODE", &port)]].concat());
            assert!(status == 0 && said.lines().all(|line| line == "OK"), "{block}{said}");
        }
    };
    for line in [&install, &add, &take_away].into_iter().flat_map(|block| block.lines()) {
        let arguments = line.split_once("redis-cli ").map_or("", |(_, arguments)| arguments);
        assert!(!arguments.contains('$'), "ps shows the password: {line}");
    }
    on_each(&install);
    // On a busy host servers answer late, and nothing else is wrong with them.
    let is_well = |(status, said): (i32, String)| {
        let found = |line: &&str| ["note:", "risk:", "no vote:"].iter().any(|weight| line.starts_with(weight));
        let slow = said.lines().filter(found).all(|line| line.contains(" to answer; "));
        assert!(said.matches("  Redis ").count() == 3 && slow, "{status}: {said}");
    };
    is_well(kitchen.run(&file, &passwords));

    let list = kitchen.path("etc/leaderrun");
    let options = ["-t", "3s", "-r", "nightly", "--redis-file", list.to_str().expect("UTF-8")];
    let mut leader = Leaderrun::new().args(options).args(["-v", "sh", "-c", "echo up; exec sleep 1000"]).spawn();
    leader.says("up");
    on_each(&add);
    let new = fs::read_to_string(&list).expect("the file").replace("old-secret", "new-secret");
    fs::write(&list, new).expect("the file");
    on_each(&take_away);
    let url = |password: &str| format!("redis://leaderrun:{password}@127.0.0.1:{}", servers.0[0].port);
    let may = |password: &str| {
        Leaderrun::new().args(["-n", "-t", "3s", "-r", "other", "-R", &url(password), "true"]).output()
    };
    assert_eq!((may("old-secret").code(), may("new-secret").code()), (69, 0));
    // All connections are lost: the next ones sign in with the new password.
    for server in &servers.0 {
        let kill = "REDISCLI_AUTH=$ADMIN redis-cli --user admin CLIENT KILL TYPE normal SKIPME yes";
        assert_eq!(kitchen.run(kill, &[passwords[0], ("NODE", &server.port.to_string())]).0, 0);
    }
    let check = file.lines().last().expect("the check");
    is_well(kitchen.run(check, &[]));
    // A lease that was not extended since has ended.
    std::thread::sleep(LONGER_TTL);
    assert!(!leader.has_ended(), "{}", leader.stderr());
}
