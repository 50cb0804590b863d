//! Ways to a guest: the streams of the container's first process, and after their loss a bridge that the engine starts.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use grainchain_core::Result;
use grainchain_guest::link::{Dial, Pipe};

use super::{FramedPipe, PROGRAM};
use crate::engine::{Engine, ExecStart};

/// Opens pipes to the guest of one container.
#[derive(Debug)]
pub(crate) struct EngineDial {
    engine: Engine,
    container: String,
    /// The streams that were attached before the start: whoever makes a container needs no exec to speak to it.
    attached: Mutex<Option<FramedPipe>>,
}

impl EngineDial {
    /// A way to the guest of `container`, which runs already.
    pub(crate) fn new(engine: Engine, container: String) -> Self {
        Self { engine, container, attached: Mutex::default() }
    }

    /// A way to the guest of `container`, which was made and not yet started.
    ///
    /// # Errors
    ///
    /// The engine's refusal.
    pub(crate) async fn attach(engine: Engine, container: String) -> Result<Self> {
        let attached = FramedPipe::new(engine.attach(&container).await?);
        Ok(Self { engine, container, attached: Mutex::new(Some(attached)) })
    }
}

#[async_trait]
impl Dial for EngineDial {
    async fn dial(&self) -> Result<Box<dyn Pipe>> {
        if let Some(pipe) = self.attached.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(Box::new(pipe));
        }
        let argv = [PROGRAM, "dial"].map(str::to_owned).to_vec();
        let mut start = ExecStart::new(argv, &BTreeMap::new(), "/".to_owned());
        start.attach_stdin = true;
        let id = self.engine.exec_create(&self.container, &start).await?;
        Ok(Box::new(FramedPipe::new(self.engine.exec_start(&id).await?)))
    }
}
