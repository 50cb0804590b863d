//! Writing a file as a whole.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use grainchain_core::tree::{AtomicFile, AtomicOptions, Links, Root, Stat, TreeErrorKind};
use grainchain_core::{Content, Error, ErrorKind, FileInfo, Result, WriteFile, blocking};

use super::{check_mode, info, not_a_file, refusal};
use crate::guest::Guest;

/// What a new file's permission bits are, whatever the umask of this program.
const NEW_FILE: u32 = 0o644;

/// How much is copied at once, so that a copy whose caller has gone away comes to an end.
const PIECE: u64 = 8 << 20;

pub(super) async fn write(
    guest: Guest,
    path: PathBuf,
    request: WriteFile,
    content: Content,
) -> Result<FileInfo> {
    if let Some(mode) = request.mode {
        check_mode(mode)?;
    }
    if let Some(bytes) = content.as_bytes() {
        let bytes = bytes.clone();
        return blocking::run(move || {
            replace(&guest.shared.root, &path, request, |target| write_bytes(target, &bytes))
        })
        .await;
    }
    let announced = content.len();
    match content.into_file() {
        Ok((source, length)) => {
            // Held by this future: once it is dropped, the copy ends at its next piece.
            let (alive, wanted) = std::sync::mpsc::channel::<()>();
            let written = blocking::run(move || {
                replace(&guest.shared.root, &path, request, |target| {
                    copy(&source, length, target, || {
                        wanted.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected)
                    })
                })
            })
            .await;
            drop(alive);
            written
        }
        Err(content) => {
            blocking::consume(content.into_stream(), move |reader| {
                replace(&guest.shared.root, &path, request, |mut target| {
                    let mut written = 0;
                    while let Some(chunk) = reader.next_chunk()? {
                        written += chunk.len() as u64;
                        if announced.is_some_and(|announced| written > announced) {
                            break;
                        }
                        target.write_all(&chunk)?;
                    }
                    match announced {
                        Some(announced) if announced != written => Err(wrong_length(announced, written)),
                        _ => Ok(()),
                    }
                })
            })
            .await
        }
    }
}

/// Makes the file from what `fill` writes; nothing changes unless it succeeds.
fn replace(
    root: &Root,
    path: &Path,
    request: WriteFile,
    fill: impl FnOnce(&File) -> io::Result<()>,
) -> Result<FileInfo> {
    let fail = |error: io::Error| match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::io(format_args!("write {path:?}"), error),
    };
    let target = start(root, path, &request)?;
    fill(target.file()).map_err(fail)?;
    let file = target.file().try_clone().map_err(fail)?;
    target.commit().map_err(refusal)?;
    let stat = Stat::of_file(file).map_err(fail)?;
    Ok(info::from_stat(request.path, &stat))
}

fn start(root: &Root, path: &Path, request: &WriteFile) -> Result<AtomicFile> {
    let mut options = AtomicOptions::default().parents(request.parents);
    options.mode = request.mode.or_else(|| {
        let missing =
            root.stat(path, Links::Follow).is_err_and(|error| error.kind() == TreeErrorKind::NotFound);
        missing.then_some(NEW_FILE)
    });
    root.write_atomic(path, options).map_err(|error| match error.kind() {
        TreeErrorKind::NotFound if !request.parents => {
            refusal(error).hint("make the directory first, or have missing parents made")
        }
        _ => not_a_file(path, error),
    })
}

fn write_bytes(mut target: &File, bytes: &Bytes) -> io::Result<()> {
    target.write_all(bytes)
}

/// Copies exactly `length` bytes, within the kernel where that is possible.
fn copy(source: &File, length: u64, mut target: &File, wanted: impl Fn() -> bool) -> io::Result<()> {
    let mut copied = 0;
    while copied < length {
        if !wanted() {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        let piece = PIECE.min(length - copied);
        let count = io::copy(&mut source.take(piece), &mut target)?;
        copied += count;
        if count < piece {
            let message = format!("the source ended after {copied} of {length} bytes");
            return Err(io::Error::other(
                Error::new(ErrorKind::Conflict, message)
                    .hint("write it again when nobody changes the source"),
            ));
        }
    }
    Ok(())
}

fn wrong_length(announced: u64, written: u64) -> io::Error {
    let message = if written > announced {
        format!("the content is longer than the {announced} bytes announced")
    } else {
        format!("the content ended after {written} of the {announced} bytes announced")
    };
    io::Error::other(Error::bad_request(message))
}
