//! Manifest files: a record that can be read alone, then the tree.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::codec::{Garbled, Reader, Writer};
use super::error::{At, Error, Problem, Result};
use super::record::{SnapshotId, SnapshotRecord};
use super::tree::Tree;

const MAGIC: &[u8; 8] = b"gcsnap1\n";
/// Magic, length of the sealed record, length of the sealed tree.
const HEAD: usize = 8 + 4 + 8;

pub(super) fn encode(record: &SnapshotRecord, tree: &Tree) -> Vec<u8> {
    let mut first = Writer::default();
    write_record(&mut first, record);
    let first = first.sealed();
    let mut second = Writer::default();
    second.tree(tree);
    let second = second.sealed();
    let mut file = Writer(MAGIC.to_vec());
    file.u32(first.len() as u32);
    file.u64(second.len() as u64);
    file.0.extend_from_slice(&first);
    file.0.extend_from_slice(&second);
    file.0
}

/// Reads the record alone, and checks that the tree is there in full length.
pub(super) fn read_record(path: &Path, id: &SnapshotId) -> Result<SnapshotRecord> {
    open(path, id).map(|(record, ..)| record)
}

/// Reads record and tree.
pub(super) fn read(path: &Path, id: &SnapshotId) -> Result<(SnapshotRecord, Tree)> {
    let (record, mut file, _) = open(path, id)?;
    let mut rest = Vec::new();
    file.read_to_end(&mut rest).at("read snapshot", path)?;
    let parse = || {
        let mut reader = Reader::unseal(&rest)?;
        let tree = reader.tree()?;
        reader.end()?;
        Ok(tree)
    };
    let tree =
        parse().map_err(|why: Garbled| Error::damaged("read snapshot", path, format!("{why} (the tree)")))?;
    Ok((record, tree))
}

fn open(path: &Path, id: &SnapshotId) -> Result<(SnapshotRecord, File, u64)> {
    const OPERATION: &str = "read snapshot";
    let mut file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::new("find snapshot", id.as_str(), Problem::NoSuchSnapshot));
        }
        other => other.at(OPERATION, path)?,
    };
    let damaged = |why: Garbled| Error::damaged(OPERATION, path, format!("{why} (the record)"));
    let length = file.metadata().at(OPERATION, path)?.len();
    let mut head = [0; HEAD];
    file.read_exact(&mut head).map_err(|_| damaged("it is cut short"))?;
    let (magic, lengths) = head.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(damaged("it is not a manifest of this version"));
    }
    let (first, second) = lengths.split_at(4);
    let first = u64::from(u32::from_le_bytes(first.try_into().unwrap_or_default()));
    let second = u64::from_le_bytes(second.try_into().unwrap_or_default());
    if (HEAD as u64 + first).checked_add(second) != Some(length) {
        return Err(damaged("its length is wrong"));
    }
    let mut bytes = vec![0; first as usize];
    file.read_exact(&mut bytes).at(OPERATION, path)?;
    let record = Reader::unseal(&bytes).and_then(|mut reader| read_fields(&mut reader)).map_err(damaged)?;
    if record.id != *id {
        return Err(damaged("it belongs to another snapshot"));
    }
    Ok((record, file, second))
}

fn write_record(to: &mut Writer, record: &SnapshotRecord) {
    to.bytes(record.id.as_str().as_bytes());
    to.option(record.name.as_deref().map(str::as_bytes));
    to.option(record.parent.as_ref().map(|parent| parent.as_str().as_bytes()));
    let created = record.created.duration_since(UNIX_EPOCH).unwrap_or_default();
    to.u64(created.as_secs());
    to.u32(created.subsec_nanos());
    to.u32(record.metadata.len() as u32);
    for (key, value) in &record.metadata {
        to.bytes(key.as_bytes());
        to.bytes(value.as_bytes());
    }
    to.u64(record.entries);
    to.u64(record.size_bytes);
    to.u64(record.added_bytes);
    for paths in [&record.changing, &record.mounts] {
        to.u32(paths.len() as u32);
        for path in paths {
            to.bytes(path.as_os_str().as_encoded_bytes());
        }
    }
}

fn read_fields(from: &mut Reader<'_>) -> Result<SnapshotRecord, Garbled> {
    let id = |text: String| SnapshotId::parse(&text).map_err(|_| "an id is not one");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8");
    let path = |reader: &mut Reader<'_>| Ok(PathBuf::from(OsString::from_vec(reader.bytes()?.to_vec())));
    let record = SnapshotRecord {
        id: id(from.text()?)?,
        name: from.option()?.map(text).transpose()?,
        parent: from.option()?.map(text).transpose()?.map(id).transpose()?,
        created: UNIX_EPOCH
            .checked_add(Duration::from_secs(from.u64()?) + Duration::from_nanos(from.u32()?.into()))
            .ok_or("its time is out of range")?,
        metadata: from.list(|reader| Ok((reader.text()?, reader.text()?)))?.into_iter().collect(),
        entries: from.u64()?,
        size_bytes: from.u64()?,
        added_bytes: from.u64()?,
        changing: from.list(path)?,
        mounts: from.list(path)?,
    };
    from.end()?;
    Ok(record)
}
