//! The values that go in and come out, without behaviour of their own.

pub mod capture;
pub mod code;
pub mod command;
pub mod content;
pub mod file;
pub mod id;
pub mod info;
pub mod metrics;
pub mod output;
pub mod port;
pub mod process;
pub mod sandbox_config;
pub mod secret;
pub mod signal;
pub mod size;
pub mod snapshot;
pub mod template;
pub mod volume;
pub mod watch;

/// RFC 3339 in UTC, for every point in time in our JSON.
pub(crate) mod timestamp {
    use std::time::SystemTime;

    use serde::{Serialize, Serializer};

    pub(crate) fn format(time: SystemTime) -> String {
        jiff::Timestamp::try_from(time).map_or_else(|_| "out of range".to_owned(), |time| time.to_string())
    }

    pub(crate) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        format(*time).serialize(serializer)
    }

    #[expect(clippy::ref_option, reason = "serde's `serialize_with` passes the field by reference")]
    pub(crate) mod option {
        use super::{Serialize, Serializer, SystemTime, format};

        pub(crate) fn serialize<S: Serializer>(
            time: &Option<SystemTime>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            time.map(format).serialize(serializer)
        }
    }
}
