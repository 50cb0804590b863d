//! The bytes of manifests, the index and the journal: little endian, length before content, a hash at the end.

use super::attrs::{Attrs, Time};
use super::tree::{Content, Entry, Inode, Kind, Tree};

/// Why bytes could not be understood.
pub(super) type Garbled = &'static str;

#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, value: &[u8]) {
        self.u32(value.len() as u32);
        self.0.extend_from_slice(value);
    }

    pub(super) fn option(&mut self, value: Option<&[u8]>) {
        self.u8(value.is_some().into());
        if let Some(value) = value {
            self.bytes(value);
        }
    }

    pub(super) fn time(&mut self, value: Time) {
        self.u64(value.sec as u64);
        self.u32(value.nsec);
    }

    pub(super) fn attrs(&mut self, value: &Attrs) {
        self.u32(value.mode);
        self.u32(value.uid);
        self.u32(value.gid);
        self.time(value.mtime);
        self.u32(value.xattrs.len() as u32);
        for (name, value) in &value.xattrs {
            self.bytes(name);
            self.bytes(value);
        }
    }

    pub(super) fn inode(&mut self, value: &Inode) {
        self.attrs(&value.attrs);
        match &value.kind {
            Kind::Dir => self.u8(0),
            Kind::File { size, content } => {
                self.u8(1);
                self.u64(*size);
                self.u8(content.is_some().into());
                if let Some(content) = content {
                    self.content(content);
                }
            }
            Kind::Symlink(target) => {
                self.u8(2);
                self.bytes(target);
            }
            Kind::Fifo => self.u8(3),
            Kind::Socket => self.u8(4),
            Kind::Device { character, rdev } => {
                self.u8(if *character { 5 } else { 6 });
                self.u64(*rdev);
            }
        }
    }

    fn content(&mut self, value: &Content) {
        self.0.extend_from_slice(&value.object);
        self.u8(value.extents.is_some().into());
        if let Some(extents) = &value.extents {
            self.u32(extents.len() as u32);
            for (offset, len) in extents {
                self.u64(*offset);
                self.u64(*len);
            }
        }
    }

    pub(super) fn tree(&mut self, value: &Tree) {
        self.u32(value.inodes.len() as u32);
        for inode in &value.inodes {
            self.inode(inode);
        }
        self.u32(value.entries.len() as u32);
        for entry in &value.entries {
            self.u32(entry.parent);
            self.u32(entry.inode);
            self.bytes(&entry.name);
        }
    }

    /// The bytes so far, followed by their hash.
    pub(super) fn sealed(mut self) -> Vec<u8> {
        let hash = blake3::hash(&self.0);
        self.0.extend_from_slice(hash.as_bytes());
        self.0
    }
}

#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Checks the hash at the end and reads what stands before it.
    pub(super) fn unseal(bytes: &'a [u8]) -> Result<Self, Garbled> {
        let (body, hash) = bytes.split_last_chunk::<32>().ok_or("it is cut short")?;
        if blake3::hash(body).as_bytes() == hash { Ok(Self(body)) } else { Err("its checksum is wrong") }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Garbled> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Garbled> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Garbled> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Garbled> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Garbled> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Garbled> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    pub(super) fn text(&mut self) -> Result<String, Garbled> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| "a text is not UTF-8")
    }

    pub(super) fn flag(&mut self) -> Result<bool, Garbled> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("a flag is neither 0 nor 1"),
        }
    }

    pub(super) fn option(&mut self) -> Result<Option<&'a [u8]>, Garbled> {
        Ok(if self.flag()? { Some(self.bytes()?) } else { None })
    }

    /// Reads a counted list. What is reserved is bounded by the bytes left, whatever the count claims.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Garbled>,
    ) -> Result<Vec<T>, Garbled> {
        let count = self.u32()? as usize;
        let mut items = Vec::with_capacity(count.min(self.0.len() / 8));
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub(super) fn time(&mut self) -> Result<Time, Garbled> {
        Ok(Time { sec: self.u64()? as i64, nsec: self.u32()? })
    }

    pub(super) fn attrs(&mut self) -> Result<Attrs, Garbled> {
        Ok(Attrs {
            mode: self.u32()?,
            uid: self.u32()?,
            gid: self.u32()?,
            mtime: self.time()?,
            xattrs: self.list(|reader| Ok((reader.bytes()?.to_vec(), reader.bytes()?.to_vec())))?,
        })
    }

    pub(super) fn inode(&mut self) -> Result<Inode, Garbled> {
        let attrs = self.attrs()?;
        let kind = match self.u8()? {
            0 => Kind::Dir,
            1 => {
                let size = self.u64()?;
                let content = if self.flag()? { Some(self.content(size)?) } else { None };
                Kind::File { size, content }
            }
            2 => Kind::Symlink(self.bytes()?.to_vec()),
            3 => Kind::Fifo,
            4 => Kind::Socket,
            tag @ (5 | 6) => Kind::Device { character: tag == 5, rdev: self.u64()? },
            _ => return Err("it holds an unknown kind of file"),
        };
        Ok(Inode { attrs, kind })
    }

    fn content(&mut self, size: u64) -> Result<Content, Garbled> {
        let object = self.array()?;
        let extents =
            if self.flag()? { Some(self.list(|reader| Ok((reader.u64()?, reader.u64()?)))?) } else { None };
        let mut end = 0;
        for (offset, len) in extents.iter().flatten() {
            if *offset < end || offset.checked_add(*len).is_none_or(|after| after > size) {
                return Err("the extents of a file are out of order or outside it");
            }
            end = offset + len;
        }
        Ok(Content { object, extents })
    }

    /// Reads a tree and checks that it is one: names without slashes, parents before children.
    pub(super) fn tree(&mut self) -> Result<Tree, Garbled> {
        let inodes = self.list(Self::inode)?;
        let entries = self.list(|reader| {
            Ok(Entry { parent: reader.u32()?, inode: reader.u32()?, name: reader.bytes()?.to_vec() })
        })?;
        let tree = Tree { inodes, entries };
        if tree.entries.is_empty() || !tree.inodes.first().is_some_and(Inode::is_dir) {
            return Err("it has no root directory");
        }
        for (at, entry) in tree.entries.iter().enumerate() {
            if entry.inode as usize >= tree.inodes.len() {
                return Err("a name leads to no inode");
            }
            if at == 0 {
                continue;
            }
            if entry.parent as usize >= at || !tree.inode(entry.parent).is_dir() {
                return Err("a name stands in no directory");
            }
            if matches!(entry.name.as_slice(), b"" | b"." | b"..")
                || entry.name.iter().any(|b| matches!(b, 0 | b'/'))
            {
                return Err("a name is not a file name");
            }
        }
        Ok(tree)
    }

    pub(super) fn end(&self) -> Result<(), Garbled> {
        if self.0.is_empty() { Ok(()) } else { Err("bytes are left over") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_with_a_right_checksum_is_an_error_and_not_a_panic() {
        let dir = Inode {
            attrs: Attrs { xattrs: vec![(b"user.a".into(), b"b".into())], ..Attrs::default() },
            kind: Kind::Dir,
        };
        let content = Content { object: [7; 32], extents: Some(vec![(0, 5), (10, 5)]) };
        let kinds = [
            Kind::File { size: 20, content: Some(content) },
            Kind::Symlink(b"target".into()),
            Kind::Device { character: true, rdev: 3 },
        ];
        let mut tree =
            Tree { inodes: vec![dir], entries: vec![Entry { parent: 0, name: Vec::new(), inode: 0 }] };
        for kind in kinds {
            let inode = tree.inodes.len() as u32;
            tree.inodes.push(Inode { attrs: Attrs::default(), kind });
            tree.entries.push(Entry { parent: 0, name: vec![b'a' + inode as u8], inode });
        }
        let mut writer = Writer::default();
        writer.tree(&tree);
        let bytes = writer.0;
        let read = Reader(&bytes).tree().unwrap();
        assert_eq!(read.inodes, tree.inodes);
        for cut in 0..bytes.len() {
            assert!(Reader(&bytes[..cut]).tree().is_err(), "cut at {cut}");
        }
        let mut refused = 0;
        for at in 0..bytes.len() {
            for value in [0, 1, 0x2f, 0x7f, 0xff] {
                let mut bad = bytes.clone();
                bad[at] = value;
                let mut reader = Reader(&bad);
                refused += usize::from(reader.tree().and_then(|_| reader.end()).is_err());
            }
        }
        assert!(refused > 100, "only {refused} were refused");
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in [&b""[..], b".", b"..", b"a/b", b"/etc", b"a\0b"] {
            let inodes = vec![Inode { attrs: Attrs::default(), kind: Kind::Dir }];
            let entry = |name: &[u8]| Entry { parent: 0, name: name.to_vec(), inode: 0 };
            let mut writer = Writer::default();
            writer.tree(&Tree { inodes, entries: vec![entry(b""), entry(name)] });
            assert!(Reader(&writer.0).tree().is_err(), "{name:?}");
        }
    }
}
