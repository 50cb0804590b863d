mod attacks;
mod listing;
mod reading;
mod writing;

use std::path::Path;

use grainchain_core::facet::Files;
use grainchain_core::{ByteSize, Content, ReadFile};

use crate::guest::{Guest, GuestConfig};

/// A guest in a directory of its own, and a directory beside it that nothing may touch.
struct Place {
    guest: Guest,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("root")).unwrap();
        std::fs::create_dir(folder.path().join("outside")).unwrap();
        std::fs::write(folder.path().join("outside/secret"), "do not touch").unwrap();
        let guest = Guest::new(GuestConfig::new(folder.path().join("root"), 1)).unwrap();
        Self { guest, folder }
    }

    fn root(&self) -> &Path {
        self.guest.shared.root.host_path()
    }

    fn outside(&self) -> std::path::PathBuf {
        self.folder.path().join("outside")
    }

    fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.root().join(path)).unwrap()
    }

    async fn read(&self, request: impl Into<ReadFile>) -> grainchain_core::Result<Vec<u8>> {
        Ok(bytes(self.guest.read(request.into()).await?).await)
    }

    /// The names directly in the root, sorted.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.root())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

async fn bytes(content: Content) -> Vec<u8> {
    content.into_bytes(ByteSize::gib(1)).await.unwrap().to_vec()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}
