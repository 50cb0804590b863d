//! How much a sandbox uses.

use std::time::{Duration, SystemTime};

use serde::Serialize;

/// One sample. What a provider cannot tell is absent, never zero.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetricsSample {
    /// When it was taken.
    #[serde(serialize_with = "super::timestamp::serialize")]
    pub taken_at: SystemTime,
    /// Processor time used by all processes that live now, since each began.
    #[serde(serialize_with = "optional_seconds")]
    pub cpu_time: Option<Duration>,
    /// How many processors it may use at a time.
    pub cpu_limit: Option<f64>,
    /// How long processes were held up, all together, because they would have used more than that.
    #[serde(serialize_with = "optional_seconds")]
    pub cpu_throttled: Option<Duration>,
    /// Resident memory of all processes.
    pub memory_bytes: Option<u64>,
    /// The limit on memory.
    pub memory_limit_bytes: Option<u64>,
    /// Bytes of the sandbox's files on disk.
    pub disk_bytes: Option<u64>,
    /// Processes.
    pub processes: Option<u64>,
    /// Bytes received from the network.
    pub network_received_bytes: Option<u64>,
    /// Bytes sent to the network.
    pub network_sent_bytes: Option<u64>,
}

impl MetricsSample {
    /// An empty sample of `taken_at`.
    pub const fn new(taken_at: SystemTime) -> Self {
        Self {
            taken_at,
            cpu_time: None,
            cpu_limit: None,
            cpu_throttled: None,
            memory_bytes: None,
            memory_limit_bytes: None,
            disk_bytes: None,
            processes: None,
            network_received_bytes: None,
            network_sent_bytes: None,
        }
    }
}

#[expect(clippy::ref_option, reason = "serde's `serialize_with` passes the field by reference")]
fn optional_seconds<S: serde::Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}
