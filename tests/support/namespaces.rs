//! Namespaces for the tests, as root or as an ordinary user.

use std::process::{Command, Stdio};

use nix::unistd::geteuid;

/// unshare(1) with these options and a shell's line that is run first; a command may follow. `None`, said on stdout, where
/// the machine doesn't let this user do that.
pub fn unshare(options: &[&str], first: &str) -> Option<Vec<String>> {
    // An ordinary user has the rights in a user namespace of his own, as root of that.
    let user: &[&str] = if geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let line = format!("{first} && exec \"$@\"");
    let shell = ["--", "sh", "-c", &line, "sh"];
    let words: Vec<String> = [&["unshare"], user, options, &shell].concat().into_iter().map(Into::into).collect();
    let tried = Command::new(&words[0]).args(&words[1..]).arg("true").stderr(Stdio::null()).status();
    if !tried.expect("unshare (tests/run installs it)").success() {
        println!("not tried: this machine refuses this user {}", words.join(" "));
        return None;
    }
    Some(words)
}
