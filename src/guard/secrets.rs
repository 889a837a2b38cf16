//! Hides passwords from others: in the command line, which ps(1) shows, and in core dumps.

use nix::sys::prctl::set_dumpable;

use crate::sys::entry::edit_arguments;

/// Overwrites the passwords of URLs among our arguments, which have been read by then. Until then ps(1) shows them; only
/// `--redis-file` avoids that.
pub fn hide_passwords() {
    edit_arguments(hide_in_list);
}

/// Keeps our memory and environment from core dumps and from other processes of our user (prctl(2), PR_SET_DUMPABLE). exec resets
/// this.
pub fn seal_memory() {
    let _ = set_dumpable(false);
}

/// Hides the passwords of URLs between commas. What follows the URL of a Sentinel may still be part of it.
fn hide_in_list(list: &mut [u8]) {
    let mut behind_sentinels = false;
    for part in list.split_mut(|&b| b == b',') {
        behind_sentinels = find(part, b"-sentinel://").is_some() || behind_sentinels && find(part, b"://").is_none();
        hide_in_url(part, behind_sentinels);
    }
}

/// Returns where the text behind `part` begins.
fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|w| w == part).map(|at| at + part.len())
}

/// Hides the password of a URL. `goes_on`: `url` may be the continuation of a URL.
fn hide_in_url(url: &mut [u8], goes_on: bool) {
    let schemes = ["redis://", "rediss://", "redis-sentinel://", "rediss-sentinel://", "unix://"];
    let begins = schemes.iter().find_map(|scheme| find(url, scheme.as_bytes()));
    let Some(start) = begins.or(goes_on.then_some(0)) else { return };
    let rest = &mut url[start..];
    if let Some(at) = rest.iter().rposition(|&b| b == b'@') {
        rest[..at].fill(b'*');
    }
    if let Some(pass) = find(rest, b"pass=") {
        let end = rest[pass..].iter().position(|&b| b == b'&').map_or(rest.len(), |end| pass + end);
        rest[pass..end].fill(b'*');
    }
}

#[cfg(test)]
mod tests {
    use super::hide_in_list;

    #[test]
    fn what_stands_for_a_secret_is_overwritten_and_no_more() {
        for (url, hidden) in [
            ("redis://user:secret@host:1/2", "redis://***********@host:1/2"),
            ("--redis=rediss://:s@c@host", "--redis=rediss://****@host"),
            ("unix:///run/r?db=4&pass=secret&user=u", "unix:///run/r?db=4&pass=******&user=u"),
            ("redis-sentinel://:s@s1,s2/m?sentinel-pass=secret", "redis-sentinel://**@s1,s2/m?sentinel-pass=******"),
            ("redis://a:b@c,redis://d:e@f", "redis://***@c,redis://***@f"),
            ("redis://host", "redis://host"),
            ("mail@host", "mail@host"),
        ] {
            let mut bytes = url.as_bytes().to_vec();
            hide_in_list(&mut bytes);
            assert_eq!(String::from_utf8_lossy(&bytes), hidden);
        }
    }
}
