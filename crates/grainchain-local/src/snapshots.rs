//! Snapshots of the workspace.

use crate::fork::{FOR_FORK, is_for_fork};
use crate::sandbox::{LocalSandbox, stage};
use crate::snapshot::{
    self, CreateOptions, LiveWriters, Problem, RestoreOptions, SnapshotRecord, Store, Writers,
};
use async_trait::async_trait;
use grainchain_core::facet::Snapshots;
use grainchain_core::{
    CreateSnapshot, Error, ErrorKind, Parts, Result, SandboxStatus, SnapshotId, SnapshotInfo, SnapshotKind,
    blocking,
};

#[async_trait]
impl Snapshots for LocalSandbox {
    /// Everything stands still while the snapshot is taken, so that it shows the workspace at one moment.
    async fn create(&self, request: CreateSnapshot) -> Result<SnapshotInfo> {
        if request.metadata.contains_key(FOR_FORK) {
            return Err(Error::bad_request(format!("the label `{FOR_FORK}` is kept for what forks need"))
                .hint("choose another key")
                .option("metadata"));
        }
        self.alone(move |sandbox, mut state| {
            let options = CreateOptions {
                name: request.name,
                metadata: request.metadata,
                parent: state.head.as_deref().map(snapshot::SnapshotId::parse).transpose()?,
                ..CreateOptions::default()
            };
            let record = sandbox.while_still(&state, |store, workspace, writers| {
                Ok(store.create(&workspace, options.writers(writers))?)
            })?;
            state.head = Some(record.id.to_string());
            sandbox.save(&state)?;
            Ok(info(record))
        })
        .await
    }

    /// Ends every process first: what they have open belongs to a past that is gone.
    async fn restore(&self, id: &SnapshotId) -> Result<Option<Parts>> {
        let id = snapshot::SnapshotId::parse(id.as_str())?;
        self.alone(move |sandbox, mut state| {
            let store = Store::open(sandbox.folder.snapshots())?;
            // Nothing is killed for a snapshot that cannot be restored.
            store.record(&id)?;
            let report = sandbox.without_starts(&state, || {
                sandbox.wait(sandbox.guest.kill_all())?;
                let options = RestoreOptions::default().writers(Writers::Seen(LiveWriters::none()));
                Ok(store.restore(&sandbox.folder.workspace(), &id, &options)?)
            })?;
            for (path, reason) in &report.not_restored {
                tracing::warn!(path = %path.display(), reason, "not restored as it was");
            }
            state.head = Some(id.to_string());
            if state.status == SandboxStatus::Paused {
                // What was frozen is gone.
                state.status = SandboxStatus::Running;
            }
            sandbox.save(&state)?;
            sandbox.guest.set_stage(stage(state.status));
            Ok(None)
        })
        .await
    }

    async fn list(&self) -> Result<Vec<SnapshotInfo>> {
        self.state().await?;
        let folder = self.folder.clone();
        blocking::run(move || {
            let (records, broken) = Store::open(folder.snapshots())?.list()?;
            for record in broken {
                tracing::warn!(file = %record.file_name.display(), reason = record.reason, "a snapshot cannot be read");
            }
            let mut infos: Vec<_> = records.into_iter().filter(|record| !is_for_fork(record)).map(info).collect();
            infos.sort_by_key(|info| info.created_at);
            Ok(infos)
        })
        .await
    }

    async fn delete(&self, id: &SnapshotId) -> Result<()> {
        let id = snapshot::SnapshotId::parse(id.as_str())?;
        self.alone(move |sandbox, mut state| {
            Store::open(sandbox.folder.snapshots())?.delete(&id)?;
            if state.head.as_deref() == Some(id.as_str()) {
                state.head = None;
                sandbox.save(&state)?;
            }
            Ok(())
        })
        .await
    }
}

impl LocalSandbox {
    /// Undoes what a killed program left half done. Waits for nobody: a living program that is at work undoes nothing half way.
    /// Blocks the thread.
    pub(crate) fn recover(&self) -> Result<()> {
        let Some(_lock) = self.folder.try_lock(&self.id)? else { return Ok(()) };
        self.recover_stillness()?;
        if self.folder.snapshots().exists() {
            Store::open(self.folder.snapshots())?.recover(&self.folder.workspace())?;
            self.clear_forks()?;
        }
        Ok(())
    }
}

fn info(record: SnapshotRecord) -> SnapshotInfo {
    let mut info =
        SnapshotInfo::new(SnapshotId::new(record.id.as_str()), SnapshotKind::Filesystem, record.created);
    info.name = record.name;
    info.parent = record.parent.map(|parent| SnapshotId::new(parent.as_str()));
    info.size_bytes = Some(record.size_bytes);
    info.metadata = record.metadata;
    let changing =
        record.changing.iter().map(|path| format!("{} kept changing while it was read", path.display()));
    let mounts = record
        .mounts
        .iter()
        .map(|path| format!("{} is a mounted file system: kept as an empty directory", path.display()));
    info.notes = changing.chain(mounts).collect();
    info
}

impl From<snapshot::Error> for Error {
    fn from(error: snapshot::Error) -> Self {
        let text = error.to_string();
        match error.problem() {
            Problem::NoSuchSnapshot => {
                Self::not_found(text).hint("list the snapshots to see which there are")
            }
            Problem::Damaged(_) => Self::new(ErrorKind::Unexpected, text)
                .hint("delete the snapshot and take a new one")
                .caused_by(error),
            Problem::Locked(_) => Self::new(ErrorKind::Conflict, text)
                .hint("end it; terminate and wake_up end whatever the sandbox itself has started")
                .caused_by(error),
            Problem::Refused(_) => Self::new(ErrorKind::Conflict, text).caused_by(error),
            Problem::Io(io) => {
                let kind = Self::io("", std::io::Error::from(io.kind())).kind();
                let mapped = Self::new(kind, text).caused_by(error);
                if kind == ErrorKind::Exhausted {
                    mapped.hint("free space on the disk that holds the sandbox")
                } else {
                    mapped
                }
            }
        }
    }
}
