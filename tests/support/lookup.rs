//! Checks whether leaderrun finds a server by its name.

use super::{Leaderrun, Output};

/// Looks who leads on a server, which needs its address and a reply.
pub fn look(run: Leaderrun, host: &str, port: u16) -> Output {
    run.args(["--status", "-r", "names", "-R", &format!("redis://{host}:{port}")]).output()
}

/// Checks that the name leads to the server.
pub fn is_found(host: &str, port: u16) {
    is_found_by(Leaderrun::new(), host, port);
}

pub fn is_found_by(run: Leaderrun, host: &str, port: u16) {
    let output = look(run, host, port);
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(output.code() == 1 && output.stdout.starts_with("names: nobody leads\n"), "{host}: {output:?}: {said}");
}

/// Checks that the name leads nowhere: an instance that doesn't wait says so and ends.
pub fn is_not_resolved(host: &str) {
    let url = format!("redis://{host}");
    let output = Leaderrun::new().args(["-n", "-r", "names", "-R", &url, "true"]).output();
    let told = output.stderr.contains(host) && output.stderr.contains("can't be resolved");
    assert!(output.code() == 69 && told, "{host}: {output:?}");
}
