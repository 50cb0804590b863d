//! Named steps at which a test can kill the process. They cost nothing outside tests.

/// Marks that something lasting has just happened.
#[cfg(not(test))]
#[inline]
pub(super) fn step(_name: &'static str) {}

#[cfg(test)]
pub(super) use hook::{kill_at, step};

#[cfg(test)]
mod hook {
    use std::sync::atomic::{AtomicI64, Ordering};

    static LEFT: AtomicI64 = AtomicI64::new(i64::MAX);

    /// Kills this process, as `kill -9` does, at the step with this number.
    pub(in crate::snapshot) fn kill_at(number: i64) {
        LEFT.store(number, Ordering::SeqCst);
    }

    pub(in crate::snapshot) fn step(_name: &'static str) {
        if LEFT.fetch_sub(1, Ordering::SeqCst) == 0 {
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::KILL)
                .expect("a process may kill itself");
            loop {
                std::thread::park();
            }
        }
    }
}
