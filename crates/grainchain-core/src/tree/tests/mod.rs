//! Attacks and round trips

mod archives;
mod attacks;
mod files;
mod races;
mod removal;
mod roundtrip;

use std::path::Path;

use tar::{EntryType, Header};
use tempfile::TempDir;

use super::{PackOptions, Root, TreeError, TreeErrorKind, UnpackOptions, UnpackReport, pack, unpack};

/// A workspace and, beside it, a secret that no operation may touch.
struct Scene {
    directory: TempDir,
    root: Root,
}

const SECRET: &str = "secret";

impl Scene {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let inside = directory.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        std::fs::create_dir(directory.path().join("outside")).unwrap();
        std::fs::write(directory.path().join("outside/file"), SECRET).unwrap();
        let root = Root::open(&inside).unwrap();
        Self { directory, root }
    }

    fn inside(&self, path: &str) -> std::path::PathBuf {
        self.directory.path().join("inside").join(path)
    }

    fn outside(&self) -> std::path::PathBuf {
        self.directory.path().join("outside")
    }

    /// Fails unless the outside is as it was made.
    fn assert_untouched(&self) {
        let names: Vec<_> =
            std::fs::read_dir(self.outside()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["file"], "something was made or removed outside");
        assert_eq!(std::fs::read_to_string(self.outside().join("file")).unwrap(), SECRET);
        let stat = std::fs::symlink_metadata(self.outside().join("file")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::nlink(&stat), 1, "a hard link to the outside was made");
    }

    fn unpack(&self, archive: &[u8]) -> Result<UnpackReport, TreeError> {
        unpack(&self.root, ".", archive, &UnpackOptions::default())
    }
}

/// Says aloud that a test could not run.
fn not_run(words: &str) {
    eprintln!("{words}");
}

/// Both ways to resolve a path, which must agree.
fn both_ways(test: impl Fn(&Scene)) {
    test(&Scene::new());
    let Scene { directory, root } = Scene::new();
    test(&Scene { directory, root: root.without_openat2() });
}

fn kind<T: std::fmt::Debug>(result: Result<T, TreeError>) -> TreeErrorKind {
    result.unwrap_err().kind()
}

fn packed(root: &Root, path: &str) -> Vec<u8> {
    let mut archive = Vec::new();
    pack(root, path, &mut archive, &mut PackOptions::default().sorted(true).top(true)).unwrap();
    archive
}

/// An archive with exactly these headers, however wrong.
#[derive(Default)]
struct Forge(Vec<u8>);

impl Forge {
    fn entry(mut self, kind: EntryType, name: &[u8], link: &[u8], body: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_entry_type(kind);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.as_old_mut().name[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        if name.len() > 100 {
            let mut long = name.to_vec();
            long.push(0);
            self = self.entry(EntryType::GNULongName, b"././@LongLink", b"", &long);
        }
        header.set_size(body.len() as u64);
        header.set_cksum();
        self.header(&header).body(body)
    }

    fn header(mut self, header: &Header) -> Self {
        self.0.extend_from_slice(header.as_bytes());
        self
    }

    fn body(mut self, body: &[u8]) -> Self {
        self.0.extend_from_slice(body);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, body: &str) -> Self {
        self.entry(EntryType::Regular, name.as_bytes(), b"", body.as_bytes())
    }

    fn directory(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name.as_bytes(), b"", b"")
    }

    fn symlink(self, name: &str, target: impl AsRef<Path>) -> Self {
        self.entry(EntryType::Symlink, name.as_bytes(), target.as_ref().as_os_str().as_encoded_bytes(), b"")
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name.as_bytes(), target.as_bytes(), b"")
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}
