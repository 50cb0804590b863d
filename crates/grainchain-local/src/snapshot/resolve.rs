//! The second pass: reading the files that the index could not speak for.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::attrs::{Attrs, Stat, xattrs_of_fd};
use super::dirs::{Chain, Root, os};
use super::error::{At, Result};
use super::objects::{Captured, Objects};
use super::scan::{ATTEMPTS, Scanned, Trust};
use super::tree::{Inode, Kind, split};

/// What became of reading the files.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// What was added to the store.
    pub(super) added: u64,
    /// Files that did not hold still, below the workspace.
    pub(super) changing: Vec<PathBuf>,
}

/// Reads the `wanted` entries, into the store if `work` is given, and completes their inodes in `scanned`.
pub(super) fn resolve(
    root: &Root,
    scanned: &mut Scanned,
    wanted: &[u32],
    trust: &Trust<'_>,
    objects: &Objects,
    work: Option<&std::os::fd::OwnedFd>,
    threads: usize,
) -> Result<Resolved> {
    let paths: Vec<Vec<u8>> = wanted.iter().map(|entry| scanned.tree.path(*entry)).collect();
    let found = in_parallel(paths.len(), threads, || {
        let mut chain = Chain::new(&root.fd);
        let mut buffer = Vec::new();
        let paths = &paths;
        move |at: usize| read(root, &mut chain, &paths[at], trust, objects, work, &mut buffer)
    })?;
    let mut total = Resolved::default();
    for ((entry, path), read) in wanted.iter().zip(paths).zip(found) {
        let inode = scanned.tree.entries[*entry as usize].inode as usize;
        let Some(read) = read else {
            scanned.gone.insert(*entry);
            continue;
        };
        total.added += read.added;
        // Another file under the same name while other names still lead to the first one is a change in itself.
        if read.changing || read.stat.node() != scanned.stats[inode].node() {
            total.changing.push(os(&path).into());
        }
        scanned.tree.inodes[inode] = read.inode;
        scanned.stats[inode] = read.stat;
    }
    // An inode whose first name vanished has no data, so its other names go as well.
    let entries = &scanned.tree.entries;
    let lost: HashSet<u32> = wanted
        .iter()
        .filter(|entry| scanned.gone.contains(entry))
        .map(|entry| entries[*entry as usize].inode)
        .collect();
    for (at, _) in entries.iter().enumerate().filter(|(_, entry)| lost.contains(&entry.inode)) {
        if scanned.gone.insert(at as u32) {
            total.changing.push(os(&scanned.tree.path(at as u32)).into());
        }
    }
    Ok(total)
}

/// Runs `count` jobs on some threads; each thread makes its own worker. The first error ends them all.
pub(super) fn in_parallel<T: Send, W: FnMut(usize) -> Result<T>>(
    count: usize,
    threads: usize,
    worker: impl Fn() -> W + Sync,
) -> Result<Vec<T>> {
    // Neighbours stand in the same directory, so a thread takes several at once.
    const BATCH: usize = 8;
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(count));
    let failed = Mutex::new(None);
    let work = || {
        let mut run = worker();
        let mut mine = Vec::new();
        loop {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            if first >= count {
                break;
            }
            for at in first..(first + BATCH).min(count) {
                match run(at) {
                    Ok(value) => mine.push((at, value)),
                    Err(error) => {
                        next.store(count, Ordering::Relaxed);
                        failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(error);
                        return;
                    }
                }
            }
        }
        done.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).append(&mut mine);
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(count.div_ceil(BATCH)) {
            scope.spawn(work);
        }
        work();
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        return Err(error);
    }
    let mut done = done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, value)| value).collect())
}

struct Read {
    inode: Inode,
    stat: Stat,
    added: u64,
    changing: bool,
}

/// `None` if the file is gone or has become something else.
fn read(
    root: &Root,
    chain: &mut Chain<'_>,
    path: &[u8],
    trust: &Trust<'_>,
    objects: &Objects,
    work: Option<&std::os::fd::OwnedFd>,
    buffer: &mut Vec<u8>,
) -> Result<Option<Read>> {
    let (dir, name) = split(path);
    // Without blocking: a file may have become a pipe since it was seen.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = chain.enter(dir).and_then(|dir| rustix::fs::openat(dir, name, flags, Mode::empty()));
    let file = match opened {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
        // What is only compared may be closed to its own user: it is replaced by what can be read.
        Err(Errno::ACCESS) if work.is_none() => return Ok(None),
        Err(error) => return Err(error).at("read", root.show(path)),
    };
    let mut before = Stat::of_fd(file.as_fd()).at("inspect", root.show(path))?;
    if before.file_type() != FileType::RegularFile {
        return Ok(None);
    }
    let mut added = 0;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let xattrs = xattrs_of_fd(file.as_fd()).at("read the attributes of", root.show(path))?;
        // Changes that leave no time stamp show in one way only: two readings differ.
        let first = if trust.is_written(&before) && work.is_some() {
            Some(objects.capture(&file, &before, None, buffer).at("read", root.show(path))?)
        } else {
            None
        };
        let Captured { size, content, added: more } =
            objects.capture(&file, &before, work, buffer).at("store", root.show(path))?;
        added += more;
        let after = Stat::of_fd(file.as_fd()).at("inspect", root.show(path))?;
        let steady = after.same_version(&before) && first.is_none_or(|first| first.content == content);
        if steady || attempts == ATTEMPTS {
            let inode = Inode {
                attrs: Attrs::of(&before, xattrs),
                kind: Kind::File { size, content: Some(content) },
            };
            return Ok(Some(Read { inode, stat: before, added, changing: !steady }));
        }
        before = after;
    }
}
