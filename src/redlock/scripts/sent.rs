//! Scripts as they are sent: a server hashes the text of each call. Evaluated by the compiler.

/// Includes a script, after those whose functions it calls, without comments and indentation. Lines keep their numbers, which
/// servers name in errors.
macro_rules! script {
    ($($file:literal),+) => {{
        const TEXT: &str = concat!($(include_str!($file)),+);
        const SENT: ([u8; TEXT.len()], usize) = $crate::redlock::scripts::sent::without_comments(TEXT);
        // Lines are left out from their beginning to their end, so what is left is UTF-8.
        match std::str::from_utf8(SENT.0.split_at(SENT.1).0) {
            Ok(script) => script,
            Err(_) => TEXT,
        }
    }};
}
pub(super) use script;

/// Returns the script without comments and indentation, and its length. A comment has its line to itself.
pub(super) const fn without_comments<const N: usize>(script: &str) -> ([u8; N], usize) {
    let script = script.as_bytes();
    let (mut sent, mut length, mut at) = ([0; N], 0, 0);
    while at < script.len() {
        while at < script.len() && script[at] == b' ' {
            at += 1;
        }
        let is_comment = at + 1 < script.len() && script[at] == b'-' && script[at + 1] == b'-';
        while at < script.len() && script[at] != b'\n' {
            if !is_comment {
                sent[length] = script[at];
                length += 1;
            }
            at += 1;
        }
        if at < script.len() {
            sent[length] = b'\n';
            length += 1;
            at += 1;
        }
    }
    (sent, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_indentation_go_and_lines_keep_their_numbers() {
        const SCRIPT: &str = "-- Why.\nif x then\n  -- What.\n  y = 'a -- b'\nend\n";
        let (sent, length) = without_comments::<{ SCRIPT.len() }>(SCRIPT);
        assert_eq!(str::from_utf8(&sent[..length]), Ok("\nif x then\n\ny = 'a -- b'\nend\n"));
    }
}
