//! A home, a state folder and a working folder that no other test sees.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything here takes, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["home", "here"] {
            std::fs::create_dir(world.folder.path().join(name)).unwrap();
        }
        world
    }

    /// The working folder of the command.
    pub(crate) fn here(&self) -> PathBuf {
        self.folder.path().join("here")
    }

    /// The command, ready for arguments.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grainchain"));
        self.surround(&mut command);
        command
    }

    /// Puts a command into this world.
    pub(crate) fn surround(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", own("PATH").unwrap())
            .envs(engine())
            .env("HOME", self.folder.path().join("home"))
            .env("GRAINCHAIN_LOCAL_ROOT", self.folder.path().join("state"))
            .current_dir(self.here())
            .stdin(Stdio::null());
    }

    /// Runs the command to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        Ran(self.command().args(arguments).output().unwrap())
    }

    /// As [`run`](Self::run), with `input` on stdin.
    pub(crate) fn run_with<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: impl Into<Vec<u8>>,
    ) -> Ran {
        let mut child = self
            .command()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.into());
        // A command that reads no further is the test's business, not ours.
        let writer = std::thread::spawn(move || stdin.write_all(&input).ok());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ran(output)
    }

    /// Starts the command and lets the test watch it.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Running {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped());
        Running::start(command)
    }

    /// A sandbox that stays.
    pub(crate) fn sandbox(&self) -> String {
        let created = self.run(["create", "--quiet"]).succeeded();
        created.stdout().trim().to_owned()
    }

    /// The ids of all sandboxes.
    pub(crate) fn sandboxes(&self) -> Vec<String> {
        let listed = self.run(["list", "--quiet"]).succeeded();
        listed.stdout().lines().map(str::to_owned).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Whatever a failed test left behind ends with it; other providers are shared with others.
        self.command().args(["kill", "--all", "--provider", "local"]).output().ok();
    }
}

/// What says where the engine is; the folder of the docker command is not below the home of the tests.
fn engine() -> impl Iterator<Item = (&'static str, String)> {
    let names = ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_TLS"];
    let folder = own("DOCKER_CONFIG").or_else(|| Some(format!("{}/.docker", own("HOME")?)));
    let set = names.into_iter().filter_map(|name| Some((name, own(name)?)));
    set.chain(folder.map(|folder| ("DOCKER_CONFIG", folder)))
}

#[expect(
    clippy::disallowed_methods,
    reason = "programs and the engine are found where this program finds them"
)]
fn own(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A command that ended.
pub(crate) struct Ran(pub(crate) Output);

impl Ran {
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    pub(crate) fn code(&self) -> i32 {
        self.0.status.code().unwrap_or_else(|| panic!("ended by {}", self.0.status))
    }

    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        self.ended(0)
    }

    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "stdout: {}\nstderr: {}", self.stdout(), self.stderr());
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.0.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout()))
    }

    /// The error that was complained about in JSON.
    #[track_caller]
    pub(crate) fn error(&self) -> Value {
        let stderr = self.stderr();
        let lines = stderr.lines().map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?} of {stderr}"))
        });
        let mut errors: Vec<Value> = lines.filter_map(|line: Value| line.get("error").cloned()).collect();
        errors.pop().unwrap_or_else(|| panic!("no error in {stderr}"))
    }
}

/// Output as it comes.
pub(crate) struct Watch {
    output: mpsc::Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Watch {
    pub(crate) fn new(streams: impl IntoIterator<Item = Box<dyn Read + Send>>) -> Self {
        let (sender, output) = mpsc::channel();
        for stream in streams {
            let sender = sender.clone();
            std::thread::spawn(move || forward(stream, &sender));
        }
        Self { output, seen: Vec::new() }
    }

    /// Waits until `text` was written.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.text().contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(error) => panic!("no `{text}` but {error}: {}", self.text()),
            }
        }
    }

    /// Waits until all streams are closed.
    #[track_caller]
    fn wait_for_end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end: {}", self.text()),
            }
        }
    }

    /// What was seen so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}

/// A command that runs; stdout and stderr are watched together.
pub(crate) struct Running {
    child: Child,
    watch: Watch,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        Self { child, watch: Watch::new(streams) }
    }

    /// Waits until `text` was written.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.watch.wait_for(text);
    }

    /// What was seen so far.
    pub(crate) fn text(&self) -> String {
        self.watch.text()
    }

    pub(crate) fn stdin(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().unwrap()
    }

    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        signal_child(&self.child, signal);
    }

    /// Waits for its end and what it still wrote.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.watch.wait_for_end();
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn signal_child(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).unwrap();
}

fn forward(mut stream: impl Read, sender: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if sender.send(buffer[..count].to_vec()).is_err() {
            return;
        }
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} never happens");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Whether a `sleep` of so many seconds lives.
pub(crate) fn lives(seconds: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| line == format!("sleep\0{seconds}\0").as_bytes())
}

/// A number of seconds for `sleep` that no other test sleeps.
pub(crate) fn unique_sleep() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}.{}", 5000 + NEXT.fetch_add(1, Ordering::Relaxed), std::process::id())
}

/// Writes a file of this machine.
pub(crate) fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}
