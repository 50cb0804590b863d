//! Reads and forgets what left-behind children write after their command has ended.
//!
//! Closing our end would kill a server that logs by `SIGPIPE`, and not reading would make it hang. One thread serves all
//! of them, needs no runtime, and ends when the last of these pipes was closed by its writers.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::event::epoll;
use rustix::io::Errno;

use crate::ending::Tree;
use crate::sys::pipe::Reader;

/// How much is read from one pipe before the others have their turn.
const TURN_READS: usize = 16;
const READ_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Drainer {
    /// Present while the thread runs.
    set: Option<Arc<OwnedFd>>,
    sources: HashMap<u64, (OwnedFd, Tree)>,
    next: u64,
}

static DRAINER: Mutex<Option<Drainer>> = Mutex::new(None);

/// Takes over the rest of `tree`'s output; returns at once. The tree stays known to its guest until the pipe is closed.
pub(crate) fn adopt(reader: Reader, tree: Tree) {
    lock().get_or_insert_default().add(reader.into_fd(), tree);
}

fn lock() -> MutexGuard<'static, Option<Drainer>> {
    DRAINER.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drainer {
    fn add(&mut self, fd: OwnedFd, tree: Tree) {
        let key = self.next;
        self.next += 1;
        self.sources.insert(key, (fd, tree));
        let watched = match &self.set {
            Some(set) => self.watch(set, key),
            None => self.start(),
        };
        if let Err(error) = watched {
            // It stays open, so the writer is not killed; once the pipe is full it waits.
            tracing::warn!(%error, "the output of a left-behind process cannot be drained");
        }
    }

    fn watch(&self, set: &OwnedFd, key: u64) -> std::io::Result<()> {
        let Some((fd, _)) = self.sources.get(&key) else { return Ok(()) };
        Ok(epoll::add(set, fd, epoll::EventData::new_u64(key), epoll::EventFlags::IN)?)
    }

    /// Also takes up what could not be watched before.
    fn start(&mut self) -> std::io::Result<()> {
        let set = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        for key in self.sources.keys() {
            self.watch(&set, *key)?;
        }
        let thread = thread::Builder::new().name("grainchain-drain".into()).stack_size(128 * 1024);
        let watched = Arc::clone(&set);
        thread.spawn(move || run(&watched))?;
        self.set = Some(set);
        Ok(())
    }

    /// False at the end.
    fn take_turn(&self, key: u64, buffer: &mut [u8]) -> bool {
        let Some((fd, _)) = self.sources.get(&key) else { return true };
        for _ in 0..TURN_READS {
            match rustix::io::read(fd, &mut *buffer) {
                Ok(0) => return false,
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                // EIO: the terminal's other side is closed.
                Err(_) => return false,
            }
        }
        true
    }
}

fn run(set: &OwnedFd) {
    let mut buffer = vec![0; READ_BYTES];
    let mut events = Vec::with_capacity(64);
    loop {
        events.clear();
        match epoll::wait(set, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                tracing::warn!(%error, "draining has failed");
                if let Some(drainer) = lock().as_mut() {
                    drainer.set = None;
                }
                return;
            }
        }
        let mut ended = Vec::new();
        let mut lock = lock();
        let Some(drainer) = lock.as_mut() else { return };
        for event in &events {
            let key = event.data.u64();
            if !drainer.take_turn(key, &mut buffer) {
                // Closing it takes it out of the set as well: nobody else has this descriptor.
                ended.extend(drainer.sources.remove(&key));
            }
        }
        if drainer.sources.is_empty() {
            drainer.set = None;
            return;
        }
    }
}
