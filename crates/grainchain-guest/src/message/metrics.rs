//! A sample of use.

use std::time::Duration;

use grainchain_core::MetricsSample;
use serde::{Deserialize, Serialize};

use super::time::WireTime;

/// A sample on its way.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireMetrics {
    taken_at: WireTime,
    cpu_time: Option<Duration>,
    cpu_limit: Option<f64>,
    cpu_throttled: Option<Duration>,
    memory_bytes: Option<u64>,
    memory_limit_bytes: Option<u64>,
    disk_bytes: Option<u64>,
    processes: Option<u64>,
    network_received_bytes: Option<u64>,
    network_sent_bytes: Option<u64>,
}

impl From<MetricsSample> for WireMetrics {
    fn from(sample: MetricsSample) -> Self {
        Self {
            taken_at: sample.taken_at.into(),
            cpu_time: sample.cpu_time,
            cpu_limit: sample.cpu_limit,
            cpu_throttled: sample.cpu_throttled,
            memory_bytes: sample.memory_bytes,
            memory_limit_bytes: sample.memory_limit_bytes,
            disk_bytes: sample.disk_bytes,
            processes: sample.processes,
            network_received_bytes: sample.network_received_bytes,
            network_sent_bytes: sample.network_sent_bytes,
        }
    }
}

impl From<WireMetrics> for MetricsSample {
    fn from(wire: WireMetrics) -> Self {
        let mut sample = Self::new(wire.taken_at.into());
        sample.cpu_time = wire.cpu_time;
        sample.cpu_limit = wire.cpu_limit.filter(|limit| limit.is_finite());
        sample.cpu_throttled = wire.cpu_throttled;
        sample.memory_bytes = wire.memory_bytes;
        sample.memory_limit_bytes = wire.memory_limit_bytes;
        sample.disk_bytes = wire.disk_bytes;
        sample.processes = wire.processes;
        sample.network_received_bytes = wire.network_received_bytes;
        sample.network_sent_bytes = wire.network_sent_bytes;
        sample
    }
}
