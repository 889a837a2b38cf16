//! `--redis-file`: read again for each connection, so that a password can be changed under a running leader.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::support::{Leaderrun, Running, Server, Servers, Witnesses, eventually, unique};
use tempfile::TempDir;

const TTL: Duration = Duration::from_secs(1);

fn write(file: &Path, text: &str, mode: u32) {
    fs::write(file, text).expect("a written file");
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("a mode");
}

/// Returns a URL for each server, with this password.
fn urls(servers: &Servers, password: &str) -> String {
    let url = |server: &Server| format!("redis://job:{password}@127.0.0.1:{}\n", server.port);
    format!("# the nodes\n\n{}", servers.0.iter().map(url).collect::<String>())
}

fn set_password(server: &Server, password: &str) {
    let password = format!(">{password}");
    server.query::<()>(&["ACL", "SETUSER", "job", "reset", "on", &password, "~*", "&*", "+@all"]);
}

/// A leader on one server, whose URL with the password is in a file.
struct Led {
    servers: Servers,
    file: PathBuf,
    _folder: TempDir,
    witnesses: Witnesses,
    leader: Running,
}

impl Led {
    fn with_password(password: &str) -> Self {
        let servers = Servers::settled(1, TTL);
        set_password(&servers.0[0], password);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("urls");
        write(&file, &urls(&servers, password), 0o600);
        let (resource, witnesses) = (unique("led"), Witnesses::new());
        let options = ["-t", "1s", "-r", &resource, "--redis-file", file.to_str().expect("UTF-8")];
        let leader = Leaderrun::new().args(options).args(witnesses.command(&["drain", "1"])).spawn();
        witnesses.started(1);
        Led { servers, file, _folder: folder, witnesses, leader }
    }

    /// Breaks its connection, and checks that it still leads after its lease would have run out.
    fn outlasts_its_connection(&self) {
        self.servers.0[0].query::<u32>(&["CLIENT", "KILL", "TYPE", "normal"]);
        let began = std::time::Instant::now();
        eventually("a ttl and a half", || (began.elapsed() > TTL * 3 / 2).then_some(()));
        self.witnesses.ticks_on();
    }

    fn ends_well(self) {
        assert_eq!(self.witnesses.all().len(), 1, "{}", self.leader.stderr());
        self.witnesses.stop_last();
        assert_eq!(self.leader.wait().code(), 0);
    }
}

#[test]
fn a_leader_keeps_its_lead_while_its_password_is_rotated() {
    let servers = Servers::settled(3, TTL);
    servers.0.iter().for_each(|server| set_password(server, "old"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("urls");
    write(&file, &urls(&servers, "old"), 0o600);
    let (resource, witnesses) = (unique("rotated"), Witnesses::new());
    let start = || {
        let options = ["-t", "1s", "-r", &resource, "--redis-file", file.to_str().expect("UTF-8")];
        Leaderrun::new().args(options).args(witnesses.command(&["drain", "1"])).spawn()
    };
    let leader = start();
    witnesses.started(1);
    let standby = start();
    servers.listened_to(&resource, 1);
    write(&file, &urls(&servers, "new"), 0o600);
    for server in &servers.0 {
        set_password(server, "new");
        for kind in ["normal", "pubsub"] {
            server.query::<u32>(&["CLIENT", "KILL", "TYPE", kind]);
        }
    }
    let rotated = std::time::Instant::now();
    eventually("three ttl", || (rotated.elapsed() > 3 * TTL).then_some(()));
    witnesses.ticks_on();
    assert_eq!(witnesses.all().len(), 1, "{}", leader.stderr());
    witnesses.stop_last();
    let output = leader.wait();
    assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
    witnesses.started(2);
    witnesses.stop_last();
    assert_eq!(standby.wait().code(), 0);
    witnesses.check();
}

#[test]
fn a_missing_or_half_written_file_changes_nothing() {
    let led = Led::with_password("secret");
    for text in ["", "redis://job:sec", "redis://127.0.0.1:1\n"] {
        write(&led.file, text, 0o600);
        led.outlasts_its_connection();
    }
    led.ends_well();
}

#[test]
fn a_missing_file_leaves_the_password_that_it_had_last() {
    let led = Led::with_password("old");
    write(&led.file, &urls(&led.servers, "new"), 0o600);
    set_password(&led.servers.0[0], "new");
    for _ in ["read again", "gone"] {
        led.outlasts_its_connection();
        let _ = fs::remove_file(&led.file);
    }
    led.ends_well();
}

#[test]
fn only_passwords_that_others_can_read_cause_a_warning() {
    let servers = Servers::settled(1, TTL);
    set_password(&servers.0[0], "secret");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("urls");
    let path = file.to_str().expect("UTF-8").to_owned();
    let open = format!("redis://127.0.0.1:{}\n", servers.0[0].port);
    for (text, mode, warned) in
        [(urls(&servers, "secret"), 0o644, true), (urls(&servers, "secret"), 0o600, false), (open, 0o644, false)]
    {
        write(&file, &text, mode);
        let options = ["-n", "-t", "1s", "-r", &unique("warned"), "--redis-file", &path, "true"];
        let output = Leaderrun::new().args(options).output();
        assert_eq!(output.code(), 0, "{}", output.stderr);
        let warning = format!("warning: others can read the passwords in {path}; chmod 600 {path}\n");
        assert_eq!(output.stderr.ends_with(&warning), warned, "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), usize::from(warned), "{}", output.stderr);
        assert!(!output.stderr.contains("secret"), "{}", output.stderr);
    }
}

#[test]
fn a_file_that_another_user_can_change_causes_a_warning() {
    let servers = Servers::settled(1, TTL);
    let folder = tempfile::tempdir().expect("a folder");
    let part = folder.path().join("part");
    fs::create_dir(&part).expect("a folder");
    let file = part.join("urls");
    write(&file, &servers.0[0].url(), 0o644);
    let warnings = || {
        let options =
            ["-n", "-t", "1s", "-r", &unique("changed"), "--redis-file", file.to_str().expect("UTF-8"), "true"];
        let output = Leaderrun::new().args(options).output();
        assert_eq!(output.code(), 0, "{}", output.stderr);
        output.stderr
    };
    let warns_of = |part: &Path| {
        let said = warnings();
        let expected = format!("warning: another user can change {}, and so what --redis-file says\n", part.display());
        assert!(said.ends_with(&expected) && said.lines().count() == 1, "{said}");
    };
    assert_eq!(warnings(), "");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("a mode");
    warns_of(&file);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("a mode");
    fs::set_permissions(&part, fs::Permissions::from_mode(0o775)).expect("a mode");
    warns_of(&part);
    if crate::support::may_become_others() {
        fs::set_permissions(&part, fs::Permissions::from_mode(0o755)).expect("a mode");
        std::os::unix::fs::chown(&part, Some(65534), None).expect("another owner");
        warns_of(&part);
    }
}

#[test]
fn a_list_or_a_comment_on_the_line_of_a_server_is_refused_with_what_a_line_may_have() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("urls");
    for line in ["a,b", "redis://a,redis://b", "a # ours", "redis://a # ours", "redis://:secret@a # ours"] {
        write(&file, &format!("# nodes\n{line}\n"), 0o600);
        let output = Leaderrun::new().args(["-r", "x", "--redis-file"]).args([&file]).args(["true"]).output();
        assert_eq!(output.code(), 64, "{line}: {}", output.stderr);
        let advice = "write one server on each line, as redis://[user:password@]host[:port][/database], and comments on their own";
        assert!(output.stderr.contains(advice) && !output.stderr.contains("secret"), "{line}: {}", output.stderr);
    }
}

#[test]
fn an_edit_of_the_database_moves_no_leader_to_another_lock() {
    let led = Led::with_password("secret");
    write(&led.file, &urls(&led.servers, "secret").replace("\n", "/1\n"), 0o600);
    led.outlasts_its_connection();
    let kept: String = led.servers.0[0].query(&["INFO", "keyspace"]);
    assert!(kept.contains("db0:") && !kept.contains("db1:"), "{kept}");
    led.ends_well();
}
