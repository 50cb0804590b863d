//! Extended attributes of an open file

use std::ffi::CString;

use rustix::fd::AsFd;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// Name and value.
pub(super) type Attribute = (Vec<u8>, Vec<u8>);

/// Names of all attributes; none where the file system has no attributes.
pub(super) fn list(file: impl AsFd) -> Result<Vec<CString>, Errno> {
    // Almost always there are none, and asking should cost no more than the question.
    if rustix::fs::flistxattr(&file, &mut [0_u8; 64][..]) == Ok(0) {
        return Ok(Vec::new());
    }
    let mut buffer = vec![0_u8; 1024];
    loop {
        match rustix::fs::flistxattr(&file, &mut buffer[..]) {
            Ok(length) => {
                let names = buffer[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
                return Ok(names.filter_map(|name| CString::new(name).ok()).collect());
            }
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 8, 0),
            Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
            Err(errno) => return Err(errno),
        }
    }
}

/// The value of one attribute; none if it is gone.
pub(super) fn get(file: impl AsFd, name: &CString) -> Result<Option<Vec<u8>>, Errno> {
    let mut buffer = vec![0_u8; 256];
    loop {
        match rustix::fs::fgetxattr(&file, name, &mut buffer[..]) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(Some(buffer));
            }
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 8, 0),
            #[cfg(target_os = "linux")]
            Err(Errno::NODATA) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
}

/// Sets one attribute.
pub(super) fn set(file: impl AsFd, name: &CString, value: &[u8]) -> Result<(), Errno> {
    rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())
}
