//! What an inode carries besides its data: reading it and putting it back.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, StatxAttributes, StatxFlags, Timespec, Timestamps, UTIME_OMIT,
    Uid, XattrFlags,
};
use rustix::io::{Errno, Result};

/// A time stamp with its nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time {
    pub(super) sec: i64,
    pub(super) nsec: u32,
}

impl Time {
    /// The clock that the kernel stamps files with.
    pub(super) fn now() -> Self {
        // Before 1970 every file looks changed, which is slow and right.
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(Self::default(), |at| Self { sec: at.as_secs() as i64, nsec: at.subsec_nanos() })
    }

    pub(super) fn minus_millis(self, millis: u32) -> Self {
        let nanos =
            i128::from(self.sec) * 1_000_000_000 + i128::from(self.nsec) - i128::from(millis) * 1_000_000;
        Self { sec: nanos.div_euclid(1_000_000_000) as i64, nsec: nanos.rem_euclid(1_000_000_000) as u32 }
    }
}

/// What the kernel says about an inode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stat {
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) mode: u32,
    pub(super) nlink: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) blocks: u64,
    pub(super) mtime: Time,
    pub(super) ctime: Time,
    pub(super) rdev: u64,
    /// Something is mounted here.
    pub(super) mount_root: bool,
}

impl Stat {
    /// The inode behind `name` in `dir`; a symbolic link is not followed.
    pub(super) fn of_name(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Self> {
        Self::read(dir, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The inode behind a descriptor.
    pub(super) fn of_fd(fd: BorrowedFd<'_>) -> Result<Self> {
        Self::read(fd, b"", AtFlags::EMPTY_PATH)
    }

    fn read(dir: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<Self> {
        let st = rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS)?;
        Ok(Self {
            dev: rustix::fs::makedev(st.stx_dev_major, st.stx_dev_minor),
            ino: st.stx_ino,
            mode: u32::from(st.stx_mode),
            nlink: st.stx_nlink,
            uid: st.stx_uid,
            gid: st.stx_gid,
            size: st.stx_size,
            blocks: st.stx_blocks,
            mtime: Time { sec: st.stx_mtime.tv_sec, nsec: st.stx_mtime.tv_nsec },
            ctime: Time { sec: st.stx_ctime.tv_sec, nsec: st.stx_ctime.tv_nsec },
            rdev: rustix::fs::makedev(st.stx_rdev_major, st.stx_rdev_minor),
            mount_root: st.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        })
    }

    pub(super) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// Which inode this is, while it exists.
    pub(super) fn node(&self) -> (u64, u64) {
        (self.dev, self.ino)
    }

    /// Whether nothing was changed through the file system between the two looks.
    pub(super) fn same_version(&self, other: &Self) -> bool {
        self.node() == other.node()
            && self.ctime == other.ctime
            && self.mtime == other.mtime
            && self.size == other.size
    }
}

/// Permission bits, owner, modification time and extended attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attrs {
    /// The lower twelve bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    /// Sorted by name.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Attrs {
    pub(super) fn of(stat: &Stat, xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        Self { mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid, mtime: stat.mtime, xattrs }
    }
}

/// The extended attributes of `name` in `dir`, sorted. What this process may not read is left out.
pub(super) fn xattrs_of_name(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // The magic link leads to the very directory we hold; the calls beginning with `l` do not follow `name` itself.
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    collect(
        |buffer| rustix::fs::llistxattr(path.as_slice(), buffer),
        |attribute, buffer| rustix::fs::lgetxattr(path.as_slice(), attribute, buffer),
    )
}

/// The extended attributes of an open file or directory, sorted.
pub(super) fn xattrs_of_fd(fd: BorrowedFd<'_>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    collect(
        |buffer| rustix::fs::listxattr(path.as_str(), buffer),
        |attribute, buffer| rustix::fs::getxattr(path.as_str(), attribute, buffer),
    )
}

fn collect(
    list: impl Fn(&mut [u8]) -> Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize>,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // The kernel's own limits are 64 KiB for the list and for a value.
    let mut small = [0; 512];
    let mut large;
    let names = match list(&mut small) {
        Ok(len) => &small[..len],
        Err(Errno::RANGE) => {
            large = vec![0; 65536];
            let len = list(&mut large)?;
            &large[..len]
        }
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 65536];
        match get(name, &mut value) {
            Ok(len) => {
                value.truncate(len);
                value.shrink_to_fit();
                found.push((name.to_vec(), value));
            }
            Err(Errno::NODATA) => {}
            Err(_) if !name.starts_with(b"user.") => {}
            Err(error) => return Err(error),
        }
    }
    found.sort();
    Ok(found)
}

/// Opens the inode behind `name` for the purpose of changing its attributes: nothing is followed or read.
pub(super) fn grasp(dir: BorrowedFd<'_>, name: &[u8]) -> Result<std::os::fd::OwnedFd> {
    let name: &[u8] = if name.is_empty() { b"." } else { name };
    rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Gives the inode behind `fd` these attributes and returns what could not be given for want of a privilege.
pub(super) fn apply(fd: BorrowedFd<'_>, attrs: &Attrs) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    let is = Stat::of_fd(fd)?;
    let link = is.file_type() == FileType::Symlink;
    // A magic link leads to the inode itself, even if that is a symbolic link, and works for descriptors that
    // were opened with O_PATH because the file may not be read.
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let mut mode = attrs.mode;
    if (is.uid, is.gid) != (attrs.uid, attrs.gid) {
        let owner = (Some(Uid::from_raw(attrs.uid)), Some(Gid::from_raw(attrs.gid)));
        match rustix::fs::chownat(CWD, path.as_str(), owner.0, owner.1, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::PERM | Errno::INVAL) => {
                missing.push(format!("owner {}:{}", attrs.uid, attrs.gid));
                // Set-id bits speak for an owner; with another owner they would lend out the wrong identity.
                if mode & 0o6000 != 0 && !is.file_type().is_dir() {
                    missing.push("set-user-id and set-group-id bits".to_owned());
                    mode &= !0o6000;
                }
            }
            Err(error) => return Err(error),
        }
    }
    let differ = xattrs_of_fd(fd)? != attrs.xattrs;
    if differ && !link && is.mode & 0o200 == 0 {
        // Attributes are written like data: a file that forbids that to its owner gets its own mode below.
        let open = Mode::from_raw_mode(is.mode & 0o7777 | 0o200);
        rustix::fs::chmodat(CWD, path.as_str(), open, AtFlags::empty())?;
    }
    apply_xattrs(&path, fd, attrs, &mut missing)?;
    if !link {
        rustix::fs::chmodat(CWD, path.as_str(), Mode::from_raw_mode(mode), AtFlags::empty())?;
        if mode & 0o6000 != 0 && Stat::of_fd(fd)?.mode & 0o7777 != mode {
            missing.push(format!("mode {mode:o}"));
        }
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: i64::from(UTIME_OMIT as u32) as _ },
        last_modification: Timespec { tv_sec: attrs.mtime.sec, tv_nsec: attrs.mtime.nsec.into() },
    };
    rustix::fs::utimensat(CWD, path.as_str(), &times, AtFlags::empty())?;
    Ok(missing)
}

fn apply_xattrs(path: &str, fd: BorrowedFd<'_>, attrs: &Attrs, missing: &mut Vec<String>) -> Result<()> {
    let have = xattrs_of_fd(fd)?;
    if have == attrs.xattrs {
        return Ok(());
    }
    for (name, _) in have.iter().filter(|(name, _)| !attrs.xattrs.iter().any(|(wanted, _)| wanted == name)) {
        match rustix::fs::removexattr(path, name.as_slice()) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(_) if !name.starts_with(b"user.") => {
                missing.push(format!("absence of attribute {}", name.escape_ascii()));
            }
            Err(error) => return Err(error),
        }
    }
    for (name, value) in attrs.xattrs.iter().filter(|wanted| !have.contains(wanted)) {
        match rustix::fs::setxattr(path, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) => {
                missing.push(format!("attribute {}", name.escape_ascii()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
