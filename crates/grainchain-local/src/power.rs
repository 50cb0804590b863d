//! Standing still and going on.

use async_trait::async_trait;
use grainchain_core::facet::Power;
use grainchain_core::{Parts, Result, SandboxStatus};
use grainchain_guest::Stage;

use crate::sandbox::LocalSandbox;
use crate::state::State;

#[async_trait]
impl Power for LocalSandbox {
    /// Stops every process with `SIGSTOP`; memory and open files stay as they are.
    async fn pause(&self) -> Result<()> {
        self.alone(|sandbox, mut state| {
            if state.status == SandboxStatus::Paused {
                return Ok(());
            }
            Self::expect(&state, SandboxStatus::Running, "wake it up first")?;
            // Written first, so that other programs start nothing that would not be frozen.
            sandbox.turn(&mut state, SandboxStatus::Paused)?;
            let frozen = sandbox.wait(sandbox.guest.freeze());
            if frozen.is_err() && sandbox.guest.stage() == Stage::Running {
                sandbox.turn(&mut state, SandboxStatus::Running)?;
            }
            frozen.map(drop)
        })
        .await
    }

    async fn resume(&self) -> Result<()> {
        self.alone(|sandbox, mut state| {
            if state.status == SandboxStatus::Running {
                return Ok(());
            }
            Self::expect(&state, SandboxStatus::Paused, "wake it up instead")?;
            sandbox.wait(sandbox.guest.thaw())?;
            sandbox.turn(&mut state, SandboxStatus::Running)
        })
        .await
    }

    async fn terminate(&self) -> Result<()> {
        self.alone(|sandbox, mut state| {
            sandbox.turn(&mut state, SandboxStatus::Stopped)?;
            sandbox.guest.set_stage(Stage::Stopped);
            sandbox.wait(sandbox.guest.kill_all()).map(drop)
        })
        .await
    }

    async fn wake_up(&self) -> Result<Option<Parts>> {
        self.alone(|sandbox, mut state| {
            if state.status != SandboxStatus::Running {
                Self::expect(&state, SandboxStatus::Stopped, "resume it instead")?;
                sandbox.turn(&mut state, SandboxStatus::Running)?;
            }
            sandbox.guest.set_stage(Stage::Running);
            Ok(None)
        })
        .await
    }
}

impl LocalSandbox {
    fn turn(&self, state: &mut State, status: SandboxStatus) -> Result<()> {
        state.status = status;
        self.save(state)
    }
}
