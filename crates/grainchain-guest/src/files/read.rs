//! Reading a file or a part of it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use grainchain_core::tree::Root;
use grainchain_core::types::content::file_range;
use grainchain_core::{Content, Error, Result, blocking};

use super::not_a_file;

/// Up to this much is answered as bytes: one trip to the blocking pool instead of two.
const SMALL: usize = 64 * 1024;

pub(super) fn read(root: &Root, path: &Path, offset: u64, length: Option<u64>) -> Result<Content> {
    let file = root.open_read(path).map_err(|error| not_a_file(path, error))?;
    let fail = |error| Error::io(format_args!("read {path:?}"), error);
    let size = file.metadata().map_err(fail)?.len();
    let wanted = length.unwrap_or(u64::MAX);
    // A file of the kernel's own has no size and yet content: only reading tells.
    let rest = if size == 0 { u64::MAX } else { size.saturating_sub(offset) };
    let wanted = wanted.min(rest);
    if wanted == 0 || i64::try_from(offset).is_err() {
        return Ok(Content::from(Bytes::new()));
    }
    if size > 0 && wanted > SMALL as u64 {
        return file_range(file, offset, Some(wanted));
    }
    let most = usize::try_from(wanted).unwrap_or(usize::MAX).min(SMALL + 1);
    let head = read_at(&file, offset, most).map_err(fail)?;
    if head.len() <= SMALL {
        return Ok(Content::from(head));
    }
    Ok(endless(file, offset, length, path))
}

/// At most `most` bytes from `offset`, fewer only at the end.
fn read_at(file: &File, offset: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; most];
    let mut filled = 0;
    while filled < most {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

/// A file whose size nobody knows before its end.
fn endless(mut file: File, offset: u64, length: Option<u64>, path: &Path) -> Content {
    let what = format!("read {path:?}");
    blocking::produce(move |writer| {
        let fail = |error| Error::io(&what, error);
        file.seek(SeekFrom::Start(offset)).map_err(fail)?;
        let mut left = length.unwrap_or(u64::MAX);
        let mut buffer = vec![0; SMALL];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(SMALL).min(SMALL);
            let count = file.read(&mut buffer[..most]).map_err(fail)?;
            if count == 0 {
                break;
            }
            writer.write_all(&buffer[..count]).map_err(fail)?;
            left -= count as u64;
        }
        Ok(())
    })
}
