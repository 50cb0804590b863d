//! What we read here: files, and our stdin by a thread of its own, because reading it cannot be cancelled and the program does not wait
//! for it to end.

use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use futures_util::stream;
use grainchain::{Content, Error, Result};
use tokio::sync::mpsc;

/// How much is read at once, and how many such chunks may wait.
const CHUNK: usize = 64 * 1024;
const CHUNKS: usize = 4;

/// Our stdin in chunks, none at its end.
pub(super) type Input = mpsc::Receiver<Result<Bytes>>;

/// Begins to read our stdin.
pub(super) fn read() -> Result<Input> {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let work = move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; CHUNK];
        loop {
            let chunk = match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => Ok(Bytes::copy_from_slice(&buffer[..count])),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => Err(Error::io("read stdin", error)),
            };
            let last = chunk.is_err();
            if sender.blocking_send(chunk).is_err() || last {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(work)
        .map_err(|error| Error::io("start a thread", error))?;
    Ok(receiver)
}

/// The content of a file of this machine. What is no file is refused before it is opened: a pipe without a writer would never open.
pub(crate) async fn open(path: &Path) -> Result<Content> {
    let metadata = std::fs::metadata(path)
        .map_err(|error| Error::io(format_args!("look at {}", path.display()), error))?;
    if metadata.is_file() {
        return Content::open(path).await;
    }
    let refusal = Error::bad_request(format!("{} is not a file", path.display()));
    Err(refusal.hint(if metadata.is_dir() {
        "`grainchain cp` copies folders"
    } else {
        "send what it gives through stdin"
    }))
}

/// Our stdin as content to send.
pub(crate) fn read_all() -> Result<Content> {
    let chunks =
        stream::unfold(read()?, |mut input| async move { input.recv().await.map(|chunk| (chunk, input)) });
    Ok(Content::from_stream(chunks, None))
}
