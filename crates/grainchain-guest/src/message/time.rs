//! Moments, also those before 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Seconds since 1970, rounded down, and nanoseconds on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireTime(i64, u32);

impl From<SystemTime> for WireTime {
    fn from(time: SystemTime) -> Self {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(seconds(after), after.subsec_nanos()),
            Err(before) => match (seconds(before.duration()), before.duration().subsec_nanos()) {
                (whole, 0) => Self(-whole, 0),
                (whole, nanos) => Self(-whole - 1, 1_000_000_000 - nanos),
            },
        }
    }
}

impl From<WireTime> for SystemTime {
    /// What no clock of ours can hold becomes the epoch.
    fn from(WireTime(seconds, nanos): WireTime) -> Self {
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
        time.and_then(|time| time.checked_add(Duration::from_nanos(nanos.into()))).unwrap_or(UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_on_both_sides_of_the_epoch_survive() {
        for (seconds, nanos) in [(0, 0), (0, 1), (1_800_000_000, 999_999_999)] {
            let offset = Duration::new(seconds, nanos);
            for time in [UNIX_EPOCH + offset, UNIX_EPOCH - offset] {
                assert_eq!(SystemTime::from(WireTime::from(time)), time);
            }
        }
        assert_eq!(SystemTime::from(WireTime(i64::MAX, u32::MAX)), UNIX_EPOCH);
    }
}
