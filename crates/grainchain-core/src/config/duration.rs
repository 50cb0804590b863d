//! Durations as people write them.

use std::time::Duration;

use crate::error::{Error, Result};

/// Reads `90`, `1.5`, `90s`, `250ms`, `5m`, `2h` or `1d`; a bare number counts seconds.
///
/// # Errors
///
/// `Config` naming the text.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let wrong = || {
        Error::config(format!("`{text}` is not a duration"))
            .hint("write seconds or a number and a unit: 90, 250ms, 5m, 2h, 1d")
    };
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let factor = match unit.trim() {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * factor).map_err(|_| wrong())
}

/// Writes a duration with its largest whole unit: `90s`, `5m`, `1.5s`.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_nanos() != 0 {
        return format!("{duration:?}");
    }
    for (length, unit) in [(86_400, "d"), (3600, "h"), (60, "m")] {
        if seconds >= length && seconds.is_multiple_of(length) {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_unit() {
        for (text, milliseconds) in
            [("90", 90_000), ("1.5", 1500), ("250ms", 250), ("5m", 300_000), ("2 h", 7_200_000)]
        {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(milliseconds), "{text}");
        }
        for text in ["", "s", "-1", "5 weeks", "1e999", "NaN"] {
            assert!(parse_duration(text).unwrap_err().to_string().contains(&format!("`{text}`")));
        }
    }

    #[test]
    fn durations_are_written_shortly() {
        assert_eq!(format_duration(Duration::from_secs(300)), "5m");
        assert_eq!(format_duration(Duration::from_secs(90)), "90s");
        assert_eq!(format_duration(Duration::from_millis(1500)), "1.5s");
    }
}
