//! The helper's program, as the build step made it.

use bytes::Bytes;
use grainchain_core::{Error, Result};

#[cfg(has_helper)]
static HELPER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/helper"));
#[cfg(not(has_helper))]
static HELPER: &[u8] = &[];

/// The program.
///
/// # Errors
///
/// `Unsupported` where this build has none.
pub(crate) fn helper() -> Result<Bytes> {
    if HELPER.is_empty() {
        return Err(Error::unsupported(
            "a helper in sandboxes, by this build for another system than Linux",
            "set guest = \"engine\" in [providers.docker]",
        )
        .option("guest"));
    }
    Ok(Bytes::from_static(HELPER))
}

/// Whether it runs on machines that the engine calls `architecture`: by the kernel's word (`x86_64`) or by Go's (`amd64`).
pub(crate) fn is_for(architecture: &str) -> bool {
    let ours = std::env::consts::ARCH;
    let go = match ours {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    architecture == ours || architecture == go
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helper_is_a_static_program_below_two_mebibytes() {
        let Ok(helper) = helper() else { return };
        assert!(helper.starts_with(b"\x7fELF"));
        assert!(helper.len() < 2 << 20, "{} bytes", helper.len());
        // The program's headers, in the 64-bit format: one of the type PT_INTERP would name a loader.
        let number = |at: usize, bytes: usize| {
            helper[at..at + bytes].iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
        };
        let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
        let mut kinds = (0..count).map(|index| number(start + index * size, 4));
        assert!(count > 0 && !kinds.any(|kind| kind == 3), "it needs a loader");
    }

    #[test]
    fn other_machines_are_told_apart() {
        assert!(is_for(std::env::consts::ARCH));
        assert!(!is_for("riscv64"));
    }
}
