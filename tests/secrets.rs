//! A marked password appears only where it was given: not in messages, the arguments that `ps` shows, the command's
//! environment, a core dump, or the data on the servers.

use std::{ffi::OsString, fs, process::Command};

use crate::support::{Group, Leaderrun, Mode, Proxy, Server, Servers, Tree, as_ordinary_user, children, unique};

const MARKED: &str = "mArK3dSecr3t";

/// The user that root switches to.
const USER: &str = "65534";

/// The ways to give the servers.
#[derive(Clone, Copy, Debug)]
enum Given {
    Option,
    Before,
    Environment,
    File,
}

fn run(given: Given, url: &str, folder: &std::path::Path) -> Leaderrun {
    let run = Leaderrun::new().args(["-vv", "-t", "1s"]);
    match given {
        Given::Option => run.args(["-R", url]),
        Given::Before => run.args(["-R", url, "--redis-before", url]),
        Given::Environment => run.env("LEADERRUN_REDIS", url),
        Given::File => {
            let file = folder.join("urls");
            fs::write(&file, format!("# {MARKED}\n{url}\n")).expect("a file");
            fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
            run.args([std::ffi::OsStr::new("--redis-file"), file.as_os_str()])
        }
    }
}

fn is_clean(what: &str, text: &str) {
    assert!(!text.contains(MARKED), "{what} shows the password: {text}");
}

#[test]
fn while_it_leads() {
    let server = Server::start_with(&["--requirepass", MARKED]);
    let url = format!("redis://:{MARKED}@127.0.0.1:{}", server.port);
    let mut connection = redis::Client::open(url.as_str()).and_then(|c| c.get_connection()).expect("a connection");
    let folder = tempfile::tempdir().expect("a folder");
    for given in [Given::Option, Given::Before, Given::Environment, Given::File] {
        let resource = unique("marked");
        let tree = Tree::of(&resource);
        let options = ["--once-per", "60s", "-r", &resource, "--log-format", "json"];
        let leader = run(given, &url, folder.path()).args(options).shell("env; cat /proc/$$/environ; sleep 100");
        let command = tree.grows_to(2)[0];
        for pid in [leader.pid(), leader.guard(), command].into_iter().chain(children(leader.guard())) {
            let line = fs::read(format!("/proc/{pid}/cmdline")).expect("its arguments");
            is_clean(&format!("{given:?}: ps"), &String::from_utf8_lossy(&line));
        }
        let environ = fs::read(format!("/proc/{command}/environ")).expect("its environment");
        is_clean(&format!("{given:?}: the command's environment"), &String::from_utf8_lossy(&environ));
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).expect("keys");
        for key in keys {
            // A key of another type has runs.
            let value: redis::RedisResult<String> = redis::cmd("GET").arg(&key).query(&mut connection);
            let mut runs = || redis::cmd("ZRANGE").arg(&key).arg(0).arg(-1).query(&mut connection).expect("runs");
            let values: Vec<String> = value.map_or_else(|_| runs(), |value| vec![value]);
            is_clean("the server", &format!("{key} {values:?}"));
        }
        leader.signal(nix::sys::signal::Signal::SIGTERM);
        let output = leader.wait();
        is_clean(&format!("{given:?}: stdout"), &output.stdout);
        is_clean(&format!("{given:?}: a message"), &output.stderr);
        assert!(output.stderr.contains("leads with fencing token"), "{}", output.stderr);
    }
}

/// One flag of prctl(2), PR_SET_DUMPABLE, allows core dumps and makes a process's memory readable for its user.
#[test]
fn no_core_dump_and_no_other_process_of_the_user_has_it() {
    let server = Server::start_with(&["--requirepass", MARKED]);
    let url = format!("redis://:{MARKED}@127.0.0.1:{}", server.port);
    let resource = unique("sealed");
    let tree = Tree::of(&resource);
    let run = Leaderrun::new();
    let words = as_ordinary_user(USER).into_iter().chain([run.copy_for_all_users().into()]).collect();
    let leader = run.through(words).args(["-t", "1s", "-r", &resource]).env("LEADERRUN_REDIS", &url);
    let leader = leader.args(["--", "sleep", "1000"]).spawn();
    let command = tree.grows_to(1)[0];
    let opens = |pid: i32, file: &str| {
        let open = ["sh".into(), "-c".into(), format!("exec 3<'/proc/{pid}/{file}'").into()];
        let words: Vec<OsString> = as_ordinary_user(USER).into_iter().chain(open).collect();
        Command::new(&words[0]).args(&words[1..]).output().expect("sh").status.success()
    };
    for file in ["environ", "mem", "maps"] {
        assert!(opens(command, file), "the command is like any other: {file}");
        assert!(!opens(leader.pid(), file), "the elector's {file} can be read");
        assert!(!opens(leader.guard(), file), "the guard's {file} can be read");
    }
    leader.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(leader.wait().code(), 143);
}

/// The command has no descriptor of ours, such as a connection that is signed in.
#[test]
fn the_command_has_no_descriptor_of_ours() {
    let servers = Servers(vec![Server::start_with(&["--requirepass", MARKED])]);
    let url = servers.urls().replace("://", &format!("://:{MARKED}@"));
    let list = ["sh", "-c", "ls -l /proc/self/fd | grep -v ' /proc/' | sed 's/.* //'"];
    let leader = Leaderrun::new().args(["-t", "1s", "-r", &unique("descriptors"), "-R", &url]).args(list).output();
    let without = Command::new("sh").args(&list[1..]).stdin(std::process::Stdio::null()).output().expect("a shell");
    assert_eq!(leader.stdout.lines().count(), String::from_utf8_lossy(&without.stdout).lines().count());
    assert!(!leader.stdout.contains("socket:") && !leader.stdout.contains("anon_inode:"), "{}", leader.stdout);
}

/// It starts over with its arguments.
#[test]
fn after_rejoining() {
    let server = Server::start_with(&["--requirepass", MARKED]);
    let url = format!("redis://:{MARKED}@127.0.0.1:{}", server.port);
    let run = Leaderrun::new().args(["--rejoin", "-t", "1s", "-r", &unique("rejoins"), "-R", &url]);
    let mut leader = run.shell("echo up; exec sleep 1000");
    leader.says("up");
    server.freeze();
    leader.reports("lost the lease");
    server.thaw();
    leader.says("up\nup\n");
    for pid in [leader.pid(), leader.guard()] {
        let line = fs::read(format!("/proc/{pid}/cmdline")).expect("its arguments");
        is_clean("ps", &String::from_utf8_lossy(&line));
    }
    is_clean("a message", &leader.stderr());
}

#[test]
fn when_it_checks() {
    let servers = Servers((0..3).map(|_| Server::start_with(&["--requirepass", MARKED])).collect());
    let with = |password: &str| servers.urls().replace("://", &format!("://:{password}@"));
    for (urls, json) in [(with(MARKED), true), (with(MARKED), false), (with("another"), true), (servers.urls(), false)]
    {
        let options: &[&str] = if json { &["--json"] } else { &[] };
        let output = Leaderrun::new().args(["--check", "-t", "1s", "-R", &urls]).args(options).output();
        assert!([1, 69].contains(&output.code()), "{}", output.stderr);
        is_clean("--check", &output.stdout);
        is_clean("--check", &output.stderr);
    }
}

#[test]
fn behind_sentinels() {
    let group = Group::settled(std::time::Duration::from_secs(1));
    let url =
        group.url().replace("://", &format!("://user:{MARKED}@")) + &format!("?sentinel-user=u&sentinel-pass={MARKED}");
    let folder = tempfile::tempdir().expect("a folder");
    for given in [Given::Option, Given::Before, Given::Environment, Given::File] {
        for options in [&["-n", "-r", "x", "true"][..], &["--check"]] {
            let output = run(given, &url, folder.path()).args(options).output();
            assert_eq!(output.code(), 69, "{given:?}: {}", output.stderr);
            is_clean(&format!("{given:?}: stdout"), &output.stdout);
            is_clean(&format!("{given:?}: a message"), &output.stderr);
        }
    }
}

#[test]
fn whatever_goes_wrong() {
    let server = Server::start_with(&["--requirepass", "another"]);
    let proxies: Vec<Proxy> = [Mode::Garbage, Mode::Half, Mode::Silent, Mode::Refuse, Mode::Resetting(2)]
        .into_iter()
        .map(|mode| {
            let proxy = Proxy::new(server.port, 1);
            proxy.set(mode);
            proxy
        })
        .collect();
    let with = |url: &str| url.replace("://", &format!("://user:{MARKED}@"));
    let mut urls: Vec<String> = proxies.iter().map(|proxy| with(&proxy.url)).collect();
    urls.extend([
        with(&server.url()),
        with(&server.url()).replace("redis://", "rediss://"),
        format!("redis://user:{MARKED}@no.such.host.invalid:6379"),
        format!("redis://user:{MARKED}@127.0.0.1:1/{MARKED}"),
        format!("redis://user:{MARKED}@127.0.0.1:99999"),
        format!("http://user:{MARKED}@127.0.0.1"),
        format!("{MARKED}@127.0.0.1"),
        format!("redis://{MARKED}/x:y@z"),
        format!("rediss://u:{MARKED}@h#insecure"),
    ]);
    let folder = tempfile::tempdir().expect("a folder");
    for url in urls {
        for given in [Given::Option, Given::Before, Given::Environment, Given::File] {
            let output = run(given, &url, folder.path()).args(["-n", "-r", &unique("wrong"), "true"]).output();
            assert!([64, 69].contains(&output.code()), "{given:?}, {url}: {}", output.stderr);
            is_clean(&format!("{given:?}, {url}: a message"), &output.stderr);
        }
    }
}

/// Where an option takes something else, or where the command begins.
#[test]
fn a_url_in_the_wrong_place() {
    let url = format!("redis://:{MARKED}@host");
    let option = |option: &str| format!("{option}={url}");
    let local = ["--local", "-r", "x", "true"].map(ToOwned::to_owned);
    let tls = ["-R", "rediss://host", "-r", "x", "true"].map(ToOwned::to_owned);
    let list = ["--local", "--list"].map(ToOwned::to_owned);
    for (wrong, rest) in [
        (option("--redis-file"), &tls[2..]),
        (option("--tls-ca"), &tls),
        (option("--tls-cert"), &tls),
        (option("--ttl"), &local),
        (option("--signal"), &local),
        (option("--log-format"), &local),
        (option("--slots"), &local),
        (option("--local"), &tls[2..]),
        (option("--redsi"), &local),
        (format!("--{url}"), &local),
        (option("--openmetrics"), &list),
    ] {
        let output = Leaderrun::new().args([&wrong]).args(rest).output();
        assert!([64, 74].contains(&output.code()), "{wrong}: {}", output.stderr);
        is_clean(&wrong, &output.stderr);
    }
    for variable in ["LEADERRUN_TTL", "LEADERRUN_SLOTS", "LEADERRUN_LOCAL"] {
        let output = Leaderrun::new().env(variable, &url).args(&local[1..]).output();
        assert_eq!(output.code(), 64, "{variable}: {}", output.stderr);
        is_clean(variable, &output.stderr);
    }
    let output = Leaderrun::new().args(["--local", "-r", "x", &url]).output();
    assert_eq!(output.code(), 127, "{}", output.stderr);
    is_clean("a command", &output.stderr);
}

/// A spelling that the library understands, and that could not be hidden.
#[test]
fn a_password_that_ps_would_show_is_refused() {
    let server = Server::start_with(&["--requirepass", MARKED]);
    let socket = server.socket().display().to_string();
    for url in [format!("unix:{socket}?pass={MARKED}"), format!("unix://{socket}?p%61ss={MARKED}")] {
        let output = Leaderrun::new().args(["-R", &url, "-r", "x", "-t", "1s", "true"]).output();
        assert_eq!(output.code(), 64, "{}", output.stderr);
        assert!(output.stderr.contains("ps would show its password"), "{}", output.stderr);
        is_clean("a message", &output.stderr);
    }
}
