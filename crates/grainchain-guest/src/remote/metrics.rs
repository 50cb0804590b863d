//! How much the sandbox uses.

use async_trait::async_trait;
use grainchain_core::facet::Metrics;
use grainchain_core::{MetricsSample, Result};

use super::Remote;
use crate::message::{Request, WireMetrics};

#[async_trait]
impl Metrics for Remote {
    async fn sample(&self) -> Result<MetricsSample> {
        self.call(&Request::Metrics).await?.finish().answer::<WireMetrics>().await.map(Into::into)
    }
}
