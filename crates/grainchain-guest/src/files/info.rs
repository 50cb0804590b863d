//! What the system says about a file, in the words of the facet.

use std::path::Path;
use std::time::{Duration, SystemTime};

use grainchain_core::tree::{FileKind as TreeKind, Links, Root, TreeErrorKind};
use grainchain_core::{FileInfo, FileKind, Result};
use rustix::fs::FileType;

use super::refusal;

/// How often to look again at a link that turns into something else between two looks.
const RACES: usize = 8;

/// What is at `path`, called `shown`.
pub(super) fn look(root: &Root, path: &Path, links: Links, shown: String) -> Result<FileInfo> {
    let mut attempt = 0;
    loop {
        let stat = root.stat(path, links).map_err(refusal)?;
        let mut info = FileInfo::new(shown.as_str(), kind(stat.kind), stat.size_bytes);
        info.mode = stat.mode;
        info.modified = Some(stat.modified());
        if info.kind == FileKind::Symlink {
            match root.read_link(path) {
                Ok(target) => info.link_target = Some(target.to_string_lossy().into_owned()),
                Err(error) if error.kind() == TreeErrorKind::Other && attempt < RACES => {
                    attempt += 1;
                    continue;
                }
                Err(error) => return Err(refusal(error)),
            }
        }
        return Ok(info);
    }
}

/// The same from the system's own record.
#[allow(clippy::unnecessary_cast, reason = "the field types differ between architectures")]
pub(super) fn from_stat(path: impl Into<String>, stat: &rustix::fs::Stat) -> FileInfo {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice | FileType::BlockDevice => FileKind::Device,
        FileType::Unknown => FileKind::Unknown,
    };
    let mut info = FileInfo::new(path, kind, u64::try_from(stat.st_size).unwrap_or(0));
    info.mode = stat.st_mode & 0o7777;
    info.modified = modified(stat.st_mtime as i64, stat.st_mtime_nsec as u32);
    info
}

fn kind(kind: TreeKind) -> FileKind {
    match kind {
        TreeKind::File => FileKind::File,
        TreeKind::Directory => FileKind::Directory,
        TreeKind::Symlink => FileKind::Symlink,
        TreeKind::Fifo => FileKind::Fifo,
        TreeKind::Socket => FileKind::Socket,
        TreeKind::Device => FileKind::Device,
        _ => FileKind::Unknown,
    }
}

fn modified(seconds: i64, nanos: u32) -> Option<SystemTime> {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let start = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    start?.checked_add(Duration::from_nanos(u64::from(nanos)))
}
