//! Sandboxes that are not there yet or no longer: built up and torn down out of sight, so that a list never shows half of one.

use std::fs::{self, File};
use std::path::Path;

use grainchain_core::types::id::random_id;
use grainchain_core::{DryRun, Error, Result, SandboxId};
use grainchain_guest::kill_processes_of;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};

use crate::layout::{Folder, Layout, make_dir, own_directory};
use crate::lease::{self, Lease};
use crate::lock::{self, MOMENT};
use crate::state::{State, tag_of};

const DRAFT: &str = "new";
/// What the name of a sandbox begins with that has ended and is being removed.
pub(crate) const GONE: &str = "gone";
const LOCK_FILE: &str = "lock";

impl Layout {
    /// Makes a sandbox's folder, filled by `fill` before anybody can see it.
    pub(crate) fn make(
        &self,
        state: &State,
        fill: impl FnOnce(&Folder) -> Result<()>,
    ) -> Result<(Folder, Lease)> {
        let draft = Folder(self.limbo().join(random_id(DRAFT)));
        let made = (|| {
            self.prepare()?;
            // Held from before it can be seen, so that nobody takes it for left behind.
            let lease = {
                let _no_sweep = self.lock_limbo(FlockOperation::NonBlockingLockShared)?;
                make_dir(&draft.0)?;
                Lease::take(&draft)?
            };
            make_dir(&draft.workspace())?;
            make_dir(&draft.temporary())?;
            fill(&draft)?;
            draft.write(state)?;
            let folder = self.folder(&state.id)?;
            fs::rename(&draft.0, &folder.0).map_err(|error| {
                Error::io(format_args!("put the sandbox in {}", folder.0.display()), error)
            })?;
            Ok((folder, lease))
        })();
        if made.is_err() && !draft.is_gone() {
            // The error that matters is the one above; what stays in limbo is no sandbox and goes with the next gc.
            remove_tree(&draft.0).ok();
        }
        made.map_err(|error: Error| match error.remedy() {
            Some(_) => error,
            None => error.hint(format!(
                "see that {} is a directory that you may write to, or set `root` in [providers.local]",
                self.root().display()
            )),
        })
    }

    /// Removes what killed programs left half made or half removed, with the processes of the latter.
    pub(crate) fn sweep(&self, dry_run: DryRun) -> Result<Vec<String>> {
        let mut swept = Vec::new();
        let mut failed = None;
        for draft in self.left_behind()? {
            let done = match dry_run {
                DryRun::Yes => Ok(()),
                DryRun::No => sweep_one(&draft),
            };
            match done {
                Ok(()) => swept.push(draft.0.display().to_string()),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(swept), Err)
    }

    fn left_behind(&self) -> Result<Vec<Folder>> {
        let limbo = self.limbo();
        if !own_directory(&limbo)? {
            return Ok(Vec::new());
        }
        let _nobody_begins = self.lock_limbo(FlockOperation::NonBlockingLockExclusive)?;
        let fail = |error| Error::io(format_args!("list {}", limbo.display()), error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&limbo).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            let draft = Folder(entry.path());
            let held = || lease::is_held(&draft);
            let name = name.to_str().unwrap_or_default();
            // In one that is gone commands may have put anything in the place of the lease.
            let left = (part_of(name, DRAFT).is_some() && held() == Some(false))
                || (part_of(name, GONE).is_some() && held() != Some(true));
            if left {
                found.push(draft);
            }
        }
        Ok(found)
    }

    /// Whoever begins a draft shares the lock until the draft's lease is taken; whoever looks for left ones excludes them.
    fn lock_limbo(&self, operation: FlockOperation) -> Result<File> {
        let path = self.limbo().join(LOCK_FILE);
        let fail = |error| Error::io(format_args!("take the lock {}", path.display()), error);
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| fail(errno.into()))?;
        let file = File::from(file);
        if !lock::take(&file, operation, MOMENT).map_err(fail)? {
            return Err(lock::kept(&path, &file).hint("end it"));
        }
        Ok(file)
    }
}

fn part_of<'a>(name: &'a str, kind: &str) -> Option<&'a str> {
    name.strip_prefix(kind)?.strip_prefix('_')
}

fn sweep_one(draft: &Folder) -> Result<()> {
    if let Some(id) = draft.0.file_name().and_then(|name| part_of(name.to_str()?, GONE)) {
        kill_processes_of(tag_of(&SandboxId::new(id)))?;
    }
    remove_tree(&draft.0)
}

/// Removes a tree that hostile commands may have made deep, read-only or full of links. One that vanishes meanwhile is no error.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::unexpected(format!("{} cannot be removed", path.display())));
    };
    let removed = grainchain_core::tree::Root::open(parent).and_then(|root| root.remove_all(name));
    match removed {
        Err(_) if Folder(path.to_owned()).is_gone() => Ok(()),
        removed => removed.map_err(|error| {
            Error::from(error).hint(format!("it lies below {}; close or gc tries again", parent.display()))
        }),
    }
}
