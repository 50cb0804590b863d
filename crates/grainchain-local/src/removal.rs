//! The end of a sandbox: judged while nobody else can change it, out of sight in one step, torn down afterwards.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::SystemTime;

use grainchain_core::types::id::random_id;
use grainchain_core::{Error, ErrorKind, Removal, RemoveIf, Result, SandboxId};
use rustix::fs::{AtFlags, CWD, Mode};

use crate::layout::{Folder, Layout, missing, own_directory};
use crate::lease::Exclusion;
use crate::limbo::{GONE, remove_tree};
use crate::lock::Lock;
use crate::state::broken_info;

/// A sandbox that is about to end: no other program changes it, and nobody connects to one that nobody holds.
#[derive(Debug)]
pub(crate) struct Seized {
    id: SandboxId,
    folder: Folder,
    layout: Layout,
    /// None where commands have put something else in its place.
    _lock: Option<Lock>,
    exclusion: Option<Exclusion>,
}

impl Layout {
    /// Ends sandbox `id` if `condition` holds, with `kill` for its processes.
    ///
    /// # Errors
    ///
    /// As [`seize`](Self::seize) and [`Seized::end`].
    pub(crate) fn end(
        &self,
        id: &SandboxId,
        condition: RemoveIf,
        kill: impl Fn() -> Result<usize>,
    ) -> Result<Removal> {
        match self.seize(id, condition, &kill)? {
            Some(seized) => seized.end(&kill).map(|()| Removal::Removed),
            None => Ok(Removal::Kept),
        }
    }

    /// Takes hold of sandbox `id` in order to end it; none when `condition` does not hold. Nothing is killed before it
    /// was seen to hold. Blocks the thread.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is none, `Conflict` when another program is changing it.
    pub(crate) fn seize(
        &self,
        id: &SandboxId,
        condition: RemoveIf,
        kill: impl Fn() -> Result<usize>,
    ) -> Result<Option<Seized>> {
        let folder = self.folder(id)?;
        let ready = own_directory(&self.sandboxes()).and_then(|found| {
            // Where there are no sandboxes nothing is made in order to remove one.
            if found { self.prepare() } else { Err(missing(id)) }
        });
        if let Err(error) = ready {
            if condition == RemoveIf::Always {
                kill()?;
            }
            return Err(error);
        }
        let exclusion = match condition {
            RemoveIf::Abandoned => match Exclusion::take(&folder) {
                Err(_) | Ok(None) if folder.is_gone() => return Err(missing(id)),
                Ok(None) => return Ok(None),
                taken => taken?,
            },
            RemoveIf::Always | RemoveIf::Expired | RemoveIf::Broken => None,
        };
        let holds = || judge(&folder, id, condition, exclusion.as_ref());
        if !holds()? {
            return Ok(None);
        }
        let lock = match folder.try_lock(id) {
            Ok(None) => {
                // Perhaps one of its own commands holds the lock.
                kill()?;
                folder.lock(id).map(Some)
            }
            lock => lock,
        };
        let lock = match lock {
            Err(error) if error.kind() == ErrorKind::Conflict => return Err(error),
            // Whatever commands have put in the place of the lock goes with the rest.
            lock => lock.ok().flatten(),
        };
        // Again: before the lock was held it could be changed.
        if !holds()? {
            return Ok(None);
        }
        Ok(Some(Seized { id: id.clone(), folder, layout: self.clone(), _lock: lock, exclusion }))
    }
}

/// Whether `condition` holds for the sandbox in `folder` as it is on disk now.
fn judge(
    folder: &Folder,
    id: &SandboxId,
    condition: RemoveIf,
    exclusion: Option<&Exclusion>,
) -> Result<bool> {
    if condition == RemoveIf::Always {
        return Ok(true);
    }
    let mut info = match folder.read(id) {
        Ok(state) => state.info(folder),
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
        Err(error) => broken_info(id.clone(), &error),
    };
    if let (Some(_), Some(lease)) = (exclusion, &mut info.lease) {
        // Looks held from outside: by us.
        lease.held = Some(false);
    }
    Ok(condition.allows(&info, SystemTime::now()))
}

impl Seized {
    /// Takes it out of the list, kills its processes with `kill` and removes its folder. What fails half way can be repeated, and
    /// the next sweep does that too.
    ///
    /// # Errors
    ///
    /// `NotFound` when nothing is left of it.
    pub(crate) fn end(self, kill: impl Fn() -> Result<usize>) -> Result<()> {
        let Self { id, folder, layout, _lock, exclusion } = self;
        // Out of sight first: another program that still uses it looks whether it is there before it starts anything.
        let gone = [format!("{GONE}_{id}"), random_id(GONE)].map(|name| layout.limbo().join(name));
        let moved = move_away(&folder, &gone);
        // Whoever waits in order to connect finds nothing there any more.
        drop(exclusion);
        kill()?;
        let was_there = moved.map_err(|error| {
            Error::io(format_args!("remove {}", folder.0.display()), error)
                .hint(format!("make {} and what is in it writable", layout.root().display()))
        })?;
        let mut left = false;
        for target in gone.map(Folder).iter().filter(|target| !target.is_gone()) {
            left = true;
            remove_tree(&target.0)?;
        }
        if was_there || left { Ok(()) } else { Err(missing(&id)) }
    }
}

/// Moves a folder to the first of `targets` that is free. Returns whether it was there.
fn move_away(folder: &Folder, targets: &[PathBuf]) -> io::Result<bool> {
    let mut moved = Ok(());
    for target in targets {
        moved = fs::rename(&folder.0, target);
        if matches!(&moved, Err(error) if error.kind() == io::ErrorKind::PermissionDenied) {
            // A directory that forbids changes cannot change its parent either.
            unlock(folder)?;
            moved = fs::rename(&folder.0, target);
        }
        match moved.as_ref().map_err(io::Error::kind) {
            Ok(()) => return Ok(true),
            Err(io::ErrorKind::NotFound) => return Ok(false),
            // An interrupted removal has left something there, or the name leaves no room for ours: the next one.
            Err(
                io::ErrorKind::DirectoryNotEmpty
                | io::ErrorKind::AlreadyExists
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::InvalidFilename,
            ) => {}
            Err(_) => break,
        }
    }
    match moved {
        Err(error) if error.kind() == io::ErrorKind::InvalidFilename => Ok(false),
        moved => moved.map(|()| true),
    }
}

fn unlock(folder: &Folder) -> io::Result<()> {
    let folder = folder.open()?;
    let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
    Ok(rustix::fs::chmodat(CWD, path.as_str(), Mode::RWXU, AtFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{Lease, is_held};
    use crate::state::State;

    struct Place {
        _root: tempfile::TempDir,
        layout: Layout,
        id: SandboxId,
        folder: Folder,
    }

    /// A sandbox whose client is gone.
    fn abandoned(change: impl FnOnce(&mut State)) -> Place {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path().join("root"));
        let mut state = State::new("owner".to_owned(), "key".to_owned());
        change(&mut state);
        let (folder, lease) = layout.make(&state, |_| Ok(())).unwrap();
        drop(lease);
        Place { _root: root, layout, id: state.id, folder }
    }

    fn nothing_runs() -> Result<usize> {
        Ok(0)
    }

    fn must_not_kill() -> Result<usize> {
        panic!("killed for a sandbox that is kept")
    }

    /// Takes hold of it; others may share its lease for the moment in which they start a child.
    fn seize(place: &Place) -> Seized {
        loop {
            let seized = place.layout.seize(&place.id, RemoveIf::Abandoned, nothing_runs).unwrap();
            if let Some(seized) = seized {
                return seized;
            }
        }
    }

    #[test]
    fn nobody_connects_to_what_is_seized_as_abandoned_until_it_is_gone() {
        let place = abandoned(|_| {});
        let seized = seize(&place);
        assert_eq!(is_held(&place.folder), Some(true));
        let folder = place.folder.clone();
        let connecting = std::thread::spawn(move || Lease::take(&folder));
        seized.end(nothing_runs).unwrap();
        // Whether it came too late or waited in vain: what it has found is not there.
        drop(connecting.join().unwrap());
        assert!(place.folder.is_gone());
        let error = place.layout.seize(&place.id, RemoveIf::Abandoned, must_not_kill).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_somebody_holds_or_wants_kept_is_not_abandoned() {
        let held = abandoned(|_| {});
        let lease = Lease::take(&held.folder).unwrap();
        assert!(held.layout.seize(&held.id, RemoveIf::Abandoned, must_not_kill).unwrap().is_none());
        drop(lease);
        seize(&held);
        let kept = abandoned(|state| state.keep = true);
        assert!(kept.layout.seize(&kept.id, RemoveIf::Abandoned, must_not_kill).unwrap().is_none());
    }

    #[test]
    fn a_lease_that_a_command_has_removed_keeps_nobody_out_of_the_judgement() {
        let place = abandoned(|_| {});
        fs::remove_file(place.folder.0.join("lease")).unwrap();
        let _seized = seize(&place);
        assert_eq!(is_held(&place.folder), Some(true));
    }

    #[test]
    fn garbage_in_the_place_of_the_lease_is_an_error_and_kills_nothing() {
        let place = abandoned(|_| {});
        fs::remove_file(place.folder.0.join("lease")).unwrap();
        fs::create_dir(place.folder.0.join("lease")).unwrap();
        let error = place.layout.seize(&place.id, RemoveIf::Abandoned, must_not_kill).unwrap_err();
        assert!(error.to_string().contains("lease"), "{error}");
    }
}
