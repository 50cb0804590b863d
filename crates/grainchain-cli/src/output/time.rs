//! Points in time as people read them.

use std::time::{Duration, SystemTime};

/// How long ago `then` was: `45s`, `12m`, `3h`, `2d`.
pub(crate) fn age(then: Option<SystemTime>, now: SystemTime) -> String {
    match then {
        Some(then) => short(now.duration_since(then).unwrap_or_default()),
        None => "-".to_owned(),
    }
}

/// When something ends: `in 55m`, `never`, `over`.
pub(crate) fn expiry(at: Option<SystemTime>, now: SystemTime) -> String {
    match at.map(|at| at.duration_since(now)) {
        None => "never".to_owned(),
        Some(Ok(left)) => format!("in {}", short(left)),
        Some(Err(_)) => "over".to_owned(),
    }
}

/// A point in time to the second, in UTC.
pub(crate) fn stamp(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map_or_else(|_| "out of range".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_ends_are_short_words() {
        let now = SystemTime::now();
        assert_eq!(age(Some(now - Duration::from_secs(119)), now), "119s");
        assert_eq!(age(Some(now - Duration::from_secs(7199)), now), "119m");
        assert_eq!(age(None, now), "-");
        assert_eq!(expiry(Some(now + Duration::from_secs(7200)), now), "in 2h");
        assert_eq!(expiry(Some(now - Duration::from_secs(1)), now), "over");
        assert_eq!(expiry(None, now), "never");
        assert_eq!(stamp(SystemTime::UNIX_EPOCH), "1970-01-01 00:00:00 UTC");
    }
}
