//! All that a leader does on a node, on a lock that nobody competes for.

use redis::Cmd;

use super::{scripts::Audience, session::LockSession};
use crate::{lease::Times, lock::ReleaseOptions};

/// Each command that the scripts run, with the name of the right to it. The keys are gone after the last one.
pub fn commands(lock: &str) -> [(&'static str, Cmd); 10] {
    let cmd = |words: &[&str]| {
        let mut cmd = redis::cmd(words[0]);
        cmd.arg(&words[1..]);
        cmd
    };
    [
        ("EVAL", cmd(&["EVAL", "return 0", "0"])),
        ("INFO", cmd(&["INFO", "server"])),
        ("TIME", cmd(&["TIME"])),
        ("SET", cmd(&["SET", lock, "check", "PX", "1000"])),
        ("GET", cmd(&["GET", lock])),
        ("PTTL", cmd(&["PTTL", lock])),
        ("PEXPIRE", cmd(&["PEXPIRE", lock, "1000"])),
        ("EXPIRE", cmd(&["EXPIRE", lock, "1"])),
        ("PUBLISH", cmd(&["PUBLISH", lock, "check"])),
        ("DEL", cmd(&["DEL", lock])),
    ]
}

/// A short leadership: acquired, extended, released; and the fence, which would stay, deleted.
pub fn leadership(session: &LockSession, times: &Times) -> [Cmd; 4] {
    session.next_token(crate::clock::wall_micros());
    let mut delete = redis::cmd("DEL");
    delete.arg(format!("{}:fence", session.channel()));
    [
        session.acquisition(times, false, None),
        session.extension(times, None),
        session.release(Audience::Nobody, ReleaseOptions::default()),
        delete,
    ]
}
