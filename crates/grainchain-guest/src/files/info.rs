//! What the system says about a file, in the words of the facet.

use std::path::Path;

use grainchain_core::tree::{Links, Root, Stat, TreeErrorKind};
use grainchain_core::{FileInfo, FileKind, Result};

use super::refusal;

/// How often to look again at a link that turns into something else between two looks.
const RACES: usize = 8;

/// What is at `path`, called `shown`.
pub(super) fn look(root: &Root, path: &Path, links: Links, shown: String) -> Result<FileInfo> {
    let mut attempt = 0;
    loop {
        let stat = root.stat(path, links).map_err(refusal)?;
        let mut info = from_stat(shown.as_str(), &stat);
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

/// What `stat` says, without a link's target.
pub(super) fn from_stat(path: impl Into<String>, stat: &Stat) -> FileInfo {
    let mut info = FileInfo::new(path, stat.kind, stat.size_bytes);
    info.mode = stat.mode;
    info.modified = stat.modified();
    info
}
