//! Snapshots of the workspace.

use async_trait::async_trait;
use grainchain_core::facet::Snapshots;
use grainchain_core::{
    CreateSnapshot, Error, ErrorKind, Parts, Result, SandboxStatus, SnapshotId, SnapshotInfo, SnapshotKind,
    blocking,
};
use grainchain_guest::Stage;

use crate::sandbox::LocalSandbox;
use crate::snapshot::{
    self, CreateOptions, LiveWriters, Problem, RestoreOptions, SnapshotRecord, Store, Writers,
};

#[async_trait]
impl Snapshots for LocalSandbox {
    /// Everything stands still while the snapshot is taken, so that it shows the workspace at one moment.
    async fn create(&self, request: CreateSnapshot) -> Result<SnapshotInfo> {
        let _changing = self.changing.lock().await;
        let state = self.state().await?;
        let mut options = CreateOptions::default();
        options.name = request.name;
        options.metadata = request.metadata;
        options.parent = state.head.as_deref().map(snapshot::SnapshotId::parse).transpose()?;
        let record = self
            .while_still(&state, move |store, workspace, writers| {
                options.writers = writers;
                Ok(store.create(&workspace, options)?)
            })
            .await?;
        let head = record.id.to_string();
        self.update(move |state| state.head = Some(head)).await?;
        Ok(info(record))
    }

    /// Ends every process first: what they have open belongs to a past that is gone.
    async fn restore(&self, id: &SnapshotId) -> Result<Option<Parts>> {
        let _changing = self.changing.lock().await;
        let id = snapshot::SnapshotId::parse(id.as_str())?;
        let (folder, wanted) = (self.folder.clone(), id.clone());
        // Nothing is killed for a snapshot that cannot be restored.
        blocking::run(move || Ok(Store::open(folder.snapshots())?.record(&wanted)?)).await?;
        self.guest.kill_all().await?;
        let (folder, wanted) = (self.folder.clone(), id.clone());
        let report = blocking::run(move || {
            let options = RestoreOptions::default().writers(Writers::Seen(LiveWriters::none()));
            Ok(Store::open(folder.snapshots())?.restore(&folder.workspace(), &wanted, &options)?)
        })
        .await?;
        for (path, reason) in &report.not_restored {
            tracing::warn!(path = %path.display(), reason, "not restored as it was");
        }
        let head = id.to_string();
        self.update(move |state| {
            state.head = Some(head);
            if state.status == SandboxStatus::Paused {
                // What was frozen is gone.
                state.status = SandboxStatus::Running;
            }
        })
        .await?;
        if self.guest.stage() == Stage::Frozen {
            self.guest.set_stage(Stage::Running);
        }
        Ok(None)
    }

    async fn list(&self) -> Result<Vec<SnapshotInfo>> {
        let folder = self.folder.clone();
        blocking::run(move || {
            let (records, broken) = Store::open(folder.snapshots())?.list()?;
            for record in broken {
                tracing::warn!(file = %record.file_name.display(), reason = record.reason, "a snapshot cannot be read");
            }
            let mut infos: Vec<_> = records.into_iter().map(info).collect();
            infos.sort_by_key(|info| info.created_at);
            Ok(infos)
        })
        .await
    }

    async fn delete(&self, id: &SnapshotId) -> Result<()> {
        let _changing = self.changing.lock().await;
        let id = snapshot::SnapshotId::parse(id.as_str())?;
        let (folder, wanted) = (self.folder.clone(), id.clone());
        blocking::run(move || {
            Store::open(folder.snapshots())?.delete(&wanted)?;
            Ok(())
        })
        .await?;
        self.update(move |state| {
            if state.head.as_deref() == Some(id.as_str()) {
                state.head = None;
            }
        })
        .await?;
        Ok(())
    }
}

impl LocalSandbox {
    /// Undoes what a killed program left half restored.
    pub(crate) async fn recover(&self) -> Result<()> {
        let folder = self.folder.clone();
        blocking::run(move || {
            if folder.snapshots().exists() {
                Store::open(folder.snapshots())?.recover(&folder.workspace())?;
            }
            Ok(())
        })
        .await
    }

    /// Does `work` on the snapshot store while every process of the sandbox stands still.
    pub(crate) async fn while_still<T: Send + 'static>(
        &self,
        state: &crate::state::State,
        work: impl FnOnce(Store, std::path::PathBuf, Writers) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let was_running = state.status == SandboxStatus::Running;
        if was_running {
            self.guest.freeze().await?;
        }
        let (folder, guest) = (self.folder.clone(), self.guest.clone());
        let result = blocking::run(move || {
            let writers = Writers::Seen(LiveWriters::of_processes(guest.pids()?)?);
            work(Store::open(folder.snapshots())?, folder.workspace(), writers)
        })
        .await;
        if was_running {
            self.guest.thaw().await?;
        }
        result
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
                .source(error),
            Problem::Refused(_) => Self::new(ErrorKind::Conflict, text).source(error),
            Problem::Io(io) => {
                let kind = Self::io("", std::io::Error::from(io.kind())).kind();
                let mapped = Self::new(kind, text).source(error);
                if kind == ErrorKind::Exhausted {
                    mapped.hint("free space on the disk that holds the sandbox")
                } else {
                    mapped
                }
            }
        }
    }
}
