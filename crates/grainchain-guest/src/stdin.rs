//! Where a command's input comes from, and how it gets there while the output is read.

use std::fs::File;
use std::future::Future;
use std::io::{self, Seek};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use grainchain_core::{Content, Error, Result, Stdin};
use rustix::fs::OFlags;
use tokio::time::sleep;

use crate::sys::pipe::Writer;
use crate::sys::pty::Control;

/// After what pause the end is typed again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// See [`FIRST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Gives a command its input. Ends when all was taken or the command reads no more; fails with the content.
///
/// On a terminal it goes on typing the end until it is dropped: each is for one read only, and is no end to a program that has
/// changed the terminal's mode since, as whoever edits lines does.
pub(crate) type Feed = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What the child gets, decided before it is started.
#[derive(Debug)]
pub(crate) enum Source {
    /// The end at once.
    Nothing,
    /// An open file, read by the child itself.
    File(OwnedFd),
    /// A pipe that is fed from this.
    Content(Content),
    /// A pipe that somebody else writes.
    Piped,
}

impl Source {
    pub(crate) fn new(stdin: Stdin) -> Result<Self> {
        match stdin {
            Stdin::Null => Ok(Self::Nothing),
            Stdin::Piped => Ok(Self::Piped),
            Stdin::Content(content) if content.is_empty() => Ok(Self::Nothing),
            Stdin::Content(content) => match content.into_file() {
                Ok((file, length)) => Self::file(file, length),
                Err(content) => Ok(Self::Content(content)),
            },
            _ => {
                Err(Error::unsupported("this kind of input", "use bytes, a stream or a file").option("stdin"))
            }
        }
    }

    /// The child may read the file by itself if it finds exactly what it is meant to see, and can only read it.
    fn file(mut file: File, length: u64) -> Result<Self> {
        let look = |error| Error::io("look at the file for stdin", error);
        let metadata = file.metadata().map_err(look)?;
        if metadata.is_file() {
            let rest = metadata.len().saturating_sub(file.stream_position().map_err(look)?);
            let flags = rustix::fs::fcntl_getfl(&file).map_err(|error| look(error.into()))?;
            if length >= rest && (flags & OFlags::RWMODE) == OFlags::RDONLY {
                return Ok(Self::File(file.into()));
            }
        }
        Ok(Self::Content(Content::from_file(file, length)))
    }
}

/// Writes `content`, then the end: by closing the pipe, or by the character that means it on a terminal.
pub(crate) fn feed(mut writer: Writer, content: Option<Content>, terminal: Option<Arc<Control>>) -> Feed {
    Box::pin(async move {
        let mut last = b'\n';
        if let Some(content) = content {
            let mut chunks = content.into_stream();
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk?;
                if let Err(error) = writer.write_all(&chunk).await {
                    return unread(error);
                }
                last = chunk.last().copied().unwrap_or(last);
            }
        }
        let Some(terminal) = terminal else { return Ok(()) };
        let mut pause = FIRST_PAUSE;
        loop {
            if let Err(error) = end_on_terminal(&mut writer, &terminal, last).await {
                return unread(error);
            }
            last = b'\n';
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    })
}

/// Types the end-of-file character: once at the beginning of a line, twice after an unfinished one.
pub(crate) async fn end_on_terminal(writer: &mut Writer, terminal: &Control, last: u8) -> io::Result<()> {
    let end = terminal.end_of_file()?;
    let keys = [end, end];
    writer.write_all(if last == b'\n' { &keys[..1] } else { &keys }).await
}

/// A command need not read its input.
fn unread(error: io::Error) -> Result<()> {
    match error.raw_os_error() {
        Some(libc::EPIPE | libc::EIO) => Ok(()),
        _ => Err(Error::io("write to the command's stdin", error)),
    }
}
