//! A guest of one's own for each test, and looks at what runs in it that use none of what is tested.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;
use std::time::{Duration, Instant};

use grainchain_core::facet::Exec;
use grainchain_core::{Command, Output};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use crate::sys::scan::{Depth, Selector};
use crate::sys::tag::SandboxTag;
use crate::sys::tree;
use crate::{Guest, GuestConfig, kill_processes_of};

/// Longer than anything here takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Its processes die with it, also when the test fails.
pub(crate) struct TestGuest {
    guest: Guest,
    tag: u32,
    folder: tempfile::TempDir,
}

impl TestGuest {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tag = SandboxTag::random().unwrap().0;
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let environment = BTreeMap::from([("PATH".to_owned(), path.to_owned())]);
        let config = GuestConfig::new(folder.path(), tag).environment(environment);
        Self { guest: Guest::new(config).unwrap(), tag, folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// How many of its processes are alive, by their marks alone.
    pub(crate) fn alive(&self) -> usize {
        let selector = Selector { depth: Depth::Marks, ..Selector::sandbox(SandboxTag(self.tag)) };
        tree::find(&selector).unwrap().iter().filter(|entry| entry.is_alive()).count()
    }

    /// How many there are, dead ones that nobody has reaped included.
    pub(crate) fn alive_or_unreaped(&self) -> usize {
        let selector = Selector { depth: Depth::Marks, ..Selector::sandbox(SandboxTag(self.tag)) };
        tree::find(&selector).unwrap().len()
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path().join(name).exists()
    }

    pub(crate) async fn run(&self, command: impl Into<Command>) -> Output {
        within(self.guest.execute(command.into().timeout(LIMIT))).await.unwrap()
    }

    pub(crate) async fn text(&self, command: impl Into<Command>) -> String {
        self.run(command).await.stdout().trim_end().to_owned()
    }

    pub(crate) async fn error(&self, command: impl Into<Command>) -> grainchain_core::Error {
        within(self.guest.execute(command.into())).await.unwrap_err()
    }
}

impl Deref for TestGuest {
    type Target = Guest;

    fn deref(&self) -> &Guest {
        &self.guest
    }
}

impl Drop for TestGuest {
    fn drop(&mut self) {
        kill_processes_of(self.tag).unwrap();
    }
}

/// Fails instead of hanging.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("not in time")
}

/// Looks again until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs `test` on a thread with a view of the machine's files of its own, where `/proc` can be [hidden](without_proc). Only root can have
/// one: nothing happens for others.
pub(crate) fn in_a_view_of_its_own(test: impl AsyncFnOnce() + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let thread = std::thread::spawn(|| {
        let flags = UnshareFlags::NEWNS | UnshareFlags::FS;
        // SAFETY: no descriptors are unshared, and nobody relies on this thread's view.
        #[expect(unsafe_code, reason = "the call is marked unsafe for the sake of descriptors")]
        unsafe { rustix::thread::unshare_unsafe(flags) }.unwrap();
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
    thread.join().unwrap();
}

/// Waits for `work` while there are no processes to be seen. Only in [a view of its own](in_a_view_of_its_own).
pub(crate) async fn without_proc<T>(work: impl Future<Output = T>) -> T {
    rustix::mount::mount("none", "/proc", "tmpfs", MountFlags::empty(), None).unwrap();
    let done = work.await;
    rustix::mount::unmount("/proc", UnmountFlags::DETACH).unwrap();
    done
}
