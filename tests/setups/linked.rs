//! `local`, with a link between the client and everything that happens inside of a sandbox: the guest protocol without a container.
//!
//! The pipe of each link breaks again and again, so that every case is also one of what a reconnect must not lose.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use grainchain_core::facet::{SnapshotCatalog, Templates, Volumes};
use grainchain_core::{
    Content, CreateRequest, DryRun, Error, Health, ListFilter, Parts, Provider, ProviderInfo, Removal,
    RemoveIf, Result, SandboxId, SandboxInfo, UnpackSummary,
};
use grainchain_guest::link::{Dial, Link, LinkConfig, Listener, ListenerConfig, Pipe, Token};
use grainchain_guest::serve::{Host, Inside, serve};
use grainchain_guest::{Control, Remote, SandboxState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// A provider whose sandboxes are spoken to over links.
#[derive(Debug)]
pub(crate) struct Linked(Arc<dyn Provider>);

impl Linked {
    pub(crate) fn new(provider: Arc<dyn Provider>) -> Self {
        Self(provider)
    }

    async fn link(parts: Parts) -> Result<Parts> {
        let missing = || Error::unexpected("the provider inside lacks a facet");
        let inside = Inside {
            exec: Arc::clone(&parts.exec),
            processes: parts.processes.clone().ok_or_else(missing)?,
            files: parts.files.clone().ok_or_else(missing)?,
            archive: parts.archive.clone().ok_or_else(missing)?,
            watch: parts.watch.clone().ok_or_else(missing)?,
            code: parts.code.clone().ok_or_else(missing)?,
            metrics: parts.metrics.clone().ok_or_else(missing)?,
        };
        let token = Token::new(&b"known to both sides"[..])?;
        let (listener, requests) = Listener::new(ListenerConfig::new(token.clone()));
        tokio::spawn(serve(requests, inside, Arc::new(NoHost)));
        let dialer = Dialer { listener, dialled: AtomicU64::new(0) };
        let (link, _) = Link::connect(Arc::new(dialer), LinkConfig::new(token)).await?;
        let remote = Arc::new(Remote::new(link));
        let mut parts = parts;
        parts.exec = Arc::<Remote>::clone(&remote);
        parts.processes = Some(Arc::<Remote>::clone(&remote));
        parts.files = Some(Arc::<Remote>::clone(&remote));
        parts.archive = Some(Arc::<Remote>::clone(&remote));
        parts.watch = Some(Arc::<Remote>::clone(&remote));
        parts.code = Some(Arc::<Remote>::clone(&remote));
        parts.metrics = Some(remote);
        Ok(parts)
    }
}

#[derive(Debug)]
struct NoHost;

#[async_trait]
impl Host for NoHost {
    fn state(&self) -> SandboxState {
        SandboxState::new(SystemTime::UNIX_EPOCH, None, 1)
    }

    async fn control(&self, _control: Control) -> Result<()> {
        Err(Error::unexpected("there is no helper"))
    }

    async fn hold_still(&self) -> Result<()> {
        Err(Error::unexpected("there is no helper"))
    }

    async fn go_on(&self) -> Result<()> {
        Err(Error::unexpected("there is no helper"))
    }

    async fn keep(&self, _path: String) -> Result<Content> {
        Err(Error::unexpected("there is no helper"))
    }

    async fn bring_back(&self, _path: String, _kept: Content) -> Result<UnpackSummary> {
        Err(Error::unexpected("there is no helper"))
    }
}

/// Dials the listener over sockets that break after a while.
struct Dialer {
    listener: Listener,
    dialled: AtomicU64,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

#[async_trait]
impl Dial for Dialer {
    async fn dial(&self) -> Result<Box<dyn Pipe>> {
        let failed = |error| Error::io("make a pair of sockets", error);
        let (ours, outer) = UnixStream::pair().map_err(failed)?;
        let (inner, theirs) = UnixStream::pair().map_err(failed)?;
        let listener = self.listener.clone();
        // How it ended shows on the other side.
        tokio::spawn(async move { listener.drive(Box::new(theirs)).await.ok() });
        // After the greeting, at places that differ from one pipe to the next.
        let number = self.dialled.fetch_add(1, Ordering::Relaxed);
        let most = 2_000 + (number * 7_919_777) % 30_000_000;
        tokio::spawn(carry(outer, inner, most));
        Ok(Box::new(ours))
    }
}

/// Carries bytes both ways, `most` of them, and then breaks.
async fn carry(mut one: UnixStream, mut other: UnixStream, most: u64) {
    let (mut there, mut back) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut left = most;
    loop {
        let (count, answer) = tokio::select! {
            read = one.read(&mut there) => (read.unwrap_or(0), false),
            read = other.read(&mut back) => (read.unwrap_or(0), true),
        };
        let carried = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        let (into, bytes) = if answer { (&mut one, &back) } else { (&mut other, &there) };
        if carried == 0 || into.write_all(&bytes[..carried]).await.is_err() {
            return;
        }
        left -= carried as u64;
    }
}

#[async_trait]
impl Provider for Linked {
    fn info(&self) -> ProviderInfo {
        self.0.info()
    }

    async fn check(&self) -> Result<Health> {
        self.0.check().await
    }

    async fn create(&self, request: CreateRequest) -> Result<Parts> {
        Self::link(self.0.create(request).await?).await
    }

    async fn connect(&self, id: &SandboxId) -> Result<Parts> {
        Self::link(self.0.connect(id).await?).await
    }

    async fn list(&self, filter: ListFilter) -> Result<Vec<SandboxInfo>> {
        self.0.list(filter).await
    }

    async fn remove(&self, id: &SandboxId, condition: RemoveIf) -> Result<Removal> {
        self.0.remove(id, condition).await
    }

    async fn sweep(&self, dry_run: DryRun) -> Result<Vec<String>> {
        self.0.sweep(dry_run).await
    }

    fn templates(&self) -> Option<Arc<dyn Templates>> {
        self.0.templates()
    }

    fn snapshot_catalog(&self) -> Option<Arc<dyn SnapshotCatalog>> {
        self.0.snapshot_catalog()
    }

    fn volumes(&self) -> Option<Arc<dyn Volumes>> {
        self.0.volumes()
    }
}
