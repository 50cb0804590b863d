//! Mistakes with processes.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use grainchain_core::facet::Processes;
use grainchain_core::types::process::ProcessControl;
use grainchain_core::{Command, Process, ProcessId, ProcessInfo, PtySize, Result, Signal};

use super::{Fault, Spoiled};

#[async_trait]
impl Processes for Spoiled<dyn Processes> {
    async fn spawn(&self, command: Command) -> Result<Process> {
        let process = self.inner.spawn(command).await?;
        match self.fault {
            Fault::HoldsOutputBack => Ok(process.map_events(|events| {
                let all = stream::once(events.collect::<Vec<_>>());
                Box::pin(all.flat_map(stream::iter))
            })),
            Fault::KillsTheGroupOnly => {
                let id = process.id().clone();
                let (events, inner) = process.into_parts();
                Ok(Process::new(id, events, Arc::new(Spoiled { fault: self.fault, inner })))
            }
            _ => Ok(process),
        }
    }

    async fn attach(&self, id: &ProcessId) -> Result<Process> {
        self.inner.attach(id).await
    }

    async fn list(&self) -> Result<Vec<ProcessInfo>> {
        self.inner.list().await
    }
}

#[async_trait]
impl ProcessControl for Spoiled<dyn ProcessControl> {
    async fn write(&self, bytes: Bytes) -> Result<()> {
        self.inner.write(bytes).await
    }

    async fn close_stdin(&self) -> Result<()> {
        self.inner.close_stdin().await
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        self.inner.signal(signal).await
    }

    async fn kill(&self) -> Result<()> {
        self.inner.signal(Signal::KILL).await
    }

    async fn resize(&self, size: PtySize) -> Result<()> {
        self.inner.resize(size).await
    }
}
