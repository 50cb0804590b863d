//! The layer as a whole, against real processes that do not want to be found.

mod ending;
mod marking;
mod pausing;
mod starting;
mod streams;

mod waiting;

use std::{
    ffi::OsString,
    fs::File,
    io::Read,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::users::Account;

use super::{
    child::{Child, WaitStatus},
    spawn::{Spawn, SpawnError},
    tag::{CommandNumber, Mark, SandboxTag},
};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LIMIT: Duration = Duration::from_secs(20);

/// A program with everything that a [`Spawn`] borrows.
struct Setup {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    mark: Option<Mark>,
    user: Option<Account>,
}

fn program(words: &[&str]) -> Setup {
    Setup {
        program: words[0].into(),
        arguments: words[1..].iter().map(OsString::from).collect(),
        environment: vec![("PATH".into(), PATH.into())],
        mark: None,
        user: None,
    }
}

fn shell(script: &str) -> Setup {
    program(&["/bin/sh", "-c", script])
}

impl Setup {
    fn mark(mut self, mark: Mark) -> Self {
        self.mark = Some(mark);
        self
    }

    /// Without privileges even when the tests have them: most of what hostile code cannot do, root can.
    fn unprivileged(mut self) -> Self {
        if rustix::process::geteuid().is_root() {
            self.user = Some(Account { uid: 65534, gid: 65534, groups: Vec::new() });
        }
        self
    }

    fn with<'a>(&'a self, stdio: [BorrowedFd<'a>; 3]) -> Spawn<'a> {
        let mut spawn = Spawn::new(&self.program, &self.arguments, &self.environment, stdio);
        spawn.mark = self.mark;
        spawn.user = self.user.clone();
        spawn
    }

    fn try_start(&self) -> Result<Child, SpawnError> {
        let null = null();
        self.with([null.as_fd(); 3]).start()
    }

    fn start(&self) -> Child {
        self.try_start().unwrap()
    }

    /// Starts it with its standard output in a pipe.
    fn start_talking(&self) -> (Child, File) {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let null = null();
        let child = self.with([null.as_fd(), write.as_fd(), null.as_fd()]).start().unwrap();
        (child, File::from(read))
    }

    /// Starts it and waits for that many lines.
    fn start_until(&self, lines: usize) -> Child {
        let (child, mut output) = self.start_talking();
        await_lines(&mut output, lines);
        child
    }

    fn output(&self) -> (WaitStatus, Vec<u8>) {
        let (mut child, mut output) = self.start_talking();
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).unwrap();
        (wait(&mut child), bytes)
    }

    fn text(&self) -> String {
        String::from_utf8(self.output().1).unwrap()
    }
}

fn await_lines(output: &mut File, lines: usize) {
    let mut seen = 0;
    let mut byte = [0];
    while seen < lines {
        output.read_exact(&mut byte).unwrap();
        seen += usize::from(byte[0] == b'\n');
    }
}

fn null() -> OwnedFd {
    File::options().read(true).write(true).open("/dev/null").unwrap().into()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn wait(child: &mut Child) -> WaitStatus {
    block_on(async { tokio::time::timeout(LIMIT, child.wait()).await.unwrap().unwrap() })
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        pause();
    }
}

fn pause() {
    let millisecond = rustix::event::Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    rustix::event::poll(&mut [], Some(&millisecond)).unwrap();
}

fn fresh_mark() -> Mark {
    Mark { sandbox: SandboxTag::random().unwrap(), command: CommandNumber::new(1).unwrap() }
}

fn number(number: u32) -> CommandNumber {
    CommandNumber::new(number).unwrap()
}

/// A number of seconds that nobody else sleeps, so that a test can count its processes without the means
/// that it tests; whatever is left of them at the end is killed.
struct Token(String);

impl Token {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("1{:09}.{next:06}", std::process::id()))
    }

    /// The processes that are called `sleep <token>`, dead ones left out.
    fn alive(&self) -> Vec<i32> {
        let pids = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line == format!("sleep\0{}\0", self.0).as_bytes()
        })
        .collect()
    }

    fn await_alive(&self, count: usize) {
        eventually("the sleepers are there", || self.alive().len() == count);
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        for pid in self.alive() {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}
