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
        // Rounded up: what was given an hour a moment ago ends in an hour.
        Some(Ok(left)) => format!("in {}", short(round_up(left))),
        Some(Err(_)) => "over".to_owned(),
    }
}

/// A point in time to the second, in UTC.
pub(crate) fn stamp(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map_or_else(|_| "out of range".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

fn round_up(left: Duration) -> Duration {
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    let unit = match seconds {
        0..=119 => 1,
        120..=7200 => 60,
        7201..=172_800 => 3600,
        _ => 86_400,
    };
    Duration::from_secs(seconds.div_ceil(unit) * unit)
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
        assert_eq!(expiry(Some(now + Duration::from_millis(3_599_900)), now), "in 60m");
        assert_eq!(expiry(Some(now + Duration::from_millis(59_100)), now), "in 60s");
        assert_eq!(expiry(Some(now - Duration::from_secs(1)), now), "over");
        assert_eq!(expiry(None, now), "never");
        assert_eq!(stamp(SystemTime::UNIX_EPOCH), "1970-01-01 00:00:00 UTC");
    }
}
