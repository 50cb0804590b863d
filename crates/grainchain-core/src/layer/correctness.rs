//! Options are honoured or refused.

use std::sync::Arc;

use async_trait::async_trait;

use crate::capabilities::Capability;
use crate::error::{Error, Result};
use crate::facet::{Code, Exec, Processes, SnapshotCatalog, Snapshots, Templates, Volumes};
use crate::layer::{Layer, Scope};
use crate::provider::{CreateRequest, DryRun, Health, Parts, Provider, ProviderInfo, Removal, RemoveIf};
use crate::types::code::{CodeStream, ContextInfo, CreateContext, Language, RunCode};
use crate::types::command::{Command, Stdin};
use crate::types::id::{ContextId, ProcessId, SandboxId, SnapshotId};
use crate::types::info::{ListFilter, SandboxInfo};
use crate::types::output::Output;
use crate::types::process::{Process, ProcessInfo};
use crate::types::snapshot::{CreateSnapshot, SnapshotInfo, SnapshotKind};

/// Refuses every option that the provider does not declare, before anything is sent, and names it. Part of every
/// [`Client`](crate::Client).
#[derive(Clone, Copy, Debug, Default)]
pub struct Correctness;

impl Layer for Correctness {
    fn provider(&self, inner: Arc<dyn Provider>) -> Arc<dyn Provider> {
        Arc::new(CorrectProvider { inner })
    }

    fn exec(&self, scope: &Scope, inner: Arc<dyn Exec>) -> Arc<dyn Exec> {
        Arc::new(Correct { scope: scope.clone(), inner })
    }

    fn processes(&self, scope: &Scope, inner: Arc<dyn Processes>) -> Arc<dyn Processes> {
        Arc::new(Correct { scope: scope.clone(), inner })
    }

    fn code(&self, scope: &Scope, inner: Arc<dyn Code>) -> Arc<dyn Code> {
        Arc::new(Correct { scope: scope.clone(), inner })
    }

    fn snapshots(&self, scope: &Scope, inner: Arc<dyn Snapshots>) -> Arc<dyn Snapshots> {
        Arc::new(Correct { scope: scope.clone(), inner })
    }
}

#[derive(Debug)]
struct CorrectProvider {
    inner: Arc<dyn Provider>,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Provider for CorrectProvider {
    fn info(&self) -> ProviderInfo {
        self.inner.info()
    }

    async fn check(&self) -> Result<Health> {
        self.inner.check().await
    }

    async fn create(&self, request: CreateRequest) -> Result<Parts> {
        request.config.validate()?;
        self.inner.info().check(&request.config)?;
        self.inner.create(request).await
    }

    async fn connect(&self, id: &SandboxId) -> Result<Parts> {
        self.inner.connect(id).await
    }

    async fn list(&self, filter: ListFilter) -> Result<Vec<SandboxInfo>> {
        self.inner.list(filter).await
    }

    async fn remove(&self, id: &SandboxId, condition: RemoveIf) -> Result<Removal> {
        self.inner.remove(id, condition).await
    }

    async fn sweep(&self, dry_run: DryRun) -> Result<Vec<String>> {
        self.inner.sweep(dry_run).await
    }

    fn templates(&self) -> Option<Arc<dyn Templates>> {
        self.inner.templates()
    }

    fn snapshot_catalog(&self) -> Option<Arc<dyn SnapshotCatalog>> {
        self.inner.snapshot_catalog()
    }

    fn volumes(&self) -> Option<Arc<dyn Volumes>> {
        self.inner.volumes()
    }
}

#[derive(Debug)]
struct Correct<F: ?Sized> {
    scope: Scope,
    inner: Arc<F>,
}

impl<F: ?Sized> Correct<F> {
    /// Refuses what every system refuses and what this sandbox does not declare.
    fn check(&self, command: &Command) -> Result<()> {
        command.validate()?;
        if command.user.is_some() && !self.scope.capabilities.details.users {
            return Err(Error::unsupported("`user`", "leave it out: commands run as the sandbox's own user")
                .option("user"));
        }
        if command.pty.is_some() {
            self.scope.capabilities.require(Capability::Pty).map_err(|error| error.option("pty"))?;
        }
        Ok(())
    }

    fn check_language(&self, language: Option<Language>) -> Result<()> {
        let known = &self.scope.capabilities.details.languages;
        match language {
            Some(language) if !known.contains(&language) => {
                let known: Vec<_> = known.iter().map(|language| language.as_str()).collect();
                Err(Error::unsupported(
                    format_args!("the language {language}"),
                    format!("use {}", known.join(" or ")),
                )
                .option("language"))
            }
            _ => Ok(()),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Exec for Correct<dyn Exec> {
    async fn execute(&self, command: Command) -> Result<Output> {
        self.check(&command)?;
        if matches!(command.stdin, Stdin::Piped) {
            return Err(Error::bad_request("execute has nobody to write to a piped stdin")
                .hint("give the input with stdin(content), or use spawn")
                .option("stdin"));
        }
        self.inner.execute(command).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Processes for Correct<dyn Processes> {
    async fn spawn(&self, command: Command) -> Result<Process> {
        self.check(&command)?;
        self.inner.spawn(command).await
    }

    async fn attach(&self, id: &ProcessId) -> Result<Process> {
        self.scope.capabilities.require(Capability::Attach)?;
        self.inner.attach(id).await
    }

    async fn list(&self) -> Result<Vec<ProcessInfo>> {
        self.inner.list().await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Code for Correct<dyn Code> {
    async fn run_code(&self, request: RunCode) -> Result<CodeStream> {
        self.check_language(request.language)?;
        self.inner.run_code(request).await
    }

    async fn create_context(&self, request: CreateContext) -> Result<ContextInfo> {
        self.check_language(Some(request.language))?;
        crate::types::command::validate_environment(&request.environment)?;
        self.inner.create_context(request).await
    }

    async fn list_contexts(&self) -> Result<Vec<ContextInfo>> {
        self.inner.list_contexts().await
    }

    async fn restart_context(&self, id: &ContextId) -> Result<ContextInfo> {
        self.inner.restart_context(id).await
    }

    async fn delete_context(&self, id: &ContextId) -> Result<()> {
        self.inner.delete_context(id).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Snapshots for Correct<dyn Snapshots> {
    async fn create(&self, request: CreateSnapshot) -> Result<SnapshotInfo> {
        if request.name.as_ref().is_some_and(|name| name.is_empty() || name.contains('\0')) {
            return Err(Error::bad_request("a snapshot's name is empty or holds a NUL byte")
                .hint("name it, or leave the name out")
                .option("name"));
        }
        if request.kind == SnapshotKind::Memory {
            self.scope
                .capabilities
                .require(Capability::MemorySnapshots)
                .map_err(|error| error.option("kind"))?;
        }
        self.inner.create(request).await
    }

    async fn restore(&self, id: &SnapshotId) -> Result<Option<Parts>> {
        self.inner.restore(id).await
    }

    async fn list(&self) -> Result<Vec<SnapshotInfo>> {
        self.inner.list().await
    }

    async fn delete(&self, id: &SnapshotId) -> Result<()> {
        self.inner.delete(id).await
    }
}
