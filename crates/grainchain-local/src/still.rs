//! Keeping everything in a sandbox still for a moment, and letting it go on whatever happens.

use std::io;
use std::path::PathBuf;

use grainchain_core::{Error, Result, SandboxStatus};
use grainchain_guest::Stage;
use rustix::fs::{AtFlags, OFlags};

use crate::sandbox::{LocalSandbox, stage};
use crate::snapshot::{LiveWriters, Store, Writers};
use crate::state::State;

/// There while something keeps the processes of a running sandbox still. Left by a killed program.
const MARKER: &str = "still";

/// Lets everything go on when it is dropped, also by a panic.
struct Still<'a>(Option<&'a LocalSandbox>);

impl Still<'_> {
    fn end(mut self) -> Result<()> {
        self.0.take().map_or(Ok(()), go_on)
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        if let Some(sandbox) = self.0.take()
            && let Err(error) = go_on(sandbox)
        {
            tracing::warn!(%error, sandbox = %sandbox.id, "a sandbox stands still");
        }
    }
}

fn go_on(sandbox: &LocalSandbox) -> Result<()> {
    sandbox.wait(sandbox.guest.thaw())?;
    let folder = sandbox.folder.open();
    let removed = folder.and_then(|folder| Ok(rustix::fs::unlinkat(folder, MARKER, AtFlags::empty())?));
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format_args!("remove {}", sandbox.folder.0.join(MARKER).display()), error))
        }
        _ => Ok(()),
    }
}

impl LocalSandbox {
    /// Does `work` on the snapshot store while every process of the sandbox stands still. Only [`alone`](Self::alone).
    pub(crate) fn while_still<T>(
        &self,
        state: &State,
        work: impl FnOnce(Store, PathBuf, Writers) -> Result<T>,
    ) -> Result<T> {
        let still = if state.status == SandboxStatus::Running {
            let fail =
                |error| Error::io(format_args!("write {}", self.folder.0.join(MARKER).display()), error);
            self.folder.open_file(MARKER, OFlags::CREATE | OFlags::RDWR).map_err(fail)?;
            let still = Still(Some(self));
            self.wait(self.guest.hold_still())?;
            still
        } else {
            Still(None)
        };
        let writers = Writers::Seen(LiveWriters::of_processes(self.guest.pids()?)?);
        let value = Store::open(self.folder.snapshots())
            .map_err(Error::from)
            .and_then(|store| work(store, self.folder.workspace(), writers));
        let gone_on = still.end();
        let value = value?;
        gone_on.map(|()| value)
    }

    /// Does `work` while nothing is started: what wants to waits, and in a sandbox that does not run it is refused anyway. Only
    /// [`alone`](Self::alone).
    pub(crate) fn without_starts<T>(&self, state: &State, work: impl FnOnce() -> Result<T>) -> Result<T> {
        struct Shut<'a>(&'a LocalSandbox, Stage);
        impl Drop for Shut<'_> {
            fn drop(&mut self) {
                self.0.guest.set_stage(self.1);
            }
        }
        let _shut = Shut(self, stage(state.status));
        if state.status == SandboxStatus::Running {
            self.wait(self.guest.hold_starts())?;
        }
        work()
    }

    /// Lets go on what a killed program has left standing still. Only [`alone`](Self::alone).
    pub(crate) fn recover_stillness(&self) -> Result<()> {
        let marker = self.folder.0.join(MARKER);
        if std::fs::symlink_metadata(&marker).is_err() {
            return Ok(());
        }
        let state = self.folder.read(&self.id)?;
        let stage = stage(state.status);
        if state.status == SandboxStatus::Running {
            go_on(self)?;
        }
        self.guest.set_stage(stage);
        Ok(())
    }
}
