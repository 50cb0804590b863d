//! JSON that is also safe to look at.

use std::fmt::Write;

use serde::Serialize;

use super::text::is_dangerous;

/// `value` in one line. JSON allows characters above the ASCII ones in strings as they are, and some of those a terminal obeys:
/// they are escaped as well.
pub(crate) fn to_json(value: &impl Serialize) -> grainchain::Result<String> {
    let json = serde_json::to_string(value).map_err(|error| {
        grainchain::Error::unexpected("the result cannot be written as JSON").caused_by(error)
    })?;
    if !json.chars().any(is_dangerous) {
        return Ok(json);
    }
    let mut safe = String::with_capacity(json.len() + 8);
    for character in json.chars() {
        if is_dangerous(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                // Writing to a string cannot fail.
                write!(safe, "\\u{unit:04x}").unwrap_or_default();
            }
        } else {
            safe.push(character);
        }
    }
    Ok(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_character_is_escaped_and_comes_back() {
        let text = "a\x1b[2J\u{9b}2J\u{7f}\u{202e}\u{e0041}é";
        let json = to_json(&text).unwrap();
        assert!(!json.chars().any(is_dangerous), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
