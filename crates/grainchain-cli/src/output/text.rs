//! Strings of strangers, made safe to look at.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether printing `character` can do more than show itself: move the cursor, retitle a window, turn the line around or hide.
pub(super) fn is_dangerous(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{061c}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `text` on one line, with everything that a terminal would obey written out: `\n`, `\x1b`, `\u{202e}`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escape(text, is_dangerous)
}

/// As [`visible`], but line ends and tabs stay what they are.
pub(crate) fn visible_lines(text: &str) -> Cow<'_, str> {
    escape(text, |character| !matches!(character, '\n' | '\t') && is_dangerous(character))
}

fn escape(text: &str, dangerous: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&dangerous) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            safe if !dangerous(safe) => shown.push(safe),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            // Writing to a string cannot fail.
            low if (low as u32) < 0x100 => write!(shown, "\\x{:02x}", low as u32).unwrap_or_default(),
            high => write!(shown, "\\u{{{:x}}}", high as u32).unwrap_or_default(),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        for (text, shown) in [
            ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
            ("a\u{9b}2Jb", "a\\x9b2Jb"),
            ("x\u{202e}gpj.exe", "x\\u{202e}gpj.exe"),
            ("two\nlines\r", "two\\nlines\\r"),
            ("\u{7f}\0", "\\x7f\\x00"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn ordinary_text_of_any_language_stays() {
        for text in ["naïve.txt", "日本語", "a b\\n", "émoji 🙂"] {
            assert_eq!(visible(text), text);
        }
    }

    #[test]
    fn lines_stay_lines_but_escapes_do_not_stay_escapes() {
        assert_eq!(visible_lines("a\n\tb\x1b[2J"), "a\n\tb\\x1b[2J");
    }
}
