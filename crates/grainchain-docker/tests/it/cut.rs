//! A way to the engine that ends in the middle, as that of a client does that is killed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// A socket that leads to the engine until a request contains some words: that one and all others are never sent.
pub(crate) struct Cut {
    folder: tempfile::TempDir,
    task: JoinHandle<()>,
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Cut {
    /// One that ends before the first request whose beginning contains all of `words`.
    pub(crate) fn before(words: &'static [&'static str]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let listener = UnixListener::bind(folder.path().join("engine.sock"))?;
        let is_cut = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !is_cut.load(Ordering::SeqCst) {
                    tokio::spawn(carry(client, words, Arc::clone(&is_cut)));
                }
            }
        });
        Ok(Self { folder, task })
    }

    /// As `host` of the provider's settings.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("engine.sock").display())
    }
}

fn engine() -> PathBuf {
    let host = std::env::var_os("DOCKER_HOST").unwrap_or_default();
    let host = host.to_string_lossy();
    host.strip_prefix("unix://").map_or_else(|| Path::new("/var/run/docker.sock").to_owned(), PathBuf::from)
}

async fn carry(client: UnixStream, words: &[&str], is_cut: Arc<AtomicBool>) -> io::Result<()> {
    let (mut answers, mut requests) = UnixStream::connect(engine()).await?.into_split();
    let (mut from, mut to) = client.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut answers, &mut to).await });
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        let line = buffer[..count].split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        if words.iter().all(|word| line.contains(word)) && !words.is_empty() {
            is_cut.store(true, Ordering::SeqCst);
        }
        if count == 0 || is_cut.load(Ordering::SeqCst) {
            back.abort();
            return Ok(());
        }
        requests.write_all(&buffer[..count]).await?;
    }
}
