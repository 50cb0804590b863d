//! What a benchmark moves, and the quiet before it does.

use std::fs;
use std::path::Path;
use std::process::Command;

use grainchain::{Error, Result};

/// Bytes that no file system can store as holes or compress.
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let next = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    next.flatten().take(count).collect()
}

/// Makes `count` files of `size` bytes below `root`, in folders of a hundred.
///
/// # Errors
///
/// When they cannot be written.
pub fn tree(root: &Path, count: u64, size: usize) -> Result<()> {
    for number in 0..count {
        let folder = root.join(format!("d{:03}", number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&folder).map_err(|error| Error::io("make a folder", error))?;
        }
        fs::write(folder.join(format!("f{number:05}")), noise(number, size))
            .map_err(|error| Error::io("write", error))?;
    }
    Ok(())
}

/// Lets the disk finish what came before, so that nobody pays for the other's writing.
pub fn settle() {
    // `sync` cannot fail in a way that matters to a measurement.
    Command::new("sync").status().ok();
}
