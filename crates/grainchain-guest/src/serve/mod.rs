//! The helper's half: requests from a link become calls of the facets of a [`Guest`], or of whatever else has them all.
//!
//! One request is one channel and one task. A client that goes away, or that does not want an answer any more, drops the call's future,
//! and with it everything that dropping it means in process.

mod conversation;
mod files;
mod handles;
mod run;
mod streams;
mod tunnel;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use grainchain_core::facet::{Archive, Code, Exec, Files, Metrics, Processes, Watch};
use grainchain_core::{
    Content, ListFiles, MakeDir, PtySize, Remove, Rename, Result, Signal, Stat, UnpackSummary,
};
use tokio::sync::mpsc;

use self::conversation::Conversation;
use self::handles::Handles;
use crate::guest::Guest;
use crate::link;
use crate::message::{Control, Request, SandboxState, WireContext, WireFile, WireMetrics, WireProcess};

/// Whoever started the guest, for what the guest itself cannot answer.
#[async_trait]
pub trait Host: Debug + Send + Sync + 'static {
    /// How the sandbox is now.
    fn state(&self) -> SandboxState;
    /// Carries out what changes it.
    ///
    /// # Errors
    ///
    /// When it is not possible now.
    async fn control(&self, control: Control) -> Result<()>;
    /// Lets every process stand still, and what wants to start wait.
    ///
    /// # Errors
    ///
    /// When something does not stand still.
    async fn hold_still(&self) -> Result<()>;
    /// Undoes [`hold_still`](Self::hold_still).
    ///
    /// # Errors
    ///
    /// When something does not go on.
    async fn go_on(&self) -> Result<()>;
    /// The folder `path` as a tar, with everything that [bringing it back](Self::bring_back) takes.
    ///
    /// # Errors
    ///
    /// When it cannot be read whole.
    async fn keep(&self, path: String) -> Result<Content>;
    /// Puts what was kept into the folder `path`.
    ///
    /// # Errors
    ///
    /// When it cannot be put there as it was.
    async fn bring_back(&self, path: String, kept: Content) -> Result<UnpackSummary>;
}

/// What a sandbox can do, seen from inside of it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the facet of its name")]
pub struct Inside {
    pub exec: Arc<dyn Exec>,
    pub processes: Arc<dyn Processes>,
    pub files: Arc<dyn Files>,
    pub archive: Arc<dyn Archive>,
    pub watch: Arc<dyn Watch>,
    pub code: Arc<dyn Code>,
    pub metrics: Arc<dyn Metrics>,
}

impl From<Guest> for Inside {
    fn from(guest: Guest) -> Self {
        let guest = Arc::new(guest);
        Self {
            exec: Arc::<Guest>::clone(&guest),
            processes: Arc::<Guest>::clone(&guest),
            files: Arc::<Guest>::clone(&guest),
            archive: Arc::<Guest>::clone(&guest),
            watch: Arc::<Guest>::clone(&guest),
            code: Arc::<Guest>::clone(&guest),
            metrics: guest,
        }
    }
}

/// Answers `requests` until there are none any more.
pub async fn serve(
    mut requests: mpsc::UnboundedReceiver<link::Request>,
    inside: impl Into<Inside>,
    host: Arc<dyn Host>,
) {
    let service = Arc::new(Service { inside: inside.into(), host, handles: Handles::default() });
    while let Some(request) = requests.recv().await {
        tokio::spawn(Arc::clone(&service).answer(request));
    }
}

/// What every request may need.
#[derive(Debug)]
struct Service {
    inside: Inside,
    host: Arc<dyn Host>,
    handles: Handles,
}

impl Service {
    async fn answer(self: Arc<Self>, request: link::Request) {
        let mut talk = Conversation::new(request.channel);
        let answered = match talk.request(&request.header).await {
            Ok(request) => self.dispatch(request, &mut talk).await,
            Err(error) => Err(error),
        };
        if let Err(error) = answered {
            talk.refuse(&error).await;
        }
    }

    /// Carries out one request. An error is told to the client by the caller.
    async fn dispatch(&self, request: Request, talk: &mut Conversation) -> Result<()> {
        let inside = &self.inside;
        match request {
            Request::Execute(command) => run::execute(inside, *command, talk).await,
            Request::Spawn(command) => run::spawn(inside, &self.handles, *command, talk).await,
            Request::Attach { id } => run::attach(inside, &self.handles, &id.into(), talk).await,
            Request::ListProcesses => {
                let mut list = talk.unless_gone(inside.processes.list()).await?;
                self.handles.add_parked(&mut list);
                talk.answer(&list.into_iter().map(WireProcess::from).collect::<Vec<_>>()).await
            }
            Request::Next { handle, seen } => run::next(&self.handles, handle, seen, talk).await,
            Request::Seen { handle, seen } => {
                self.handles.follow(handle)?.lock().await.confirm(seen)?;
                talk.answer(&()).await
            }
            Request::WriteInput { handle } => {
                let control = self.handles.control(handle)?;
                while let Some(bytes) = talk.data().await? {
                    talk.unless_gone(control.write(bytes)).await?;
                }
                talk.answer(&()).await
            }
            Request::CloseInput { handle } => {
                let control = self.handles.control(handle)?;
                talk.unless_gone(control.close_stdin()).await?;
                talk.answer(&()).await
            }
            Request::Signal { handle, number } => {
                let (control, signal) = (self.handles.control(handle)?, Signal::new(number)?);
                talk.unless_gone(control.signal(signal)).await?;
                talk.answer(&()).await
            }
            Request::Kill { handle } => {
                let control = self.handles.control(handle)?;
                talk.unless_gone(control.kill()).await?;
                talk.answer(&()).await
            }
            Request::Resize { handle, columns, rows } => {
                let control = self.handles.control(handle)?;
                let size = PtySize { columns, rows };
                talk.unless_gone(control.resize(size)).await?;
                talk.answer(&()).await
            }
            Request::Read { path, offset, length } => files::read(inside, path, offset, length, talk).await,
            Request::Write { path, mode, parents, length } => {
                files::write(inside, path, mode, parents, length, talk).await
            }
            Request::Stat { path, follow } => {
                let mut request = Stat::new(path);
                request.follow = follow;
                let info = talk.unless_gone(inside.files.stat(request)).await?;
                talk.answer(&WireFile::from(info)).await
            }
            Request::List { path, depth } => {
                let request = ListFiles::new(path).depth(depth);
                let list = talk.unless_gone(inside.files.list(request)).await?;
                talk.answer(&list.into_iter().map(WireFile::from).collect::<Vec<_>>()).await
            }
            Request::MakeDir { path, parents, mode } => {
                let mut request = MakeDir::new(path);
                (request.parents, request.mode) = (parents, mode);
                talk.unless_gone(inside.files.make_dir(request)).await?;
                talk.answer(&()).await
            }
            Request::Remove { path, recursive, missing_ok } => {
                let mut request = Remove::new(path);
                (request.recursive, request.missing_ok) = (recursive, missing_ok);
                talk.unless_gone(inside.files.remove(request)).await?;
                talk.answer(&()).await
            }
            Request::Rename { from, to, replace } => {
                let mut request = Rename::new(from, to);
                request.replace = replace;
                talk.unless_gone(inside.files.rename(request)).await?;
                talk.answer(&()).await
            }
            Request::Pack { path } => files::pack(inside, path, talk).await,
            Request::Unpack { path } => files::unpack(inside, path, talk).await,
            Request::Watch { path, recursive } => streams::watch(inside, path, recursive, talk).await,
            Request::RunCode(request) => streams::run_code(inside, *request, talk).await,
            Request::CreateContext(request) => {
                let info = talk.unless_gone(inside.code.create_context(request.into())).await?;
                talk.answer(&WireContext::from(info)).await
            }
            Request::ListContexts => {
                let list = talk.unless_gone(inside.code.list_contexts()).await?;
                talk.answer(&list.into_iter().map(WireContext::from).collect::<Vec<_>>()).await
            }
            Request::RestartContext { id } => {
                let id = id.into();
                let info = talk.unless_gone(inside.code.restart_context(&id)).await?;
                talk.answer(&WireContext::from(info)).await
            }
            Request::DeleteContext { id } => {
                let id = id.into();
                talk.unless_gone(inside.code.delete_context(&id)).await?;
                talk.answer(&()).await
            }
            Request::Metrics => {
                let sample = talk.unless_gone(inside.metrics.sample()).await?;
                talk.answer(&WireMetrics::from(sample)).await
            }
            Request::HoldStill => streams::hold_still(&*self.host, talk).await,
            Request::Keep { path } => files::keep(&*self.host, path, talk).await,
            Request::BringBack { path } => files::bring_back(&*self.host, path, talk).await,
            Request::Connect { port } => tunnel::connect(port, talk).await,
            Request::Control(Control::State) => talk.answer(&self.host.state()).await,
            Request::Control(control) => {
                self.host.control(control).await?;
                talk.answer(&self.host.state()).await
            }
        }
    }
}
