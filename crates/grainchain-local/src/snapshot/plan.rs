//! What must change so that the workspace becomes what a snapshot holds.

use std::collections::HashSet;

use super::attrs::Attrs;
use super::build::Item;
use super::dirs::{Root, os};
use super::error::{Error, Result};
use super::scan::Scanned;
use super::tree::{Kind, Tree, join};

/// One place where the tree changes. No such place lies below another.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) path: Vec<u8>,
    /// The entry of the snapshot that belongs here, if any.
    pub(super) new: Option<u32>,
    /// Whether something stands here now.
    pub(super) occupied: bool,
}

/// An inode that stays and whose attributes will differ in between or afterwards.
#[derive(Debug)]
pub(super) struct Retouch {
    pub(super) path: Vec<u8>,
    pub(super) node: (u64, u64),
    pub(super) old: Attrs,
    /// The inode of the snapshot whose attributes it gets; `None` if it leaves the workspace.
    pub(super) target: Option<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    pub(super) retouches: Vec<Retouch>,
    /// Pairs of inodes, workspace and snapshot, that are the same in everything.
    pub(super) kept: Vec<(u32, u32)>,
}

/// For each entry of the snapshot, the entry of the workspace under the same path.
///
/// Both stand in directories that exist on both sides.
pub(super) fn pair(now: &Tree, then: &Tree) -> Vec<Option<u32>> {
    let mut pairs = vec![None; then.entries.len()];
    pairs[0] = Some(0);
    let children = now.children();
    for at in 1..then.entries.len() {
        let entry = &then.entries[at];
        pairs[at] = pairs[entry.parent as usize].filter(|dir| now.inode(*dir).is_dir()).and_then(|dir| {
            let siblings = &children[dir as usize];
            let found = siblings
                .binary_search_by(|sibling| now.entries[*sibling as usize].name.cmp(&entry.name))
                .ok()?;
            Some(siblings[found])
        });
    }
    pairs
}

/// Whether reading the file is worth while: what the snapshot holds under its name could be the same.
pub(super) fn could_be_same(now: &Tree, then: &Tree, now_entry: u32, then_entry: u32) -> bool {
    match (&now.inode(now_entry).kind, &then.inode(then_entry).kind) {
        (Kind::File { size, .. }, Kind::File { size: other, .. }) => size == other,
        _ => false,
    }
}

/// Compares the workspace with the snapshot.
///
/// # Errors
///
/// A mounted file system stands in the way.
pub(super) fn plan(root: &Root, scanned: &Scanned, then: &Tree, pairs: &[Option<u32>]) -> Result<Plan> {
    let now = &scanned.tree;
    let kept = kept_inodes(scanned, then, pairs);
    let mut planner = Planner {
        root,
        scanned,
        then,
        kept: &kept,
        now_children: now.children(),
        then_children: then.children(),
        holds_mount: holds_mount(scanned),
        plan: Plan::default(),
    };
    let pairs = kept.iter().zip(0..).filter_map(|(now, then)| now.map(|now| (now, then)));
    planner.plan.kept = pairs
        .filter(|(at, was): &(u32, u32)| now.inodes[*at as usize].attrs == then.inodes[*was as usize].attrs)
        .collect();
    planner.dir(0, 0, &[])?;
    Ok(planner.plan)
}

/// For each inode of the snapshot other than a directory, the inode of the workspace that can stand for it.
fn kept_inodes(scanned: &Scanned, then: &Tree, pairs: &[Option<u32>]) -> Vec<Option<u32>> {
    let now = &scanned.tree;
    let now_names = now.names();
    let same = |names: &Vec<u32>| {
        let first = pairs[*names.first()? as usize]?;
        let inode = now.entries[first as usize].inode;
        let all_here = names
            .iter()
            .all(|name| pairs[*name as usize].is_some_and(|at| now.entries[at as usize].inode == inode));
        if !all_here || now_names[inode as usize].len() != names.len() {
            return None;
        }
        let (is, was) = (&now.inodes[inode as usize], then.inode(names[0]));
        if is.is_dir() || is.kind != was.kind {
            return None;
        }
        // The attributes of a link cannot be changed in place, and those of a file that also has names outside the
        // workspace must not be: it might be anybody's.
        let alone = u64::from(scanned.stats[inode as usize].nlink) == names.len() as u64;
        let adjustable = alone && !matches!(is.kind, Kind::Symlink(_));
        (is.attrs == was.attrs || adjustable).then_some(inode)
    };
    then.names().iter().map(same).collect()
}

/// Which entries are mount points or lead to one.
fn holds_mount(scanned: &Scanned) -> HashSet<u32> {
    let mut found = HashSet::new();
    for mount in &scanned.mounts {
        let mut at = *mount;
        while at != 0 && found.insert(at) {
            at = scanned.tree.entries[at as usize].parent;
        }
    }
    found
}

struct Planner<'a> {
    root: &'a Root,
    scanned: &'a Scanned,
    then: &'a Tree,
    kept: &'a [Option<u32>],
    now_children: Vec<Vec<u32>>,
    then_children: Vec<Vec<u32>>,
    holds_mount: HashSet<u32>,
    plan: Plan,
}

impl Planner<'_> {
    fn dir(&mut self, now: u32, then: u32, path: &[u8]) -> Result<()> {
        // Not recursive: a hostile tree may be deeper than the stack.
        let mut pending = vec![(now, then, path.to_vec())];
        while let Some((now, then, path)) = pending.pop() {
            let before = self.plan.changes.len();
            let theirs = std::mem::take(&mut self.now_children[now as usize]);
            let ours = std::mem::take(&mut self.then_children[then as usize]);
            let (mut theirs, mut ours) = (theirs.into_iter().peekable(), ours.into_iter().peekable());
            loop {
                let name_now = theirs.peek().map(|at| &self.scanned.tree.entries[*at as usize].name);
                let name_then = ours.peek().map(|at| &self.then.entries[*at as usize].name);
                let order = match (name_now, name_then) {
                    (None, None) => break,
                    (Some(_), None) => std::cmp::Ordering::Less,
                    (None, Some(_)) => std::cmp::Ordering::Greater,
                    (Some(now), Some(then)) => now.cmp(then),
                };
                let now = if order.is_le() { theirs.next() } else { None };
                let then = if order.is_ge() { ours.next() } else { None };
                self.place(now, then, &path, &mut pending)?;
            }
            self.retouch_dir(now, then, path, self.plan.changes.len() > before);
        }
        Ok(())
    }

    fn place(
        &mut self,
        now: Option<u32>,
        then: Option<u32>,
        dir: &[u8],
        pending: &mut Vec<(u32, u32, Vec<u8>)>,
    ) -> Result<()> {
        let tree = &self.scanned.tree;
        let name = now.map_or_else(
            || &self.then.entries[then.unwrap_or_default() as usize].name,
            |now| &tree.entries[now as usize].name,
        );
        let path = join(dir, name);
        if let (Some(now), Some(then)) = (now, then) {
            let inode = self.then.entries[then as usize].inode;
            if tree.inode(now).is_dir() && self.then.inode(then).is_dir() {
                if !self.scanned.mounts.contains(&now) {
                    pending.push((now, then, path));
                } else if !self.then_children[then as usize].is_empty() {
                    return Err(self.mount_in_the_way(&path));
                }
                return Ok(());
            }
            if let Some(same) = self.kept[inode as usize] {
                let was = self.then.inode(then);
                if tree.inodes[same as usize].attrs != was.attrs && self.first_name(now) {
                    self.retouch(same, path, Some(inode));
                }
                return Ok(());
            }
        }
        if let Some(now) = now {
            if self.holds_mount.contains(&now) {
                return Err(self.mount_in_the_way(&path));
            }
            if tree.inode(now).is_dir() {
                self.retouch(tree.entries[now as usize].inode, path.clone(), None);
            }
        }
        self.plan.changes.push(Change { path, new: then, occupied: now.is_some() });
        Ok(())
    }

    /// Whether this is the name by which a hard-linked inode is handled once.
    fn first_name(&self, now: u32) -> bool {
        let stat = &self.scanned.stats[self.scanned.tree.entries[now as usize].inode as usize];
        stat.nlink == 1 || !self.plan.retouches.iter().any(|done| done.node == stat.node())
    }

    fn retouch_dir(&mut self, now: u32, then: u32, path: Vec<u8>, changed_inside: bool) {
        let is = self.scanned.tree.entries[now as usize].inode;
        let was = self.then.entries[then as usize].inode;
        if changed_inside
            || self.scanned.tree.inodes[is as usize].attrs != self.then.inodes[was as usize].attrs
        {
            self.retouch(is, path, Some(was));
        } else {
            self.plan.kept.push((is, was));
        }
    }

    fn retouch(&mut self, inode: u32, path: Vec<u8>, target: Option<u32>) {
        let old = self.scanned.tree.inodes[inode as usize].attrs.clone();
        let node = self.scanned.stats[inode as usize].node();
        self.plan.retouches.push(Retouch { path, node, old, target });
    }

    fn mount_in_the_way(&self, path: &[u8]) -> Error {
        let why = "a file system is mounted here or below; unmount it first";
        Error::refused("restore", self.root.show(os(path).as_encoded_bytes()), why)
    }
}

/// What must be built for the changes: each in a slot named by its number, with everything below it.
pub(super) fn items(changes: &[Change], then: &Tree) -> Vec<Item> {
    let children = then.children();
    let mut items = Vec::new();
    for (slot, change) in changes.iter().enumerate() {
        let mut pending: Vec<(u32, Vec<u8>)> =
            change.new.map(|entry| (entry, slot.to_string().into_bytes())).into_iter().collect();
        while let Some((entry, path)) = pending.pop() {
            for child in children[entry as usize].iter().rev() {
                pending.push((*child, join(&path, &then.entries[*child as usize].name)));
            }
            items.push(Item { entry, path });
        }
    }
    items
}
