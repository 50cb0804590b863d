//! Making files and directories from a snapshot, where nobody else can reach them yet.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::attrs::{apply, grasp};
use super::dirs::{Chain, make_dir, os};
use super::error::{At, Error, Problem, Result};
use super::failpoint::step;
use super::objects::{Objects, Trouble};
use super::resolve::in_parallel;
use super::tree::{Kind, Tree, split};

/// One name to be made: an entry of the snapshot, and where it goes below the destination.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) entry: u32,
    pub(super) path: Vec<u8>,
}

/// What could not be given back for want of a privilege, below the workspace.
pub(super) type Missing = Vec<(PathBuf, String)>;

/// Makes `items`, parents before children, below `dest`. Directories for which `open` holds stay accessible to this
/// user; the caller gives them their attributes later.
pub(super) fn build(
    dest: &OwnedFd,
    tree: &Tree,
    items: &[Item],
    objects: &Objects,
    threads: usize,
    open: impl Fn(&Item) -> bool,
) -> Result<Missing> {
    const OPERATION: &str = "restore";
    let shown = |item: &Item| os(&tree.path(item.entry)).to_owned();
    let mut firsts: HashMap<u32, usize> = HashMap::new();
    let (mut dirs, mut leaves, mut links) = (Vec::new(), Vec::new(), Vec::new());
    for (at, item) in items.iter().enumerate() {
        let inode = tree.entries[item.entry as usize].inode;
        if tree.inode(item.entry).is_dir() {
            dirs.push(item);
        } else if let Some(first) = firsts.get(&inode) {
            links.push((*first, item));
        } else {
            firsts.insert(inode, at);
            leaves.push(item);
        }
    }
    let mut chain = Chain::new(dest);
    for item in &dirs {
        let (dir, name) = split(&item.path);
        if !name.is_empty() {
            chain.enter(dir).and_then(|dir| make_dir(dir, name)).at(OPERATION, shown(item))?;
        }
    }
    step("directories built");
    let leaves = &leaves;
    let made = in_parallel(leaves.len(), threads, || {
        let mut chain = Chain::new(dest);
        let mut buffer = Vec::new();
        move |at: usize| {
            let item: &Item = leaves[at];
            let (dir, name) = split(&item.path);
            let made = chain
                .enter(dir)
                .map_err(Trouble::from)
                .and_then(|dir| make_leaf(dir, name, tree, item.entry, objects, &mut buffer));
            step("file built");
            made.map_err(|trouble| {
                let problem = match trouble {
                    Trouble::Io(error) => Problem::Io(error),
                    Trouble::Damaged(what) => Problem::Damaged(what),
                };
                Error::new(OPERATION, shown(item), problem)
            })
        }
    })?;
    let mut missing = Missing::new();
    let mut note = |item: &Item, what: Vec<String>| {
        missing.extend(what.into_iter().map(|what| (shown(item).into(), what)));
    };
    for (item, what) in leaves.iter().zip(made) {
        note(item, what);
    }
    let mut from_chain = Chain::new(dest);
    for (first, item) in links {
        let (from_dir, from) = split(&items[first].path);
        let (to_dir, to) = split(&item.path);
        let from_dir = from_chain.enter(from_dir).at(OPERATION, shown(item))?;
        let to_dir = chain.enter(to_dir).at(OPERATION, shown(item))?;
        match rustix::fs::linkat(from_dir, from, to_dir, to, AtFlags::empty()) {
            // The first name stands for a device that could not be made, which has been noted.
            Err(Errno::NOENT) => note(item, vec!["the device itself".to_owned()]),
            other => other.at(OPERATION, shown(item))?,
        }
    }
    // Children first: making one changes the time of its directory, and a directory may forbid changes.
    for item in dirs.iter().rev().filter(|item| !open(item)) {
        let (dir, name) = split(&item.path);
        let fd = chain.enter(dir).and_then(|dir| grasp(dir, name)).at(OPERATION, shown(item))?;
        note(item, apply(fd.as_fd(), &tree.inode(item.entry).attrs).at(OPERATION, shown(item))?);
    }
    Ok(missing)
}

fn make_leaf(
    dir: BorrowedFd<'_>,
    name: &[u8],
    tree: &Tree,
    entry: u32,
    objects: &Objects,
    buffer: &mut Vec<u8>,
) -> Result<Vec<String>, Trouble> {
    let inode = tree.inode(entry);
    let node = |kind, device| rustix::fs::mknodat(dir, name, kind, Mode::RUSR | Mode::WUSR, device);
    match &inode.kind {
        Kind::Dir => {}
        Kind::File { size, content } => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let fd = rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?;
            let file = File::from(fd);
            let content = content
                .as_ref()
                .ok_or_else(|| Trouble::Damaged("the manifest says nothing about its data".into()))?;
            objects.write_to(&file, *size, content, buffer)?;
            return Ok(apply(file.as_fd(), &inode.attrs)?);
        }
        Kind::Symlink(target) => rustix::fs::symlinkat(target.as_slice(), dir, name)?,
        Kind::Fifo => node(FileType::Fifo, 0)?,
        Kind::Socket => node(FileType::Socket, 0)?,
        Kind::Device { character, rdev } => {
            let kind = if *character { FileType::CharacterDevice } else { FileType::BlockDevice };
            match node(kind, *rdev) {
                Err(Errno::PERM) => return Ok(vec!["the device itself".to_owned()]),
                other => other?,
            }
        }
    }
    Ok(apply(grasp(dir, name)?.as_fd(), &inode.attrs)?)
}
