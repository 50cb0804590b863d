//! What is known about the inodes of the workspace, so that unchanged files need not be read again.
//!
//! It is a cache: without it everything is read and compared. Only *settled* inodes stand in it; see
//! [`Trust`](super::scan::Trust).

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::attrs::{Stat, Time};
use super::codec::{Garbled, Reader, Writer};
use super::tree::{Inode, Kind, ObjectId};

#[derive(Debug, Default)]
pub(super) struct Index {
    known: HashMap<(u64, u64), (Time, Inode)>,
}

impl Index {
    /// Reads the index that was written for this workspace since the machine was started.
    ///
    /// After a crash of the machine a file may hold older data than its time stamps say. A damaged or missing index
    /// is an empty one.
    pub(super) fn read(path: &Path, root: &Stat) -> Self {
        let Ok(bytes) = std::fs::read(path) else { return Self::default() };
        Self::decode(&bytes, root).unwrap_or_default()
    }

    fn decode(bytes: &[u8], root: &Stat) -> Result<Self, Garbled> {
        let mut reader = Reader::unseal(bytes)?;
        let boot = reader.bytes()?;
        if boot.is_empty() || boot != boot_id() || (reader.u64()?, reader.u64()?) != root.node() {
            return Err("it is about something else");
        }
        let known =
            reader.list(|reader| Ok(((reader.u64()?, reader.u64()?), (reader.time()?, reader.inode()?))))?;
        Ok(Self { known: known.into_iter().collect() })
    }

    pub(super) fn encode(&self, root: &Stat) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.bytes(&boot_id());
        writer.u64(root.dev);
        writer.u64(root.ino);
        self.encode_known(&mut writer);
        writer.sealed()
    }

    fn encode_known(&self, writer: &mut Writer) {
        writer.u32(self.known.len() as u32);
        for ((dev, ino), (ctime, inode)) in &self.known {
            writer.u64(*dev);
            writer.u64(*ino);
            writer.time(*ctime);
            writer.inode(inode);
        }
    }

    /// What the inode held when it was last read, if its time stamps say that this is still so.
    pub(super) fn get(&self, stat: &Stat) -> Option<&Inode> {
        let (ctime, inode) = self.known.get(&stat.node())?;
        let same_size = match inode.kind {
            Kind::File { size, .. } => size == stat.size,
            _ => true,
        };
        let same = *ctime == stat.ctime && inode.attrs.mtime == stat.mtime && same_size;
        (same && inode.attrs.mode == stat.mode & 0o7777).then_some(inode)
    }

    pub(super) fn insert(&mut self, stat: &Stat, inode: &Inode) {
        self.known.insert(stat.node(), (stat.ctime, inode.clone()));
    }

    /// Forgets the files whose objects are gone, whatever workspace the index at `path` is about.
    ///
    /// Returns the bytes to write instead, or `None` if nothing was forgotten.
    pub(super) fn without_objects(path: &Path, live: &HashSet<ObjectId>) -> Option<Vec<u8>> {
        let bytes = std::fs::read(path).ok()?;
        let parse = || -> Result<_, Garbled> {
            let mut reader = Reader::unseal(&bytes)?;
            let head = (reader.bytes()?.to_vec(), reader.u64()?, reader.u64()?);
            let known = reader
                .list(|reader| Ok(((reader.u64()?, reader.u64()?), (reader.time()?, reader.inode()?))))?;
            Ok((head, known))
        };
        let (head, known) = parse().ok()?;
        let before = known.len();
        let known: HashMap<_, _> = known
            .into_iter()
            .filter(|(_, (_, inode))| match &inode.kind {
                Kind::File { size, content: Some(content) } => {
                    content.stored_len(*size) == 0 || live.contains(&content.object)
                }
                _ => true,
            })
            .collect();
        if known.len() == before {
            return None;
        }
        let mut writer = Writer::default();
        writer.bytes(&head.0);
        writer.u64(head.1);
        writer.u64(head.2);
        Self { known }.encode_known(&mut writer);
        Some(writer.sealed())
    }
}

fn boot_id() -> Vec<u8> {
    std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}
