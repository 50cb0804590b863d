//! Standing still and going on.

use async_trait::async_trait;
use grainchain_core::facet::Power;
use grainchain_core::{Parts, Result, SandboxStatus};
use grainchain_guest::Stage;

use crate::sandbox::LocalSandbox;

#[async_trait]
impl Power for LocalSandbox {
    /// Stops every process with `SIGSTOP`; memory and open files stay as they are.
    async fn pause(&self) -> Result<()> {
        let _changing = self.changing.lock().await;
        let state = self.state().await?;
        if state.status == SandboxStatus::Paused {
            return Ok(());
        }
        Self::expect(&state, SandboxStatus::Running, "wake it up first")?;
        self.guest.freeze().await?;
        self.update(|state| state.status = SandboxStatus::Paused).await?;
        Ok(())
    }

    async fn resume(&self) -> Result<()> {
        let _changing = self.changing.lock().await;
        let state = self.state().await?;
        if state.status == SandboxStatus::Running {
            return Ok(());
        }
        Self::expect(&state, SandboxStatus::Paused, "wake it up instead")?;
        self.guest.thaw().await?;
        self.update(|state| state.status = SandboxStatus::Running).await?;
        Ok(())
    }

    async fn terminate(&self) -> Result<()> {
        let _changing = self.changing.lock().await;
        self.guest.set_stage(Stage::Stopped);
        self.guest.kill_all().await?;
        self.update(|state| state.status = SandboxStatus::Stopped).await?;
        Ok(())
    }

    async fn wake_up(&self) -> Result<Option<Parts>> {
        let _changing = self.changing.lock().await;
        let state = self.state().await?;
        if state.status != SandboxStatus::Running {
            Self::expect(&state, SandboxStatus::Stopped, "resume it instead")?;
            self.update(|state| state.status = SandboxStatus::Running).await?;
        }
        self.guest.set_stage(Stage::Running);
        Ok(None)
    }
}
