//! What would show our passwords to others: the command line, by ps(1), and core dumps.

use anyhow::{Context, Result};
use nix::sys::prctl::set_dumpable;

use crate::{server_url, sys::entry::edit_arguments};

/// Overwrites the passwords of URLs among our arguments, which have been read by then. ps(1) shows them until this is
/// called; `--redis-file` avoids that.
pub(crate) fn hide_passwords() {
    edit_arguments(hide_in_argument);
}

/// Keeps our memory out of core dumps, and both that and our environment from other processes of our user (prctl(2),
/// PR_SET_DUMPABLE). An exec resets this.
///
/// # Errors
/// The system refuses that, as a container's profile may.
pub(crate) fn seal_memory() -> Result<()> {
    set_dumpable(false).context("can't keep our memory from other processes (prctl(2) with PR_SET_DUMPABLE is needed)")
}

fn hide_in_argument(argument: &mut [u8]) {
    // One character for each byte, so that the ranges fit both.
    let text: String = argument.iter().map(|&byte| if byte.is_ascii() { char::from(byte) } else { 'x' }).collect();
    for secret in server_url::secrets(&text) {
        argument[secret].fill(b'*');
    }
}

#[cfg(test)]
mod tests {
    use super::hide_in_argument;

    #[test]
    fn only_secrets_are_overwritten() {
        for (url, hidden) in [
            ("redis://user:secret@host:1/2", "redis://***********@host:1/2"),
            ("--redis=rediss://:s@c@host", "--redis=rediss://****@host"),
            ("unix:///run/r?db=4&pass=secret&user=u", "unix:///run/r?db=4&pass=******&user=u"),
            ("redis-sentinel://:s@s1,s2/m?sentinel-pass=secret", "redis-sentinel://**@s1,s2/m?sentinel-pass=******"),
            ("redis://a:b@c,redis://d:e@f", "redis://***@c,redis://***@f"),
            ("redis-sentinel://s1/m?sentinel-pass=s@cret", "redis-sentinel://*************************"),
            ("redis://u:\u{e4}@host", "redis://****@host"),
            ("redis://host", "redis://host"),
            ("mail@host", "mail@host"),
        ] {
            let mut bytes = url.as_bytes().to_vec();
            hide_in_argument(&mut bytes);
            assert_eq!(String::from_utf8_lossy(&bytes), hidden);
        }
    }
}
