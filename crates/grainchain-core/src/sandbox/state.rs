//! The sandbox as a whole: status, lifetime, snapshots, power, copies, ways in, end.

use std::time::Duration;

use crate::capabilities::Capability;
use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::types::id::SnapshotId;
use crate::types::info::{SandboxInfo, SandboxStatus};
use crate::types::metrics::MetricsSample;
use crate::types::port::PreviewUrl;
use crate::types::snapshot::{CreateSnapshot, SnapshotInfo};

impl Sandbox {
    /// Status, times, image and limits.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is gone.
    pub async fn info(&self) -> Result<SandboxInfo> {
        let parts = self.parts();
        self.run(Operation::Info, parts.lifecycle.info()).await
    }

    /// What it is doing.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is gone.
    pub async fn status(&self) -> Result<SandboxStatus> {
        Ok(self.info().await?.status)
    }

    /// Lets it live for `lifetime` from now; none lifts the limit where the provider allows that.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the lifetime is fixed at create, `BadRequest` for zero.
    pub async fn set_lifetime(&self, lifetime: impl Into<Option<Duration>>) -> Result<()> {
        self.require(Operation::SetLifetime, Capability::SetLifetime)?;
        let (parts, lifetime) = (self.parts(), lifetime.into());
        self.run(Operation::SetLifetime, async move {
            if lifetime == Some(Duration::ZERO) {
                return Err(Error::bad_request("zero leaves no time for anything")
                    .hint("close the sandbox to end it now")
                    .option("lifetime"));
            }
            parts.lifecycle.set_lifetime(lifetime).await
        })
        .await
    }

    /// Ends it: kills what runs and removes what it holds. Closing what is gone already is no error.
    ///
    /// # Errors
    ///
    /// When something could not be ended or removed, naming it; closing again tries again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave it half closed; close it again.
    pub async fn close(&self) -> Result<()> {
        let parts = self.parts();
        self.run(Operation::Close, parts.lifecycle.close()).await
    }

    /// Takes a snapshot: of the files, or with [`CreateSnapshot::memory`] of everything.
    ///
    /// # Errors
    ///
    /// `Unsupported` where there are none. After an error there is no snapshot.
    pub async fn create_snapshot(&self, request: impl Into<CreateSnapshot>) -> Result<SnapshotInfo> {
        let operation = Operation::CreateSnapshot;
        let snapshots = self.need(operation, Capability::Snapshots, |parts| parts.snapshots.as_ref())?;
        self.run(operation, snapshots.create(request.into())).await
    }

    /// Goes back to a snapshot. This handle stays valid, whatever happens to the machine underneath.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such snapshot. After an error the old state is there.
    pub async fn restore_snapshot(&self, id: &SnapshotId) -> Result<()> {
        let operation = Operation::RestoreSnapshot;
        let snapshots = self.need(operation, Capability::Snapshots, |parts| parts.snapshots.as_ref())?;
        let parts = self.run(operation, snapshots.restore(id)).await?;
        self.replace(parts);
        Ok(())
    }

    /// Its snapshots, oldest first.
    ///
    /// # Errors
    ///
    /// `Unsupported` where there are none.
    pub async fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        let operation = Operation::ListSnapshots;
        let snapshots = self.need(operation, Capability::Snapshots, |parts| parts.snapshots.as_ref())?;
        self.run(operation, snapshots.list()).await
    }

    /// Deletes a snapshot; those that descend from it stay whole.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such snapshot.
    pub async fn delete_snapshot(&self, id: &SnapshotId) -> Result<()> {
        let operation = Operation::DeleteSnapshot;
        let snapshots = self.need(operation, Capability::Snapshots, |parts| parts.snapshots.as_ref())?;
        self.run(operation, snapshots.delete(id)).await
    }

    /// Freezes every process.
    ///
    /// # Errors
    ///
    /// `Unsupported` where it cannot stand still.
    pub async fn pause(&self) -> Result<()> {
        self.require(Operation::Pause, Capability::Pause)?;
        let power = self.need(Operation::Pause, Capability::Pause, |parts| parts.power.as_ref())?;
        self.run(Operation::Pause, power.pause()).await
    }

    /// Thaws every process.
    ///
    /// # Errors
    ///
    /// `Unsupported` where it cannot stand still.
    pub async fn resume(&self) -> Result<()> {
        self.require(Operation::Resume, Capability::Pause)?;
        let power = self.need(Operation::Resume, Capability::Pause, |parts| parts.power.as_ref())?;
        self.run(Operation::Resume, power.resume()).await
    }

    /// Ends every process and gives up the compute; files and snapshots stay.
    ///
    /// # Errors
    ///
    /// `Unsupported` where state and compute end together.
    pub async fn terminate(&self) -> Result<()> {
        self.require(Operation::Terminate, Capability::Terminate)?;
        let power = self.need(Operation::Terminate, Capability::Terminate, |parts| parts.power.as_ref())?;
        self.run(Operation::Terminate, power.terminate()).await
    }

    /// Gets compute again after [`terminate`](Self::terminate). This handle stays valid.
    ///
    /// # Errors
    ///
    /// `Unsupported` where state and compute end together.
    pub async fn wake_up(&self) -> Result<()> {
        self.require(Operation::WakeUp, Capability::Terminate)?;
        let power = self.need(Operation::WakeUp, Capability::Terminate, |parts| parts.power.as_ref())?;
        let parts = self.run(Operation::WakeUp, power.wake_up()).await?;
        self.replace(parts);
        Ok(())
    }

    /// Makes `count` sandboxes that begin as this one is now; all or none.
    ///
    /// # Errors
    ///
    /// `Unsupported` where it cannot be copied.
    pub async fn fork(&self, count: u32) -> Result<Vec<Self>> {
        let fork = self.need(Operation::Fork, Capability::Fork, |parts| parts.fork.as_ref())?;
        let copies = self.run(Operation::Fork, fork.fork(count)).await?;
        Ok(copies.into_iter().map(|parts| self.client().sandbox(parts, self.default_timeout())).collect())
    }

    /// Where `port` of the sandbox can be reached.
    ///
    /// # Errors
    ///
    /// `Unsupported` where there is no way in.
    pub async fn preview_url(&self, port: u16) -> Result<PreviewUrl> {
        let ports = self.need(Operation::PreviewUrl, Capability::Ports, |parts| parts.ports.as_ref())?;
        self.run(Operation::PreviewUrl, ports.preview_url(port)).await
    }

    /// Closes the way to `port`.
    ///
    /// # Errors
    ///
    /// `Unsupported` where there is no way in.
    pub async fn close_port(&self, port: u16) -> Result<()> {
        let ports = self.need(Operation::ClosePort, Capability::Ports, |parts| parts.ports.as_ref())?;
        self.run(Operation::ClosePort, ports.close(port)).await
    }

    /// One sample of what it uses.
    ///
    /// # Errors
    ///
    /// `Unsupported` where nothing is measured.
    pub async fn metrics(&self) -> Result<MetricsSample> {
        let metrics = self.need(Operation::Metrics, Capability::Metrics, |parts| parts.metrics.as_ref())?;
        self.run(Operation::Metrics, metrics.sample()).await
    }
}
