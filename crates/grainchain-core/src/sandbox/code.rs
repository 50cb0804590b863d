//! Code in interpreters that keep their variables.

use std::future::IntoFuture;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::capabilities::Capability;
use crate::client::overdue;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::types::capture::Collector;
use crate::types::code::{CodeEvent, CodeResult, CodeStream, ContextInfo, CreateContext, Language, RunCode};
use crate::types::command::DEFAULT_OUTPUT_LIMIT;
use crate::types::id::ContextId;
use crate::types::output::Output;

/// Code about to run; `.await` runs it to its end, [`stream`](Self::stream) shows its events as they come.
#[derive(Debug)]
#[must_use = "nothing runs until it is awaited"]
pub struct RunningCode {
    sandbox: Sandbox,
    request: RunCode,
}

impl RunningCode {
    /// In `language`; Python by default.
    pub fn language(mut self, language: Language) -> Self {
        self.request = self.request.language(language);
        self
    }

    /// In `context` instead of the language's default context.
    pub fn context(mut self, context: &ContextId) -> Self {
        self.request = self.request.context(context);
        self
    }

    /// Interrupts after `timeout`; `Duration::MAX` for never.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request = self.request.timeout(timeout);
        self
    }

    /// The events as they come; dropping the stream interrupts the code.
    ///
    /// # Errors
    ///
    /// `NotFound` when the interpreter or the context is not there.
    pub async fn stream(mut self) -> Result<CodeStream> {
        self.request.timeout = self.request.timeout.or(self.sandbox.default_timeout());
        let code = self.sandbox.need(Operation::RunCode, Capability::Code, |parts| parts.code.as_ref())?;
        let deadlines = self.sandbox.client().current_deadlines();
        let begun = Instant::now();
        let limit = self.request.timeout.map(|timeout| timeout.saturating_add(deadlines.grace));
        let start = limit.map_or(deadlines.control, |limit| limit.max(deadlines.control));
        let sandbox = self.sandbox.clone();
        let stream = sandbox.run_within(Operation::RunCode, Some(start), code.run_code(self.request)).await?;
        let Some(deadline) = limit.and_then(|limit| begun.checked_add(limit)) else { return Ok(stream) };
        let limit = limit.unwrap_or_default();
        Ok(Box::pin(futures_util::stream::unfold((stream, false), move |(mut stream, over)| {
            let sandbox = sandbox.clone();
            async move {
                if over {
                    return None;
                }
                match tokio::time::timeout_at(deadline, stream.next()).await {
                    Ok(event) => {
                        let complete =
                            |error| sandbox.client().complete(error, Operation::RunCode, Some(sandbox.id()));
                        event.map(|event| (event.map_err(complete), (stream, false)))
                    }
                    Err(_) => {
                        let error =
                            sandbox.client().complete(overdue(limit), Operation::RunCode, Some(sandbox.id()));
                        Some((Err(error), (stream, true)))
                    }
                }
            }
        })))
    }
}

impl IntoFuture for RunningCode {
    type Output = Result<CodeResult>;
    type IntoFuture = BoxFuture<'static, Result<CodeResult>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (started_at, begun) = (SystemTime::now(), Instant::now());
            let sandbox = self.sandbox.clone();
            let mut events = self.stream().await?;
            let mut result = CodeResult::default();
            let (mut stdout, mut stderr) =
                (Collector::new(DEFAULT_OUTPUT_LIMIT), Collector::new(DEFAULT_OUTPUT_LIMIT));
            let failure = loop {
                let event = match events.next().await {
                    Some(Ok(event)) => event,
                    Some(Err(error)) => break error,
                    None => {
                        let error =
                            Error::new(ErrorKind::Connection, "the interpreter ended before the code did")
                                .hint("its context starts afresh at the next run");
                        break sandbox.client().complete(error, Operation::RunCode, Some(sandbox.id()));
                    }
                };
                match event {
                    CodeEvent::Stdout(bytes) => stdout.push(&bytes),
                    CodeEvent::Stderr(bytes) => stderr.push(&bytes),
                    CodeEvent::Display(bundle) => result.displays.push(bundle),
                    CodeEvent::Value(bundle) => result.value = Some(bundle),
                    CodeEvent::Raised(error) => result.error = Some(error),
                    CodeEvent::Done { count } => {
                        result.count = count;
                        result.stdout = stdout.finish();
                        result.stderr = stderr.finish();
                        result.execution_time = begun.elapsed();
                        return Ok(result);
                    }
                }
            };
            let (stdout, stderr) = (stdout.finish(), stderr.finish());
            Err(failure.output(Output::new(None, stdout, stderr, started_at, begun.elapsed())))
        })
    }
}

impl Sandbox {
    /// Runs code in an interpreter that keeps its variables from call to call.
    ///
    /// ```no_run
    /// # async fn example(sandbox: grainchain_core::Sandbox) -> grainchain_core::Result<()> {
    /// sandbox.run_code("x = 41").await?;
    /// assert_eq!(sandbox.run_code("x + 1").await?.text(), Some("42"));
    /// # Ok(()) }
    /// ```
    ///
    /// Code that raised an exception is an `Ok` with [`CodeResult::error`].
    ///
    /// # Errors
    ///
    /// `NotFound` naming the interpreter that is missing, `Timeout` when the code was interrupted, `Connection` when the
    /// interpreter died. The last two hold what was printed until then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future interrupts the code.
    pub fn run_code(&self, request: impl Into<RunCode>) -> RunningCode {
        RunningCode { sandbox: self.clone(), request: request.into() }
    }

    /// Starts an interpreter of its own, apart from all others.
    ///
    /// # Errors
    ///
    /// `NotFound` naming the interpreter that is missing.
    pub async fn create_context(&self, request: CreateContext) -> Result<ContextInfo> {
        let code = self.need(Operation::CreateContext, Capability::Code, |parts| parts.code.as_ref())?;
        self.run(Operation::CreateContext, code.create_context(request)).await
    }

    /// The interpreters that live.
    ///
    /// # Errors
    ///
    /// `Unsupported` where code cannot be run.
    pub async fn list_contexts(&self) -> Result<Vec<ContextInfo>> {
        let code = self.need(Operation::ListContexts, Capability::Code, |parts| parts.code.as_ref())?;
        self.run(Operation::ListContexts, code.list_contexts()).await
    }

    /// Ends an interpreter and starts it afresh under the same id.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such context.
    pub async fn restart_context(&self, id: &ContextId) -> Result<ContextInfo> {
        let code = self.need(Operation::RestartContext, Capability::Code, |parts| parts.code.as_ref())?;
        self.run(Operation::RestartContext, code.restart_context(id)).await
    }

    /// Ends an interpreter.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such context.
    pub async fn delete_context(&self, id: &ContextId) -> Result<()> {
        let code = self.need(Operation::DeleteContext, Capability::Code, |parts| parts.code.as_ref())?;
        self.run(Operation::DeleteContext, code.delete_context(id)).await
    }
}
