//! How much a sandbox uses.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::types::metrics::MetricsSample;

/// How much a sandbox uses.
#[async_trait]
pub trait Metrics: Debug + Send + Sync + 'static {
    /// One sample.
    async fn sample(&self) -> Result<MetricsSample>;
}
