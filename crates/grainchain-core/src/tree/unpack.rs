//! Turning a tar stream into files, without trusting a byte of it

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags};
use tar::EntryType;

use super::beneath::Root;
use super::error::{At, Fault, TreeError, TreeErrorKind, short};
use super::extract::Extractor;
use super::options::{MkdirOptions, OutsideLinks, Specials, UnpackOptions};
use super::reader::{Member, TarReader};
use super::report::UnpackReport;

const OPERATION: &str = "unpack";

/// Unpacks the tar stream `input` into the directory `path` below `root`, which is made if it is missing.
///
/// `path` itself is resolved like any other. From there on no symbolic link is followed, whether it was there
/// before or came from the archive: an entry that needs one is an error. Names must be relative and without `..`;
/// hard links may only lead to regular files below `path`. Existing files are unlinked and made anew, never written
/// through; an empty directory gives way to a file. Modes and mtimes of directories are applied at the end,
/// so that a read-only directory can be filled.
///
/// # Errors
///
/// [`TreeErrorKind::Outside`] for names and links that lead out, [`TreeErrorKind::Corrupt`] for a truncated or
/// damaged archive (the message names the last complete entry), [`TreeErrorKind::TooLarge`] for the limits in
/// `options`, [`TreeErrorKind::Full`], [`TreeErrorKind::Denied`] and the like. What was made before stays, except
/// a file that is only half there.
pub fn unpack<R: Read>(
    root: &Root,
    path: impl AsRef<Path>,
    input: R,
    options: &UnpackOptions,
) -> Result<UnpackReport, TreeError> {
    let path = path.as_ref();
    let relative = root.relative(path).at(OPERATION, path)?;
    // Opened for reading and not only for lookups, as its own mode and times may have to be set.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let top = match root.open_fd(relative, flags, Mode::empty()) {
        Err(fault) if fault.kind == TreeErrorKind::NotFound => {
            root.mkdir(path, &MkdirOptions::default().parents(true))?;
            root.open_fd(relative, flags, Mode::empty())
        }
        opened => opened,
    };
    let top = top.at(OPERATION, path)?;
    let mut reader = TarReader::new(input);
    let mut extractor = Extractor::new(top.as_fd(), options);
    let mut unpacking = Unpacking { options, report: UnpackReport::default(), last: None, seen: 0 };
    while let Some(member) = reader.next().map_err(|fault| unpacking.broken(fault))? {
        unpacking.member(&member, &mut reader, &mut extractor)?;
    }
    extractor.finish(&mut unpacking.report)?;
    for comment in reader.comments().at(OPERATION, path)? {
        unpacking.report.comment(&comment);
    }
    reader.drain().at(OPERATION, path)?;
    Ok(unpacking.report)
}

struct Unpacking<'o> {
    options: &'o UnpackOptions,
    report: UnpackReport,
    /// The last complete entry.
    last: Option<PathBuf>,
    seen: u64,
}

impl Unpacking<'_> {
    fn member<R: Read>(
        &mut self,
        member: &Member,
        reader: &mut TarReader<R>,
        extractor: &mut Extractor<'_>,
    ) -> Result<(), TreeError> {
        let path = PathBuf::from(OsStr::from_bytes(&member.path));
        self.seen += 1;
        if self.seen > self.options.max_entries {
            let limit = self.options.max_entries;
            return Err(Fault::too_large(format!("the archive has more than {limit} entries")))
                .at(OPERATION, &path);
        }
        let names = names(&member.path, self.options.max_depth).at(OPERATION, &path)?;
        let made = match member.kind {
            EntryType::Directory => extractor.directory(&names, member).map(|()| true),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.account(member.size).at(OPERATION, &path)?;
                match extractor.file(&names, member, reader) {
                    Err(fault) if fault.kind == TreeErrorKind::Corrupt => return Err(self.broken(fault)),
                    made => made.map(|()| true),
                }
            }
            EntryType::Symlink => self.symlink(&names, member, &path, extractor),
            EntryType::Link => {
                let target = self::names(&member.link, self.options.max_depth);
                target.and_then(|target| extractor.hard_link(&names, &target)).map(|()| true)
            }
            EntryType::Fifo if self.options.pipes => extractor.pipe(&names, member).map(|()| true),
            other => self.special(other, &path),
        };
        if made.at(OPERATION, &path)? {
            self.report.entries += 1;
        }
        extractor.report_refused(&path, &mut self.report);
        self.last = Some(path);
        Ok(())
    }

    fn account(&mut self, size: u64) -> Result<(), Fault> {
        let (file, all) = (self.options.max_file_bytes, self.options.max_bytes);
        if size > file {
            return Err(Fault::too_large(format!("the file has {size} bytes; the limit is {file}")));
        }
        self.report.bytes = self.report.bytes.saturating_add(size);
        if self.report.bytes > all {
            return Err(Fault::too_large(format!("the archive holds more than {all} bytes")));
        }
        Ok(())
    }

    fn symlink(
        &mut self,
        names: &[&[u8]],
        member: &Member,
        path: &Path,
        extractor: &mut Extractor<'_>,
    ) -> Result<bool, Fault> {
        if member.link.is_empty() || member.link.contains(&0) {
            return Err(Fault::corrupt("a symbolic link without a usable target"));
        }
        if self.options.outside_links != OutsideLinks::Keep && leads_out(names.len(), &member.link) {
            let target = short(Path::new(OsStr::from_bytes(&member.link)));
            if self.options.outside_links == OutsideLinks::Refuse {
                return Err(Fault::outside(format_args!("through a symbolic link to {target:?}")));
            }
            self.report.skip(path, format!("symbolic link that leads out, to {target:?}"));
            return Ok(false);
        }
        extractor.symlink(names, member).map(|()| true)
    }

    fn special(&mut self, kind: EntryType, path: &Path) -> Result<bool, Fault> {
        let words = match kind {
            EntryType::Fifo => "named pipe".to_owned(),
            EntryType::Char | EntryType::Block => "device".to_owned(),
            other => format!("unknown kind of entry {:?}", char::from(other.as_byte())),
        };
        match self.options.specials {
            Specials::Refuse => {
                Err(Fault::new(TreeErrorKind::Other, format!("is a {words}, which is not unpacked")))
            }
            Specials::Skip => {
                self.report.skip(path, words);
                Ok(false)
            }
        }
    }

    /// A damaged archive, told by the last thing that is certainly good.
    fn broken(&self, fault: Fault) -> TreeError {
        let (path, place) = match &self.last {
            Some(last) => (last.clone(), format!("the last complete entry is {:?}", short(last))),
            None => (PathBuf::new(), "no entry is complete".to_owned()),
        };
        let fault = match fault.kind {
            TreeErrorKind::Corrupt => Fault::corrupt(format!("{}; {place}", fault.source)),
            TreeErrorKind::TooLarge => fault,
            _ => return TreeError::new("read archive", path, fault),
        };
        TreeError::new(OPERATION, path, fault)
    }
}

/// The names in an archive's path, which may start with `./` and end with a slash but is otherwise strict.
fn names(path: &[u8], max_depth: usize) -> Result<Vec<&[u8]>, Fault> {
    if path.is_empty() {
        return Err(Fault::invalid("the archive has an empty name"));
    }
    if path.starts_with(b"/") {
        return Err(Fault::outside("because the archive has an absolute name"));
    }
    let mut names = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(Fault::outside("through `..` in the archive")),
            part => {
                if names.len() == max_depth {
                    return Err(Fault::too_large(format!("the path has more than {max_depth} names")));
                }
                if part.contains(&0) {
                    return Err(Fault::invalid("the name contains a NUL byte"));
                }
                names.push(part);
            }
        }
    }
    Ok(names)
}

/// Whether a link `depth` names deep leads out of the tree, judged by its text alone.
///
/// `..` after a name is judged as leading out: what it means depends on other links.
fn leads_out(depth: usize, target: &[u8]) -> bool {
    if target.starts_with(b"/") {
        return true;
    }
    let mut up = 0;
    let mut named = false;
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if named => return true,
            b".." => up += 1,
            _ => named = true,
        }
    }
    // A link in the top directory is one name deep and may not climb at all.
    up >= depth.max(1)
}
