//! An engine of a test's own, which may be killed and started again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::Failed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, kill_process, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::world::{TINY, docker};

/// How long an engine may take to come up or to go.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine with a folder, a socket and containers of its own. They end with it.
pub(crate) struct OwnEngine {
    folder: TempDir,
    running: Option<Child>,
}

/// Why there can be none here; only root may start one.
pub(crate) fn impossible() -> Option<&'static str> {
    if !geteuid().is_root() {
        return Some("not root, who alone starts engines");
    }
    let places = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &str| std::env::split_paths(&places).any(|place| place.join(name).is_file());
    (!["dockerd", "unshare"].into_iter().all(is_there)).then_some("no `dockerd` or no `unshare` here")
}

impl OwnEngine {
    /// One that knows the tiny image, and whose containers go on while it is gone.
    pub(crate) async fn start() -> Result<Self, Failed> {
        let mut engine = Self { folder: tempfile::tempdir()?, running: None };
        // Whatever this machine's own engine is told does not hold for it.
        fs::write(engine.place("daemon.json"), "{}")?;
        engine.go_on().await?;
        let image = engine.place("tiny.tar");
        docker(&["save", "--output", &image.display().to_string(), TINY])?;
        docker(&["--host", &engine.host(), "load", "--input", &image.display().to_string()])?;
        Ok(engine)
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.place("engine.sock")
    }

    /// As `host` of the provider's settings.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Starts it, and waits until it answers.
    pub(crate) async fn go_on(&mut self) -> Result<(), Failed> {
        let folder = |name: &str| self.place(name).display().to_string();
        let log = File::create(self.place("log"))?;
        // Where a service says that it is ready.
        let (place, mut said) = (self.place("ready.sock"), [0; 64]);
        fs::remove_file(&place).ok();
        let ready = UnixDatagram::bind(&place)?;
        // Where this machine has a containerd of its own, the engine uses that one.
        let namespace =
            self.folder.path().file_name().unwrap_or_default().to_string_lossy().replace('.', "t");
        // In a network of its own: another engine's bridge is none of its business.
        let mut engine = Command::new("unshare")
            .args(["--net", "dockerd"])
            .env("NOTIFY_SOCKET", &place)
            .args([
                "--host",
                &self.host(),
                "--pidfile",
                &folder("pid"),
                "--config-file",
                &folder("daemon.json"),
            ])
            .args(["--data-root", &folder("data"), "--exec-root", &folder("exec"), "--live-restore"])
            .args([
                "--containerd-namespace",
                &namespace,
                "--containerd-plugins-namespace",
                &format!("{namespace}-plugins"),
            ])
            .args(["--iptables=false", "--ip6tables=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let is_up = async {
            tokio::select! {
                said = ready.recv(&mut said) => said.is_ok(),
                _ = engine.wait() => false,
            }
        };
        let is_up = timeout(PATIENCE, is_up).await.unwrap_or(false);
        self.running = Some(engine);
        if is_up { Ok(()) } else { Err(self.told()) }
    }

    fn told(&self) -> Failed {
        let said = fs::read_to_string(self.place("log")).unwrap_or_default();
        format!("the engine does not come up: {said}").into()
    }

    /// Kills it: it can put nothing in order.
    pub(crate) async fn kill(&mut self) -> Result<(), Failed> {
        let Some(mut engine) = self.running.take() else { return Ok(()) };
        engine.kill().await?;
        // Its number may be somebody else's soon.
        fs::remove_file(self.place("pid")).ok();
        // What it has started goes with it, a moment later. The next one would believe that it is there.
        let number = self.place("exec/containerd/containerd.pid");
        end(&number, Signal::KILL).ok();
        fs::remove_file(number).ok();
        Ok(())
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        // What it has started ends before its folders go.
        let all = docker(&["--host", &self.host(), "ps", "--quiet", "--all"]).unwrap_or_default();
        for container in all.lines() {
            docker(&["--host", &self.host(), "rm", "--force", container]).ok();
        }
        end(&self.place("pid"), Signal::TERM).ok();
        // Of an engine that is not there, with which a test has failed: what its containers ran, and what looked after them.
        let containers = fs::read_dir(self.place("data/containers")).into_iter().flatten().flatten();
        let ids = containers.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let words: Vec<_> = ids.chain([self.place("exec").display().to_string()]).collect();
        for process in processes_of(&words) {
            kill_process(process, Signal::KILL).ok();
        }
        for place in mounts_below(self.folder.path()) {
            unmount(place, UnmountFlags::DETACH).ok();
        }
    }
}

/// Ends the process whose number stands in `file`, and waits for that.
fn end(file: &Path, signal: Signal) -> io::Result<()> {
    let number = fs::read_to_string(file)?.trim().parse().map_err(io::Error::other)?;
    let number = Pid::from_raw(number).ok_or(io::ErrorKind::InvalidData)?;
    let process = pidfd_open(number, PidfdFlags::empty())?;
    pidfd_send_signal(&process, signal)?;
    let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience))?;
    Ok(())
}

/// The processes that have one of `words` in their command line, or in the name of their control group.
fn processes_of(words: &[String]) -> Vec<Pid> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_meant = |number: &i32| {
        ["cmdline", "cgroup"].iter().any(|name| {
            let told = fs::read(format!("/proc/{number}/{name}")).unwrap_or_default();
            let told = String::from_utf8_lossy(&told);
            words.iter().any(|word| told.contains(word))
        })
    };
    numbers.filter(is_meant).filter_map(Pid::from_raw).collect()
}

/// Where something is mounted below `folder`, the innermost first.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut places: Vec<_> = places.filter(|place| place.starts_with(folder)).collect();
    places.reverse();
    places
}
