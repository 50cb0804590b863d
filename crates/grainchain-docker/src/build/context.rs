//! The folder that a Dockerfile copies from: what of it counts, its hash, and the stream that carries it.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use grainchain_core::blocking::ChunkWriter;
use grainchain_core::{Error, Result};
use sha2::{Digest, Sha256};

use super::ignore::Ignore;

/// The Dockerfile's name in the stream: one that no folder has.
pub(super) const DOCKERFILE: &str = ".grainchain.dockerfile";

/// What a build is made from, looked at once: names are read when it is made, contents when they are needed.
#[derive(Debug)]
pub(super) struct BuildContext {
    dockerfile: String,
    root: Option<PathBuf>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Relative, with slashes.
    name: String,
    mode: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Folder,
    File,
    Link(PathBuf),
}

impl BuildContext {
    /// Looks at the folder `root`. Blocks the thread.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Denied` or `BadRequest` naming the path and the option `context`.
    pub(super) fn open(dockerfile: String, root: Option<&Path>) -> Result<Self> {
        let mut entries = Vec::new();
        if let Some(root) = root {
            let fail = |error: io::Error| {
                Error::io(format_args!("read the context {}", root.display()), error)
                    .hint("name a folder of this machine that you may read")
                    .option("context")
            };
            if !fs::metadata(root).map_err(fail)?.is_dir() {
                return Err(Error::bad_request(format!("the context {} is no folder", root.display()))
                    .hint("name the folder that COPY shall read from")
                    .option("context"));
            }
            let ignore = match fs::read_to_string(root.join(".dockerignore")) {
                Ok(text) => Ignore::parse(&text)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ignore::default(),
                Err(error) => return Err(fail(error)),
            };
            walk(root, "", &ignore, &mut entries).map_err(fail)?;
            entries.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Ok(Self { dockerfile, root: root.map(Path::to_owned), entries })
    }

    /// Adds everything that makes a difference to `hasher`: names, modes and contents, not times and owners. Blocks the thread.
    pub(super) fn hash(&self, hasher: &mut Sha256) -> Result<()> {
        let mut text = |kind: &[u8], text: &[u8]| {
            hasher.update(kind);
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        };
        text(b"dockerfile", self.dockerfile.as_bytes());
        for entry in &self.entries {
            text(b"name", entry.name.as_bytes());
            text(b"mode", &entry.mode.to_le_bytes());
            match &entry.kind {
                Kind::Folder => text(b"folder", b""),
                Kind::Link(target) => text(b"link", target.as_os_str().as_encoded_bytes()),
                Kind::File => {
                    let mut content = Sha256::new();
                    let mut file = self.file(entry)?;
                    let mut buffer = vec![0_u8; 256 * 1024];
                    loop {
                        match file.read(&mut buffer).map_err(|error| self.fail(entry, error))? {
                            0 => break,
                            count => content.update(&buffer[..count]),
                        }
                    }
                    text(b"file", &content.finalize());
                }
            }
        }
        Ok(())
    }

    /// Writes the stream that the engine wants. Blocks the thread.
    pub(super) fn fold(&self, writer: &mut ChunkWriter) -> Result<()> {
        let broken = |error: io::Error| Error::io("fold the context", error);
        let mut tar = tar::Builder::new(writer);
        let mut header = header(0o644);
        header.set_size(self.dockerfile.len() as u64);
        tar.append_data(&mut header, DOCKERFILE, self.dockerfile.as_bytes()).map_err(broken)?;
        for entry in &self.entries {
            let mut header = self::header(entry.mode);
            match &entry.kind {
                Kind::Folder => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_size(0);
                    tar.append_data(&mut header, format!("{}/", entry.name), io::empty()).map_err(broken)?;
                }
                Kind::Link(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    tar.append_link(&mut header, &entry.name, target).map_err(broken)?;
                }
                Kind::File => {
                    let file = self.file(entry)?;
                    let length = file.metadata().map_err(|error| self.fail(entry, error))?.len();
                    header.set_size(length);
                    // Exactly as much as was promised, also of a file that grows or shrinks meanwhile.
                    let padded = file.chain(io::repeat(0)).take(length);
                    tar.append_data(&mut header, &entry.name, padded).map_err(broken)?;
                }
            }
        }
        tar.finish().map_err(broken)
    }

    fn file(&self, entry: &Entry) -> Result<fs::File> {
        let root = self.root.as_deref().unwrap_or(Path::new("."));
        fs::File::open(root.join(&entry.name)).map_err(|error| self.fail(entry, error))
    }

    fn fail(&self, entry: &Entry, error: io::Error) -> Error {
        Error::io(format_args!("read {} of the context", entry.name), error).option("context")
    }
}

fn header(mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn walk(folder: &Path, prefix: &str, ignore: &Ignore, entries: &mut Vec<Entry>) -> io::Result<()> {
    for found in fs::read_dir(folder)? {
        let found = found?;
        let Ok(own) = found.file_name().into_string() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidFilename,
                format!("{} is no UTF-8", found.path().display()),
            ));
        };
        let name = if prefix.is_empty() { own } else { format!("{prefix}/{own}") };
        let excluded = ignore.excludes(&name);
        let metadata = found.path().symlink_metadata()?;
        if metadata.is_dir() {
            if !excluded || ignore.has_returns() {
                let place = entries.len();
                walk(&found.path(), &name, ignore, entries)?;
                // A folder that stays at home comes along with what comes back in it.
                if !excluded || entries.len() > place {
                    entries.push(Entry {
                        name,
                        mode: metadata.permissions().mode() & 0o7777,
                        kind: Kind::Folder,
                    });
                }
            }
            continue;
        }
        if excluded {
            continue;
        }
        let kind = if metadata.is_symlink() {
            Kind::Link(fs::read_link(found.path())?)
        } else if metadata.is_file() {
            Kind::File
        } else {
            // Sockets and pipes have no content that could be copied.
            continue;
        };
        entries.push(Entry { name, mode: metadata.permissions().mode() & 0o7777, kind });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir_all(path.join("src/deep")).unwrap();
        fs::write(path.join("src/main"), "main").unwrap();
        fs::write(path.join("src/deep/x.log"), "log").unwrap();
        fs::write(path.join("secret"), "secret").unwrap();
        fs::write(path.join(".dockerignore"), "secret\n**/*.log\n").unwrap();
        symlink("src/main", path.join("link")).unwrap();
        folder
    }

    fn hash(context: &BuildContext) -> String {
        let mut hasher = Sha256::new();
        context.hash(&mut hasher).unwrap();
        crate::hash::hex_of(hasher)
    }

    async fn folded(context: BuildContext) -> Vec<String> {
        let content = grainchain_core::blocking::produce(move |writer| context.fold(writer));
        let bytes = content.into_bytes(grainchain_core::ByteSize::mib(1)).await.unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    #[tokio::test]
    async fn what_is_ignored_stays_at_home_and_the_rest_comes_in_order() {
        let folder = folder();
        let context = BuildContext::open("FROM x".to_owned(), Some(folder.path())).unwrap();
        assert_eq!(
            folded(context).await,
            [DOCKERFILE, ".dockerignore", "link", "src/", "src/deep/", "src/main"]
        );
    }

    #[test]
    fn only_what_makes_a_difference_changes_the_hash() {
        let folder = folder();
        let look =
            |dockerfile: &str| hash(&BuildContext::open(dockerfile.to_owned(), Some(folder.path())).unwrap());
        let before = look("FROM x");
        assert_eq!(look("FROM x"), before);
        fs::write(folder.path().join("secret"), "another").unwrap();
        fs::write(folder.path().join("src/main"), "main").unwrap();
        assert_eq!(look("FROM x"), before, "what stays at home, or is written as it was");
        assert_ne!(look("FROM y"), before);
        fs::write(folder.path().join("src/main"), "niam").unwrap();
        assert_ne!(look("FROM x"), before);
    }

    #[test]
    fn a_context_that_is_not_there_is_refused_by_name() {
        for path in ["/no/such/place", "/etc/passwd"] {
            let error = BuildContext::open(String::new(), Some(Path::new(path))).unwrap_err();
            assert_eq!(error.failed_option(), Some("context"));
            assert!(error.to_string().contains(path), "{error}");
        }
    }
}
