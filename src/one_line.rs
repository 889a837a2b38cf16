//! Texts that others choose (holders, notes, errors of servers, paths), made safe to print: they can't forge a line, move
//! the cursor, or change the order in which a line is read.

/// Returns the text with a question mark in place of each character that could.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if is_unsafe(c) { '?' } else { c }).collect()
}

/// Returns a JSON text with the escape sequence of each such character. A serializer escapes only those below U+0020 and
/// leaves, for one, U+009B, which begins control sequences as ESC [ does. Line feeds between values stay.
pub(crate) fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unsafe(c) && c != '\n' {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Whether a terminal or a reader may take it for more than a character: controls, separators of lines and paragraphs,
/// and what turns the direction of text (Unicode's Bidi_Control). All of them have four hexadecimal digits.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_breaks_a_line_or_moves_the_cursor() {
        assert_eq!(one_line("a\nb\x1b[2J\u{9b}2J\u{7f}\u{202e}c\u{2028}é"), "a?b?[2J?2J??c?é");
    }

    proptest! {
        #[test]
        fn json_means_the_same_when_escaped(text in any::<String>()) {
            let json = serde_json::to_string_pretty(&[&text, "\u{9b}\u{202e}"]).expect("JSON");
            let escaped = escape_json(&json);
            let read: Vec<String> = serde_json::from_str(&escaped).expect("JSON");
            prop_assert!(!escaped.chars().any(|c| is_unsafe(c) && c != '\n'));
            prop_assert_eq!(&read[0], &text);
        }
    }
}
