//! Named steps at which a test can kill the process or attack. They cost nothing outside tests.

/// Marks that something lasting has just happened.
#[cfg(not(test))]
#[inline]
pub(super) fn step(_name: &'static str) {}

#[cfg(test)]
pub(super) use hook::{at_step, kill_at, step};

#[cfg(test)]
mod hook {
    use std::cell::RefCell;
    use std::sync::atomic::{AtomicI64, Ordering};

    type Attack = (&'static str, Box<dyn FnOnce()>);

    thread_local! {
        static ATTACK: RefCell<Option<Attack>> = const { RefCell::new(None) };
    }

    /// Does something once, when this thread comes to the step of this name.
    pub(in crate::snapshot) fn at_step(name: &'static str, attack: impl FnOnce() + 'static) {
        ATTACK.set(Some((name, Box::new(attack))));
    }

    static LEFT: AtomicI64 = AtomicI64::new(i64::MAX);

    /// Kills this process, as `kill -9` does, at the step with this number.
    pub(in crate::snapshot) fn kill_at(number: i64) {
        LEFT.store(number, Ordering::SeqCst);
    }

    pub(in crate::snapshot) fn step(name: &'static str) {
        if let Some((_, attack)) = ATTACK.with_borrow_mut(|attack| attack.take_if(|(at, _)| *at == name)) {
            attack();
        }
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
