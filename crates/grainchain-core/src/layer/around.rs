//! Layers that do something before and after every call, written once for all facets.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::error::{Error, Result};
use crate::facet::{
    Archive, Code, Exec, Files, Fork, Lifecycle, Metrics, Ports, Power, Processes, SnapshotCatalog,
    Snapshots, Templates, Volumes, Watch,
};
use crate::layer::{Layer, Scope};
use crate::operation::Operation;
use crate::provider::{CreateRequest, DryRun, Health, Parts, Provider, ProviderInfo, Removal, RemoveIf};
use crate::types::code::{CodeStream, ContextInfo, CreateContext, RunCode};
use crate::types::command::Command;
use crate::types::content::Content;
use crate::types::file::{
    FileInfo, ListFiles, MakeDir, Pack, ReadFile, Remove, Rename, Stat, Unpack, UnpackSummary, WriteFile,
};
use crate::types::id::{ContextId, ProcessId, SandboxId, SnapshotId, TemplateId, VolumeId};
use crate::types::info::{ListFilter, SandboxInfo};
use crate::types::metrics::MetricsSample;
use crate::types::output::Output;
use crate::types::port::PreviewUrl;
use crate::types::process::{Process, ProcessInfo};
use crate::types::snapshot::{CreateSnapshot, SnapshotInfo};
use crate::types::template::{BuildTemplate, TemplateInfo};
use crate::types::volume::{CreateVolume, VolumeInfo};
use crate::types::watch::{WatchPath, WatchStream};

/// The call that goes through a layer.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// What is asked.
    pub operation: Operation,
    /// The provider's name.
    pub provider: &'static str,
    /// The sandbox, where there is one already.
    pub sandbox: Option<&'a SandboxId>,
}

/// Makes the call. None when it cannot be made again, because its input was a stream that can be read only once.
pub type Attempt<'a, T> = Box<dyn FnMut() -> Option<BoxFuture<'a, Result<T>>> + Send + 'a>;

/// Makes a call that nobody repeats.
pub(crate) async fn once<T>(mut attempt: Attempt<'_, T>) -> Result<T> {
    match attempt() {
        Some(call) => call.await,
        None => Err(Error::unexpected("the call was already made")),
    }
}

/// Does something around every call. Clones share their state. Implementations may write `async fn around`.
pub trait Around: Clone + Debug + Send + Sync + 'static {
    /// Whether it may make a call more than once; the input is kept for that.
    const REPEATS: bool;

    /// Makes the call by asking `attempt` at least once.
    fn around<'a, T: Send + 'a>(
        &'a self,
        call: Call<'a>,
        attempt: Attempt<'a, T>,
    ) -> impl Future<Output = Result<T>> + Send + 'a;
}

/// A facet with `A` around its calls.
struct Wrapped<A, F: ?Sized> {
    around: A,
    scope: Scope,
    inner: Arc<F>,
}

impl<A: Debug, F: ?Sized + Debug> Debug for Wrapped<A, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Wrapped").field(&self.around).field(&&self.inner).finish()
    }
}

impl<A, F: ?Sized> Wrapped<A, F> {
    fn call(&self, operation: Operation) -> Call<'_> {
        Call { operation, provider: self.scope.provider, sandbox: self.scope.sandbox.as_ref() }
    }
}

/// Input that may be given a second time.
trait Repeat: Sized {
    fn repeat(&self) -> Option<Self>;
}

macro_rules! repeat_by_clone {
    ($($type:ty)+) => {$(
        impl Repeat for $type {
            fn repeat(&self) -> Option<Self> {
                Some(self.clone())
            }
        }
    )+};
}

repeat_by_clone! {
    u16 u32 Option<Duration> DryRun RemoveIf CreateRequest ListFilter RunCode CreateContext ReadFile WriteFile Stat ListFiles MakeDir Remove Rename
    Pack Unpack WatchPath CreateSnapshot BuildTemplate CreateVolume
    &SandboxId &SnapshotId &ProcessId &ContextId &TemplateId &VolumeId
}

impl Repeat for Command {
    fn repeat(&self) -> Option<Self> {
        self.try_clone()
    }
}

impl Repeat for Content {
    fn repeat(&self) -> Option<Self> {
        self.try_clone()
    }
}

impl Repeat for () {
    fn repeat(&self) -> Option<Self> {
        Some(())
    }
}

impl<T: Repeat> Repeat for (T,) {
    fn repeat(&self) -> Option<Self> {
        Some((self.0.repeat()?,))
    }
}

impl<T: Repeat, U: Repeat> Repeat for (T, U) {
    fn repeat(&self) -> Option<Self> {
        Some((self.0.repeat()?, self.1.repeat()?))
    }
}

macro_rules! wrapped {
    ($facet:ident {
        $(fn $method:ident($($argument:ident: $type:ty),*) -> $answer:ty, $operation:ident;)+
    } $($rest:item)*) => {
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<A: Around> $facet for Wrapped<A, dyn $facet> {
            $(
                async fn $method(&self, $($argument: $type),*) -> Result<$answer> {
                    let inner = &*self.inner;
                    let mut held = Some(($($argument,)*));
                    let attempt = move || {
                        let arguments = held.take()?;
                        if A::REPEATS {
                            held = arguments.repeat();
                        }
                        let ($($argument,)*) = arguments;
                        Some(inner.$method($($argument),*))
                    };
                    self.around.around(self.call(Operation::$operation), Box::new(attempt)).await
                }
            )+
            $($rest)*
        }
    };
}

wrapped!(Lifecycle {
    fn info() -> SandboxInfo, Info;
    fn set_lifetime(lifetime: Option<Duration>) -> (), SetLifetime;
    fn close() -> (), Close;
});
wrapped!(Exec {
    fn execute(command: Command) -> Output, Execute;
});
wrapped!(Processes {
    fn spawn(command: Command) -> Process, Spawn;
    fn attach(id: &ProcessId) -> Process, Attach;
    fn list() -> Vec<ProcessInfo>, ListProcesses;
});
wrapped!(Files {
    fn read(request: ReadFile) -> Content, ReadFile;
    fn write(request: WriteFile, content: Content) -> FileInfo, WriteFile;
    fn stat(request: Stat) -> FileInfo, Stat;
    fn list(request: ListFiles) -> Vec<FileInfo>, ListFiles;
    fn make_dir(request: MakeDir) -> (), MakeDir;
    fn remove(request: Remove) -> (), Remove;
    fn rename(request: Rename) -> (), Rename;
});
wrapped!(Archive {
    fn pack(request: Pack) -> Content, Pack;
    fn unpack(request: Unpack, archive: Content) -> UnpackSummary, Unpack;
});
wrapped!(Watch {
    fn watch(request: WatchPath) -> WatchStream, Watch;
});
wrapped!(Code {
    fn run_code(request: RunCode) -> CodeStream, RunCode;
    fn create_context(request: CreateContext) -> ContextInfo, CreateContext;
    fn list_contexts() -> Vec<ContextInfo>, ListContexts;
    fn restart_context(id: &ContextId) -> ContextInfo, RestartContext;
    fn delete_context(id: &ContextId) -> (), DeleteContext;
});
wrapped!(Snapshots {
    fn create(request: CreateSnapshot) -> SnapshotInfo, CreateSnapshot;
    fn restore(id: &SnapshotId) -> Option<Parts>, RestoreSnapshot;
    fn list() -> Vec<SnapshotInfo>, ListSnapshots;
    fn delete(id: &SnapshotId) -> (), DeleteSnapshot;
});
wrapped!(Power {
    fn pause() -> (), Pause;
    fn resume() -> (), Resume;
    fn terminate() -> (), Terminate;
    fn wake_up() -> Option<Parts>, WakeUp;
});
wrapped!(Fork {
    fn fork(count: u32) -> Vec<Parts>, Fork;
});
wrapped!(Ports {
    fn preview_url(port: u16) -> PreviewUrl, PreviewUrl;
    fn close(port: u16) -> (), ClosePort;
});
wrapped!(Metrics {
    fn sample() -> MetricsSample, Metrics;
});
wrapped!(Templates {
    fn list() -> Vec<TemplateInfo>, ListTemplates;
    fn build(request: BuildTemplate) -> TemplateInfo, BuildTemplate;
    fn delete(id: &TemplateId) -> (), DeleteTemplate;
});
wrapped!(SnapshotCatalog {
    fn list() -> Vec<SnapshotInfo>, ListSnapshots;
    fn delete(id: &SnapshotId) -> (), DeleteSnapshot;
});
wrapped!(Volumes {
    fn list() -> Vec<VolumeInfo>, ListVolumes;
    fn create(request: CreateVolume) -> VolumeInfo, CreateVolume;
    fn delete(id: &VolumeId) -> (), DeleteVolume;
});
wrapped!(Provider {
    fn check() -> Health, Check;
    fn create(request: CreateRequest) -> Parts, Create;
    fn connect(id: &SandboxId) -> Parts, Connect;
    fn list(filter: ListFilter) -> Vec<SandboxInfo>, List;
    fn remove(id: &SandboxId, condition: RemoveIf) -> Removal, RemoveSandbox;
    fn sweep(dry_run: DryRun) -> Vec<String>, Sweep;
}
    fn info(&self) -> ProviderInfo {
        self.inner.info()
    }

    fn templates(&self) -> Option<Arc<dyn Templates>> {
        self.inner.templates().map(|inner| Layer::templates(&self.around, &self.scope, inner))
    }

    fn snapshot_catalog(&self) -> Option<Arc<dyn SnapshotCatalog>> {
        self.inner.snapshot_catalog().map(|inner| Layer::snapshot_catalog(&self.around, &self.scope, inner))
    }

    fn volumes(&self) -> Option<Arc<dyn Volumes>> {
        self.inner.volumes().map(|inner| Layer::volumes(&self.around, &self.scope, inner))
    }
);

macro_rules! layer_by_around {
    ($($field:ident: $facet:ident,)+) => {
        #[deny(clippy::missing_trait_methods)]
        impl<A: Around> Layer for A {
            fn provider(&self, inner: Arc<dyn Provider>) -> Arc<dyn Provider> {
                let info = inner.info();
                let scope = Scope { provider: info.name, sandbox: None, capabilities: Arc::new(info.capabilities) };
                Arc::new(Wrapped { around: self.clone(), scope, inner })
            }

            $(
                fn $field(&self, scope: &Scope, inner: Arc<dyn $facet>) -> Arc<dyn $facet> {
                    Arc::new(Wrapped { around: self.clone(), scope: scope.clone(), inner })
                }
            )+
        }
    };
}

layer_by_around! {
    lifecycle: Lifecycle,
    exec: Exec,
    processes: Processes,
    files: Files,
    archive: Archive,
    watch: Watch,
    code: Code,
    snapshots: Snapshots,
    power: Power,
    fork: Fork,
    ports: Ports,
    metrics: Metrics,
    templates: Templates,
    snapshot_catalog: SnapshotCatalog,
    volumes: Volumes,
}
