//! Reaps children that nobody waits for any more, with or without an async runtime.
//!
//! One thread, started when the first such child appears, sleeps until one of them ends. If the thread cannot
//! be started, every later child that is dropped sweeps the list instead.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
};

use rustix::{event::epoll, io::Errno};

use super::child::Handle;

struct Reaper {
    /// Absent when the system refused the set or the thread.
    ends: Option<OwnedFd>,
    waiting: Mutex<HashMap<u64, Handle>>,
}

static REAPER: OnceLock<Reaper> = OnceLock::new();

/// Takes over a child; returns at once.
pub(super) fn adopt(child: Handle) {
    if child.reap_now() {
        return;
    }
    let reaper = REAPER.get_or_init(Reaper::start);
    let mut waiting = reaper.lock();
    // The pid is pinned as long as the child is unreaped, so the key is unique.
    let key = child.pid() as u64;
    let watched = reaper.ends.as_ref().is_some_and(|ends| {
        epoll::add(ends, child.descriptor(), epoll::EventData::new_u64(key), epoll::EventFlags::IN).is_ok()
    });
    if !watched {
        waiting.retain(|_, child| !child.reap_now());
    }
    waiting.insert(key, child);
}

impl Reaper {
    fn start() -> Self {
        let thread = thread::Builder::new().name("grainchain-reap".into()).stack_size(128 * 1024);
        let ends = epoll::create(epoll::CreateFlags::CLOEXEC).ok().filter(|_| thread.spawn(run).is_ok());
        Self { ends, waiting: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Handle>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self, ends: &OwnedFd, key: u64) {
        let mut waiting = self.lock();
        if let Some(child) = waiting.get(&key)
            && child.reap_now()
        {
            // Others may still hold the descriptor, so that dropping ours would not take it out of the set.
            let gone = epoll::delete(ends, child.descriptor());
            debug_assert!(gone.is_ok(), "{gone:?}");
            waiting.remove(&key);
        }
    }
}

fn run() {
    let reaper = REAPER.wait();
    let Some(ends) = &reaper.ends else { return };
    let mut events = Vec::with_capacity(64);
    loop {
        events.clear();
        match epoll::wait(ends, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        for event in &events {
            reaper.ended(ends, event.data.u64());
        }
    }
}
