//! A sandbox that is closed whatever happens.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::runtime::Handle;

use crate::client::Client;
use crate::error::Error;
use crate::sandbox::Sandbox;
use crate::types::sandbox_config::SandboxConfig;

impl Client {
    /// Makes a sandbox, gives it to `work` and closes it: on success, error, panic and cancellation.
    ///
    /// ```no_run
    /// # async fn example(client: grainchain_core::Client) -> grainchain_core::Result<()> {
    /// use grainchain_core::{Error, SandboxConfig};
    /// let words = client
    ///     .scope(SandboxConfig::default(), async |sandbox| {
    ///         let output = sandbox.execute("wc -w < input.txt").await?;
    ///         Ok::<_, Error>(output.stdout().into_owned())
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `create`, of `work`, and of `close` when `work` succeeded.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the sandbox in a task of the runtime. Where the runtime ends at that moment too, the lease does.
    pub async fn scope<T, E: From<Error>>(
        &self,
        config: SandboxConfig,
        work: impl AsyncFnOnce(Sandbox) -> Result<T, E>,
    ) -> Result<T, E> {
        // From its first moment the creation is in a task of its own: a cancelled scope does not lose what is being made.
        let client = self.clone();
        let creation = tokio::spawn(async move { client.create(config).await });
        let mut guard = Guard { runtime: Handle::current(), state: State::Creating(creation) };
        let sandbox = guard.created().await?;
        let result = AssertUnwindSafe(work(sandbox.clone())).catch_unwind().await;
        let closed = sandbox.close().await;
        guard.state = State::Done;
        match result {
            Ok(Ok(value)) => closed.map(|()| value).map_err(E::from),
            Ok(Err(error)) => Err(error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Closes the sandbox when the scope is dropped half way.
struct Guard {
    // The future may be dropped where no runtime is.
    runtime: Handle,
    state: State,
}

enum State {
    Creating(tokio::task::JoinHandle<Result<Sandbox, Error>>),
    Open(Sandbox),
    Done,
}

impl Guard {
    async fn created(&mut self) -> Result<Sandbox, Error> {
        let State::Creating(creation) = &mut self.state else {
            return Err(Error::unexpected("the sandbox of a scope was made before"));
        };
        let created = creation.await;
        // However it ended: a task that has ended must not be waited for again.
        self.state = State::Done;
        match created {
            Ok(Ok(sandbox)) => {
                self.state = State::Open(sandbox.clone());
                Ok(sandbox)
            }
            Ok(Err(error)) => Err(error),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => Err(Error::unexpected("the runtime is shutting down").caused_by(error)),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Done => {}
            State::Open(sandbox) => {
                self.runtime.spawn(async move { report(sandbox.close().await) });
            }
            State::Creating(creation) => {
                self.runtime.spawn(async move {
                    if let Ok(Ok(sandbox)) = creation.await {
                        report(sandbox.close().await);
                    }
                });
            }
        }
    }
}

fn report(closed: Result<(), Error>) {
    if let Err(error) = closed {
        tracing::warn!(%error, "a cancelled scope could not close its sandbox");
    }
}
