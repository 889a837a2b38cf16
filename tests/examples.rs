//! The files in examples/ do what they say: the image contains only the programs, systemd accepts the units, cron would
//! read the crontab, and the store refuses an older fencing token.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::support::{
    Apart, Leaderrun, NameServer, Running, Says, Server, Servers, children, eventually, example, quoted, unique,
};
use nix::sys::signal::Signal;
use tempfile::TempDir;

const TTL: Duration = Duration::from_secs(1);

fn path(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(of)
}

fn text(of: &str) -> String {
    fs::read_to_string(path(of)).expect("an example")
}

fn user_of_image() -> String {
    let dockerfile = text("docker/Dockerfile");
    let user = dockerfile.lines().find_map(|line| line.strip_prefix("USER ")).expect("a user");
    user.split(':').next().expect("its number").to_owned()
}

/// A container of the Dockerfile's image: only the files that it copies, and what every container gets besides.
struct Container {
    root: TempDir,
    entrypoint: Vec<String>,
}

impl Container {
    fn of_image(files: &[(&str, &Path)], name_server: &NameServer) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let dockerfile = text("docker/Dockerfile");
        let copies = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")?.split_once(' '));
        let put = |place: &str| {
            let inside = root.path().join(place.trim_start_matches('/'));
            fs::create_dir_all(inside.parent().expect("a folder")).expect("a folder");
            inside
        };
        for (name, place) in copies {
            let (_, file) = files.iter().find(|(file, _)| *file == name).expect("a file of the build's");
            fs::copy(file, put(place)).expect("a copy");
        }
        fs::write(put("etc/resolv.conf"), name_server.line()).expect("a file");
        for folder in ["proc", "dev", "log"] {
            fs::create_dir_all(root.path().join(folder)).expect("a folder");
        }
        let entrypoint = dockerfile.lines().find_map(|line| line.strip_prefix("ENTRYPOINT ")).expect("an entry point");
        Container { root, entrypoint: serde_json::from_str(entrypoint).expect("the form of exec") }
    }

    /// Runs leaderrun as PID 1 of its own namespace, with `command` after the entry point.
    fn run(&self, environment: &[(&str, &str)], command: &[&str]) -> Running {
        let mut run = Leaderrun::new();
        // An ordinary user who is root of a namespace of his own has no other in it.
        let inside = "mount -t proc proc \"$0/proc\" && user=$1 && shift && \
                      if chroot --userspec=$user / true 2>/dev/null; then exec chroot --userspec=$user \"$0\" \"$@\"; fi; \
                      exec chroot \"$0\" \"$@\"";
        let mut unshare = Command::new("unshare");
        unshare.args(["-pfm", "--kill-child", "sh", "-c", inside]).arg(self.root.path()).arg(user_of_image());
        unshare.args(&self.entrypoint).args(command).envs(environment.iter().copied());
        run.command = unshare;
        run.spawn()
    }
}

#[test]
fn in_an_image_from_scratch_it_resolves_names_leads_and_hands_over_as_pid_one() {
    let Some(_apart) = Apart::enter(in_an_image_from_scratch_it_resolves_names_leads_and_hands_over_as_pid_one) else {
        return;
    };
    let (servers, names) = (Servers::settled(3, TTL), NameServer::at("127.0.0.53"));
    (1..4).for_each(|n| names.set(&format!("redis-{n}.test"), Says::addresses("127.0.0.1")));
    let (leaderrun, witness) = (PathBuf::from(env!("CARGO_BIN_EXE_leaderrun")), example("witness"));
    let container = Container::of_image(&[("leaderrun", &leaderrun), ("consumer", &witness)], &names);
    let log = container.root.path().join("log/log");
    fs::write(&log, "").expect("a log");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).expect("a mode");
    fs::set_permissions(container.root.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    let urls: Vec<_> = servers.0.iter().zip(1..).map(|(s, n)| format!("redis://redis-{n}.test:{}", s.port)).collect();
    let urls = urls.join(",");
    let start = || {
        let environment = [("LEADERRUN_REDIS", urls.as_str()), ("LEADERRUN_TTL", "1s")];
        container.run(&environment, &["/app/consumer", "/log/log", "drain", "1"])
    };
    let lines = || fs::read_to_string(&log).expect("the log").lines().filter(|line| line.contains(" start ")).count();
    let first = start();
    eventually("the first one's start", || (lines() == 1).then_some(()));
    let second = start();
    servers.listened_to("consumer", 1);
    let pid_one = |running: &Running| eventually("PID 1", || children(running.pid()).first().copied());
    crate::support::signal(pid_one(&first), Signal::SIGTERM);
    let output = first.wait();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
    eventually("the second one's start", || (lines() == 2).then_some(()));
    crate::support::signal(pid_one(&second), Signal::SIGTERM);
    assert_eq!(second.wait().code(), 0);
}

/// Of 10, for a service that may do everything.
#[test]
fn the_units_can_do_little() {
    for unit in ["consumer.service", "nightly.service", "leaderrun-metrics.service"] {
        let analyze = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(path(&format!("systemd/{unit}")))
            .output()
            .expect("systemd-analyze (tests/run installs it)");
        let said = String::from_utf8_lossy(&analyze.stdout).into_owned();
        let (_, level) = said.rsplit_once(": ").unwrap_or_else(|| panic!("{unit}: {said}{analyze:?}"));
        let level: f64 = level.split_whitespace().next().and_then(|level| level.parse().ok()).expect("a number");
        assert!(level < 3.0, "{unit}: {said}");
    }
}

/// The profile that the standard for pods calls restricted, besides what is its default.
#[test]
fn the_pod_is_restricted_and_the_image_has_an_ordinary_user() {
    let pod = text("kubernetes/deployment.yaml");
    for line in [
        "runAsNonRoot: true",
        "seccompProfile: { type: RuntimeDefault }",
        "allowPrivilegeEscalation: false",
        "readOnlyRootFilesystem: true",
        "capabilities: { drop: [ALL] }",
        "automountServiceAccountToken: false",
    ] {
        assert_eq!(pod.lines().filter(|found| found.trim() == line).count(), 1, "{line}");
    }
    let user = user_of_image();
    assert!(pod.contains(&format!("runAsUser: {user}")) && user != "0");
}

/// The user of the composition's servers is the one of docs/servers.md, and is enough.
#[test]
fn the_composition_gives_its_servers_a_user_that_can_lead_and_no_other() {
    let composition = text("docker/compose.yaml").replace("${REDIS_PASSWORD:?choose one}", "secret");
    let users: Vec<_> = composition.lines().map(str::trim).filter(|line| line.starts_with("user ")).collect();
    let [default, ours] = users[..] else { panic!("two users: {users:?}") };
    assert_eq!(default, "user default off");
    let documented =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/servers.md")).expect("a document");
    let (_, documented) = documented.split_once("ACL SETUSER leaderrun on ").expect("the user");
    let (documented, _) = documented.split_once("\nredis-cli ").expect("its end");
    let rights =
        |text: &str| text.replace(['"', '\\'], "").split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
    let (_, granted) = ours.split_once("user leaderrun on >secret ").expect("the user");
    assert_eq!(rights(granted), rights(documented));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("users.acl");
    fs::write(&file, format!("user default on nopass ~* &* +@all\n{ours}\n")).expect("a file");
    let server = Server::start_with(&["--aclfile", file.to_str().expect("UTF-8")]);
    server.settle(TTL);
    let url = format!("redis://leaderrun:secret@127.0.0.1:{}", server.port);
    let output = Leaderrun::new().args(["-R", &url, "-r", "consumer", "-t", "1s", "echo", "led"]).output();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("led\n", ""));
}

/// Compose copies the contents of a config into a container, which Docker refuses for a read-only one. tests/long/docker
/// starts the composition.
#[test]
fn the_composition_copies_nothing_into_a_read_only_container() {
    let composition = text("docker/compose.yaml");
    let (_, consumer) = composition.split_once("\n  consumer:\n").expect("the consumer");
    let (consumer, _) = consumer.split_once("\nconfigs:\n").expect("its end");
    assert!(consumer.contains("read_only: true") && !consumer.contains("configs:"), "{consumer}");
}

#[test]
fn systemd_accepts_the_units() {
    let root = tempfile::tempdir().expect("a folder");
    let put = |place: &str| {
        let inside = root.path().join(place);
        fs::create_dir_all(inside.parent().expect("a folder")).expect("a folder");
        inside
    };
    for program in ["usr/bin/leaderrun", "opt/consumer", "opt/nightly.sh", "bin/sh"] {
        fs::copy(env!("CARGO_BIN_EXE_leaderrun"), put(program)).expect("a program");
    }
    // The system's units that they refer to.
    for unit in ["network-online.target", "multi-user.target", "timers.target", "sysinit.target", "basic.target"] {
        fs::write(put(&format!("usr/lib/systemd/system/{unit}")), "[Unit]\nDescription=x\n").expect("a unit");
    }
    let units = [
        "consumer.service",
        "nightly.service",
        "nightly.timer",
        "leaderrun@.service",
        "leaderrun-metrics.service",
        "leaderrun-metrics.timer",
    ];
    for unit in units {
        fs::copy(path(&format!("systemd/{unit}")), put(&format!("etc/systemd/system/{unit}"))).expect("a unit");
    }
    let verify = |unit: &str| {
        let verify = Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .arg(format!("--root={}", root.path().display()))
            .arg(unit)
            .output()
            .expect("systemd-analyze (tests/run installs it)");
        (verify.status.success(), String::from_utf8_lossy(&verify.stderr).into_owned())
    };
    for unit in units {
        let (good, said) = verify(unit);
        assert!(good && !said.contains(unit), "{unit}: {said}");
    }
    let broken = text("systemd/consumer.service").replace("KillMode=mixed", "KillMode=never");
    fs::write(put("etc/systemd/system/broken.service"), broken).expect("a unit");
    let (_, said) = verify("broken.service");
    assert!(said.contains("kill mode"), "a wrong line is found: {said}");
}

/// leaderrun accepts each command of the examples, except that some files are missing.
#[test]
fn leaderrun_accepts_the_command_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let urls = folder.path().join("urls");
    fs::write(&urls, "redis://127.0.0.1:1\n").expect("a file");
    let urls = urls.to_str().expect("a path");
    let mut lines: Vec<String> = Vec::new();
    for unit in ["systemd/consumer.service", "systemd/nightly.service", "systemd/leaderrun@.service"] {
        let text = text(unit).replace("%i", "web").replace("$COMMAND", "/opt/web");
        lines.extend(text.lines().filter_map(|line| line.strip_prefix("ExecStart=")).map(ToOwned::to_owned));
    }
    let crontab = text("crontab");
    for line in crontab.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.splitn(7, char::is_whitespace).collect();
        let [minute, hour, .., rest] = fields.as_slice() else { panic!("not a crontab's line: {line}") };
        assert!(minute.parse::<u8>().is_ok_and(|m| m < 60) && hour.parse::<u8>().is_ok_and(|h| h < 24), "{line}");
        let (user, command) = rest.trim_start().split_once("  ").expect("a user");
        assert_eq!(user, "root");
        lines.push(command.to_owned());
    }
    assert_eq!(lines.len(), 4);
    for line in lines {
        // What the shell makes of it, after cron and systemd.
        let line = line.strip_prefix("/bin/sh -c 'exec ").and_then(|line| line.strip_suffix('\'')).unwrap_or(&line);
        let line = line.replace(r#""$(date +\%F)""#, "2026-11-27").replace(r#""$(date +%%F)""#, "2026-11-27");
        assert!(!line.contains(['"', '$']), "{line}");
        let (options, command) = line.split_once(" -- ").expect("a command");
        let word = |word: &str| word.replace("%d/redis", urls).replace("/etc/leaderrun", urls);
        let options: Vec<String> = options.split_whitespace().skip(1).map(word).collect();
        // Instances that would wait must not.
        let at_once: &[&str] = if options.iter().any(|option| option == "-w") { &[] } else { &["-w", "0s"] };
        let options: Vec<&str> =
            options.iter().map(|option| if option == "5h" { "0s" } else { option.as_str() }).collect();
        let output = Leaderrun::new().args(&options).args(at_once).args(["--", "true"]).output();
        assert!(output.code() == 69 && command.starts_with("/opt/"), "{line}: {}", output.stderr);
    }
}

/// Whoever may compete chooses his name.
#[test]
fn a_holders_name_is_no_option_of_kubectl() {
    let folder = tempfile::tempdir().expect("a folder");
    let stub = |name: &str, line: &str| {
        let program = folder.path().join(name);
        fs::write(&program, format!("#!/bin/sh\n{line}\n")).expect("a program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    };
    stub("leaderrun", "echo now: x: web-1 leads; echo now: x: --all leads; echo now: x: nobody leads");
    stub("kubectl", "for word; do printf '[%s]' \"$word\"; done; echo");
    let variable = format!("{}:{}", folder.path().display(), std::env::var("PATH").expect("a PATH"));
    let mut script = Command::new("sh");
    script.arg(path("kubernetes/label-leader.sh")).args(["x", "app=x"]).env("PATH", variable);
    let output = script.output().expect("sh");
    let take = "[label][pods][--selector][app=x,leader=true][leader-]";
    let expected = ["[label][pods][--][web-1][leader=true]", "[label][pods][--][--all][leader=true]"];
    let expected = format!("{take}\n{}\n{take}\n{}\n{take}\n", expected[0], expected[1]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn the_unit_of_the_metrics_writes_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name).into_os_string().into_string().expect("UTF-8");
    fs::write(place("urls"), "redis://127.0.0.1:1\n").expect("a file");
    let unit = text("systemd/leaderrun-metrics.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/leaderrun ")).expect("a command");
    let words = line.split(' ').map(|word| {
        let word = word.replace("%d/redis", &place("urls"));
        word.replace("/var/lib/prometheus/node-exporter/leaderrun.prom", &place("leaderrun.prom"))
    });
    let output = Leaderrun::new().args(words).output();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
    assert!(fs::read_to_string(place("leaderrun.prom")).expect("a file").contains("\nleaderrun_known 0\n"));
}

fn store(folder: &Path, words: &[&str], token: u64) -> (bool, String) {
    let [action, key @ ..] = words else { panic!("an action") };
    let run = Command::new(path("fencing-token/store.sh"))
        .arg(action)
        .arg(folder)
        .args(key)
        .env("LEADERRUN_FENCING_TOKEN", token.to_string())
        .output()
        .expect("the store");
    let said = [run.stdout, run.stderr].concat();
    (run.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn the_store_accepts_increasing_tokens_and_refuses_older_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let put = |value: &str, token| store(folder.path(), &["put", "report", value], token);
    assert_eq!(put("first", 10), (true, String::new()));
    assert_eq!(put("second", 10), (true, String::new()));
    assert_eq!(put("third", 12), (true, String::new()));
    let (taken, said) = put("late", 11);
    assert!(!taken && said.contains("refused: token 11 is older than 12"), "{said}");
    assert_eq!(store(folder.path(), &["get", "report"], 0), (true, "third\n".into()));
}

/// A crash of the machine, or a disk that was full, may leave a file of tokens without one.
#[test]
fn the_store_refuses_to_write_where_it_cannot_compare() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(store(folder.path(), &["put", "report", "first"], 10).0);
    for damaged in ["", "\n", "x\n", "10 11\n", "-1\n", "99999999999999999999999\n"] {
        fs::write(folder.path().join(".token"), damaged).expect("a file");
        let (taken, said) = store(folder.path(), &["put", "report", "late"], 9);
        assert!(!taken && said.contains(".token is damaged"), "{damaged:?}: {said}");
        assert_eq!(store(folder.path(), &["get", "report"], 0), (true, "first\n".into()));
    }
    assert!(!store(folder.path(), &["put", "other", "x"], u64::MAX).0, "no token of leaderrun's");
}

/// leaderrun's two processes and the command are stopped together, which no lock can prevent (README says so); then the
/// old command alone continues. The store keeps what the new leader wrote.
#[test]
fn a_paused_old_leader_cannot_overwrite_what_its_successor_wrote() {
    let servers = Servers::settled(3, TTL);
    let (resource, folder, go) =
        (unique("paused"), tempfile::tempdir().expect("a folder"), TempDir::new().expect("a folder"));
    let (program, go) = (path("fencing-token/store.sh"), go.path().join("go"));
    let write = |value: &str| format!("{} put {} report {value}", quoted(&program), quoted(folder.path()));
    let line = format!("echo up; until [ -e {} ]; do sleep 0.01; done; {}; echo wrote $?", quoted(&go), write("old"));
    let mut old = Leaderrun::on(&servers, &resource, TTL).shell(&line);
    old.says("up");
    let guard = old.guard();
    let command = eventually("the command", || children(guard).first().copied());
    [old.pid(), guard, command].into_iter().for_each(|pid| crate::support::signal(pid, Signal::SIGSTOP));
    let new = Leaderrun::on(&servers, &resource, TTL).args(["sh", "-c", &write("new")]).output();
    assert_eq!((new.code(), new.stderr.as_str()), (0, ""));
    fs::write(&go, "").expect("a file");
    crate::support::signal(command, Signal::SIGCONT);
    old.says("wrote 1");
    assert!(old.stderr().contains("store.sh: refused: token "), "{}", old.stderr());
    assert_eq!(store(folder.path(), &["get", "report"], 0).1, "new\n");
    [guard, old.pid()].into_iter().for_each(|pid| crate::support::signal(pid, Signal::SIGCONT));
    assert_eq!(old.wait().code(), 76);
}
