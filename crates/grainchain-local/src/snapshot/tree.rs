//! A directory tree as data: inodes and the names that lead to them.

use std::collections::HashMap;

use super::attrs::Attrs;

/// The blake3 hash that names an object.
pub(super) type ObjectId = [u8; 32];

/// The data of a regular file: one object, and where its bytes lie if the file has holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) object: ObjectId,
    /// `(offset, length)` of each run of data, packed in this order in the object. `None`: one run, the whole file.
    pub(super) extents: Option<Vec<(u64, u64)>>,
}

impl Content {
    /// How long the object is. Zero means that there is none.
    pub(super) fn stored_len(&self, size: u64) -> u64 {
        self.extents.as_ref().map_or(size, |extents| extents.iter().map(|(_, len)| len).sum())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Dir,
    /// `content` is `None` while nobody has read the file; a manifest holds no such file.
    File {
        size: u64,
        content: Option<Content>,
    },
    Symlink(Vec<u8>),
    Fifo,
    /// The name of a socket. Whoever listened behind it is not part of a snapshot.
    Socket,
    Device {
        character: bool,
        rdev: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) attrs: Attrs,
    pub(super) kind: Kind,
}

impl Inode {
    pub(super) fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) parent: u32,
    pub(super) name: Vec<u8>,
    pub(super) inode: u32,
}

/// Entry 0 is the root. A parent stands before its children, and the children of one directory stand together,
/// sorted by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub(super) inodes: Vec<Inode>,
    pub(super) entries: Vec<Entry>,
}

impl Tree {
    pub(super) fn inode(&self, entry: u32) -> &Inode {
        &self.inodes[self.entries[entry as usize].inode as usize]
    }

    /// The path below the root, without a slash at either end; empty for the root.
    pub(super) fn path(&self, mut entry: u32) -> Vec<u8> {
        let mut names = Vec::new();
        while entry != 0 {
            names.push(self.entries[entry as usize].name.as_slice());
            entry = self.entries[entry as usize].parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// The children of every directory, by entry.
    pub(super) fn children(&self) -> Vec<Vec<u32>> {
        let mut children = vec![Vec::new(); self.entries.len()];
        for (at, entry) in self.entries.iter().enumerate().skip(1) {
            children[entry.parent as usize].push(at as u32);
        }
        children
    }

    /// The entries that name each inode.
    pub(super) fn names(&self) -> Vec<Vec<u32>> {
        let mut names = vec![Vec::new(); self.inodes.len()];
        for (at, entry) in self.entries.iter().enumerate() {
            names[entry.inode as usize].push(at as u32);
        }
        names
    }

    /// The objects that this tree needs, each with its length.
    pub(super) fn objects(&self) -> impl Iterator<Item = (ObjectId, u64)> {
        self.inodes.iter().filter_map(|inode| match &inode.kind {
            Kind::File { size, content: Some(content) } => {
                Some((content.object, content.stored_len(*size))).filter(|(_, len)| *len > 0)
            }
            _ => None,
        })
    }

    /// Drops the entries that `keep` refuses, everything below them, and the inodes nobody names any more.
    pub(super) fn retain(self, keep: impl Fn(u32) -> bool) -> Self {
        let mut entries: Vec<Entry> = Vec::with_capacity(self.entries.len());
        let mut moved: Vec<Option<u32>> = Vec::with_capacity(self.entries.len());
        let mut inodes = Vec::new();
        let mut inode_at: HashMap<u32, u32> = HashMap::new();
        for (at, mut entry) in self.entries.into_iter().enumerate() {
            let parent = if at == 0 { Some(0) } else { moved[entry.parent as usize] };
            let Some(parent) = parent.filter(|_| at == 0 || keep(at as u32)) else {
                moved.push(None);
                continue;
            };
            let old = entry.inode;
            entry.parent = parent;
            entry.inode = *inode_at.entry(old).or_insert_with(|| {
                inodes.push(self.inodes[old as usize].clone());
                inodes.len() as u32 - 1
            });
            moved.push(Some(entries.len() as u32));
            entries.push(entry);
        }
        Self { inodes, entries }
    }
}

/// Splits a path into its directory and its last name.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

/// Joins a directory and a name.
pub(super) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, name].join(&b'/') }
}
