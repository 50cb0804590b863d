//! Commands: to their end, or beside the caller.

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::capabilities::Capability;
use crate::client::overdue;
use crate::error::Result;
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::types::command::{Command, PtySize};
use crate::types::content::Content;
use crate::types::id::ProcessId;
use crate::types::output::Output;
use crate::types::process::{Process, ProcessControl, ProcessEvent, ProcessEvents, ProcessInfo};
use crate::types::signal::Signal;
use crate::types::size::ByteSize;

/// A command about to run to its end; `.await` runs it.
#[derive(Debug)]
#[must_use = "nothing runs until it is awaited"]
pub struct Execute {
    sandbox: Sandbox,
    command: Command,
}

/// A command about to be started; `.await` starts it.
#[derive(Debug)]
#[must_use = "nothing runs until it is awaited"]
pub struct Spawn {
    sandbox: Sandbox,
    command: Command,
}

macro_rules! command_setters {
    ($builder:ident) => {
        impl $builder {
            /// Sets one variable, on top of the sandbox's own.
            pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
                self.command = self.command.env(name, value);
                self
            }

            /// Sets several variables.
            pub fn envs(
                mut self,
                variables: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
            ) -> Self {
                self.command = self.command.envs(variables);
                self
            }

            /// Sets where it starts.
            pub fn working_directory(mut self, path: impl Into<String>) -> Self {
                self.command = self.command.working_directory(path);
                self
            }

            /// Gives it input, then the end.
            pub fn stdin(mut self, content: impl Into<Content>) -> Self {
                self.command = self.command.stdin(content);
                self
            }

            /// Kills the whole tree after `timeout`; `Duration::MAX` for never.
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.command = self.command.timeout(timeout);
                self
            }

            /// Runs as `user`.
            pub fn user(mut self, user: impl Into<String>) -> Self {
                self.command = self.command.user(user);
                self
            }

            /// Runs on a terminal of `size`.
            pub fn pty(mut self, size: PtySize) -> Self {
                self.command = self.command.pty(size);
                self
            }
        }
    };
}

command_setters!(Execute);
command_setters!(Spawn);

impl Execute {
    /// Keeps at most `limit` of each stream, half of it from the beginning and half from the end.
    pub fn output_limit(mut self, limit: ByteSize) -> Self {
        self.command = self.command.output_limit(limit);
        self
    }
}

impl Spawn {
    /// Keeps stdin open for [`Process::write`].
    pub fn piped_stdin(mut self) -> Self {
        self.command = self.command.piped_stdin();
        self
    }
}

impl IntoFuture for Execute {
    type Output = Result<Output>;
    type IntoFuture = BoxFuture<'static, Result<Output>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            self.command.timeout = self.command.timeout.or(self.sandbox.default_timeout());
            let grace = self.sandbox.client().current_deadlines().grace;
            let limit = self.command.timeout.map(|timeout| timeout.saturating_add(grace));
            let exec = Arc::clone(&self.sandbox.parts().exec);
            self.sandbox.run_within(Operation::Execute, limit, exec.execute(self.command)).await
        })
    }
}

impl IntoFuture for Spawn {
    type Output = Result<Process>;
    type IntoFuture = BoxFuture<'static, Result<Process>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { sandbox, command } = self;
            let operation = Operation::Spawn;
            let processes =
                sandbox.need(operation, Capability::Processes, |parts| parts.processes.as_ref())?;
            let deadlines = sandbox.client().current_deadlines();
            let limit = command.timeout.map(|timeout| timeout.saturating_add(deadlines.grace));
            let process =
                sandbox.run_within(operation, Some(deadlines.control), processes.spawn(command)).await?;
            Ok(guard(&sandbox, operation, process, limit))
        })
    }
}

impl Sandbox {
    /// Runs a command to its end: a line for the shell, or a list that no shell touches.
    ///
    /// ```no_run
    /// # async fn example(sandbox: grainchain_core::Sandbox) -> grainchain_core::Result<()> {
    /// use std::time::Duration;
    /// let output = sandbox.execute("make test | tail").env("CI", "1").timeout(Duration::from_secs(60)).await?;
    /// let exact = sandbox.execute(["printf", "%s", "$HOME; `date`"]).await?;
    /// println!("{} {}", output.success(), exact.stdout());
    /// # Ok(()) }
    /// ```
    ///
    /// A command that ran and failed is an `Ok` with its exit code. Children that it leaves behind run on until the sandbox ends.
    ///
    /// # Errors
    ///
    /// `NotFound` or `Denied` when it could not start, `Timeout` when its time ran out: the tree is dead then and
    /// [`partial_output`](crate::Error::partial_output) holds what it had written.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the command and everything it started.
    pub fn execute(&self, command: impl Into<Command>) -> Execute {
        Execute { sandbox: self.clone(), command: command.into() }
    }

    /// Starts a command and answers with its events and its control.
    ///
    /// # Errors
    ///
    /// `NotFound` or `Denied` when it could not start, `Unsupported` where commands only run to their end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave the command running; [`list_processes`](Self::list_processes) shows it.
    pub fn spawn(&self, command: impl Into<Command>) -> Spawn {
        Spawn { sandbox: self.clone(), command: command.into() }
    }

    /// Follows a process that was started before, from what is still buffered.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such process, or its result was fetched already.
    pub async fn attach(&self, id: &ProcessId) -> Result<Process> {
        let operation = Operation::Attach;
        let processes = self.need(operation, Capability::Attach, |parts| parts.processes.as_ref())?;
        let process = self.run(operation, processes.attach(id)).await?;
        Ok(guard(self, operation, process, None))
    }

    /// The processes that were started with `spawn` and whose result was not yet fetched.
    ///
    /// # Errors
    ///
    /// `Unsupported` where there are none to list.
    pub async fn list_processes(&self) -> Result<Vec<ProcessInfo>> {
        let operation = Operation::ListProcesses;
        let processes = self.need(operation, Capability::Processes, |parts| parts.processes.as_ref())?;
        self.run(operation, processes.list()).await
    }
}

/// Ends the events of `process` after `limit` even when the provider does not, bounds its control, and completes the errors of
/// both.
fn guard(sandbox: &Sandbox, operation: Operation, process: Process, limit: Option<Duration>) -> Process {
    // A limit beyond what the clock can hold is none.
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let sandbox = sandbox.clone();
    let process = process.map_control(|inner| Arc::new(Bounded { sandbox: sandbox.clone(), inner }));
    process.map_events(|events| {
        Box::pin(Guarded {
            events,
            sandbox,
            operation,
            deadline: deadline.map(|deadline| (Box::pin(sleep_until(deadline)), limit.unwrap_or_default())),
            exited: false,
        })
    })
}

struct Guarded {
    events: ProcessEvents,
    sandbox: Sandbox,
    operation: Operation,
    deadline: Option<(Pin<Box<Sleep>>, Duration)>,
    exited: bool,
}

impl Stream for Guarded {
    type Item = Result<ProcessEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let complete = |error| this.sandbox.client().complete(error, this.operation, Some(this.sandbox.id()));
        if let Poll::Ready(event) = this.events.as_mut().poll_next(context) {
            if let Some(Ok(ProcessEvent::Exited(_))) = event {
                // The command kept its time; children that it left behind may write for as long as the sandbox lives.
                this.exited = true;
            }
            return Poll::Ready(event.map(|event| event.map_err(complete)));
        }
        if this.exited {
            return Poll::Pending;
        }
        let Some((sleep, limit)) = &mut this.deadline else { return Poll::Pending };
        std::task::ready!(sleep.as_mut().poll(context));
        let error = complete(overdue(*limit));
        this.events = Box::pin(futures_util::stream::empty());
        this.deadline = None;
        Poll::Ready(Some(Err(error)))
    }
}

/// A process's control with deadlines. Writing has none: it waits as long as the process does not read.
#[derive(Debug)]
struct Bounded {
    sandbox: Sandbox,
    inner: Arc<dyn ProcessControl>,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ProcessControl for Bounded {
    async fn write(&self, bytes: Bytes) -> Result<()> {
        self.sandbox.run(Operation::WriteStdin, self.inner.write(bytes)).await
    }

    async fn close_stdin(&self) -> Result<()> {
        self.sandbox.run(Operation::CloseStdin, self.inner.close_stdin()).await
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        self.sandbox.run(Operation::SignalProcess, self.inner.signal(signal)).await
    }

    async fn kill(&self) -> Result<()> {
        self.sandbox.run(Operation::KillProcess, self.inner.kill()).await
    }

    async fn resize(&self, size: PtySize) -> Result<()> {
        self.sandbox.run(Operation::ResizeTerminal, self.inner.resize(size)).await
    }
}
