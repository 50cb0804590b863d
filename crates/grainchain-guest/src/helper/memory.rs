//! How the helper keeps memory that it has done with.

/// Up to this size memory is taken from what is kept: larger than what is read at once.
const FROM_KEPT: libc::c_int = 1 << 20;
/// How much that nobody uses is kept.
const KEPT: libc::c_int = 4 << 20;

/// Keeps some of it, as transfers give back and take again what they read into: the kernel would empty every page of that before.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the allocator's settings have no safe form")]
pub(super) fn settle() {
    // SAFETY: numbers only. Refused, nothing changes but the speed.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, FROM_KEPT);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

/// Other allocators have settings of their own.
#[cfg(not(target_env = "gnu"))]
pub(super) fn settle() {}
