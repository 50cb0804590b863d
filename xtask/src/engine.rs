//! A Docker engine for the tests: the one that answers, else one of our own where that is allowed; and the images that they need.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Result, cargo, images};

/// How long an engine may take to answer after its start, and to end after it was told to.
const PATIENCE: Duration = Duration::from_secs(60);

/// What does not run without an engine.
const NEEDY: &str = "EVERYTHING THAT NEEDS A DOCKER ENGINE";

/// The programs that a provisioned engine and its images need, with Debian's packages.
const PROGRAMS: &[(&str, &str)] = &[
    ("dockerd", "docker.io"),
    ("docker", "docker.io"),
    ("iptables", "iptables"),
    ("busybox", "busybox-static"),
    ("debootstrap", "debootstrap"),
];

/// Ways to start an engine, the usual one first: some machines have no bridges, some no storage that stacks.
const WAYS: &[&[&str]] = &[
    &[],
    &["--storage-driver=vfs"],
    &["--bridge=none", "--iptables=false"],
    &["--bridge=none", "--iptables=false", "--storage-driver=vfs"],
];

/// An engine that answers. One that we started ends with this, also on failure.
pub(crate) struct Engine {
    own: Option<Own>,
}

struct Own {
    daemon: Child,
    place: PathBuf,
}

impl Engine {
    /// Finds or starts an engine and makes the images. None, and aloud, when there is none and none may be started.
    pub(crate) fn ready(may_provision: bool) -> Result<Option<Self>> {
        let engine = if let Some(version) = version(None) {
            println!("\n── docker: the engine {version} answers");
            Self { own: None }
        } else if !may_provision {
            crate::not_run(
                NEEDY,
                "no engine answers; `--provision` (or CI=true) installs and starts one as root on Debian",
            );
            return Ok(None);
        } else if let Some(reason) = cannot_provision() {
            crate::not_run(NEEDY, &reason);
            return Ok(None);
        } else {
            install()?;
            Self { own: Some(start()?) }
        };
        images::make()?;
        Ok(Some(engine))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let Some(own) = &mut self.own else { return };
        println!("\n── docker: stopping the engine that was started");
        end(&mut own.daemon);
        fs::remove_dir_all(&own.place).ok();
    }
}

/// The docker command, for the engine that the tests use.
pub(crate) fn docker(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null());
    if let Some(host) = cargo::engine_host() {
        command.env("DOCKER_HOST", host);
    }
    command
}

/// The version of the engine that answers at `host`.
fn version(host: Option<&str>) -> Option<String> {
    let mut command = docker(&["version", "--format", "{{.Server.Version}}"]);
    if let Some(host) = host {
        command.env("DOCKER_HOST", host);
    }
    let output = command.stderr(Stdio::null()).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !version.is_empty()).then_some(version)
}

fn cannot_provision() -> Option<String> {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !is_root {
        return Some("no engine answers, and only root can start one".to_owned());
    }
    let missing = PROGRAMS.iter().any(|(program, _)| !installed(program));
    let has_apt = installed("apt-get");
    (missing && !has_apt).then(|| "no engine answers, and this is no Debian to install one on".to_owned())
}

/// Whether `program` is in the `PATH`.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).is_file())
}

fn install() -> Result {
    let mut packages: Vec<_> =
        PROGRAMS.iter().filter(|(program, _)| !installed(program)).map(|(_, package)| *package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    println!("\n── docker: installing {}", packages.join(", "));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        run(&mut command)
    };
    apt(&["update", "-q"])?;
    let mut arguments = vec!["install", "-q", "-y", "--no-install-recommends"];
    arguments.extend(&packages);
    apt(&arguments)
}

/// Runs `command`, whose output goes to ours.
pub(crate) fn run(command: &mut Command) -> Result {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("cannot run {name}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name} failed ({status})")) }
}

/// Where images and logs are kept between runs.
pub(crate) fn store() -> Result<PathBuf> {
    let store = cargo::root().join("target/engine");
    fs::create_dir_all(&store).map_err(|error| format!("make {}: {error}", store.display()))?;
    Ok(store)
}

fn start() -> Result<Own> {
    let store = store()?;
    // A socket's path must be short, which the one to the repository need not be.
    let place = std::env::temp_dir().join(format!("grainchain-engine-{}", std::process::id()));
    fs::create_dir_all(&place).map_err(|error| format!("make {}: {error}", place.display()))?;
    let host = format!("unix://{}", place.join("docker.sock").display());
    let mut told = String::new();
    for way in WAYS {
        println!("\n── docker: starting an engine {}", way.join(" "));
        let log_path = store.join("dockerd.log");
        let log =
            fs::File::create(&log_path).map_err(|error| format!("make {}: {error}", log_path.display()))?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let mut command = Command::new("dockerd");
        command.arg("--data-root").arg(store.join("data"));
        command.arg("--exec-root").arg(place.join("exec"));
        command.arg("--pidfile").arg(place.join("pid"));
        command.args(["-H", &host]).args(*way);
        let mut daemon = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("cannot run dockerd: {error}"))?;
        if answers(&mut daemon, &host) {
            cargo::use_engine(host);
            return Ok(Own { daemon, place });
        }
        end(&mut daemon);
        told = last_lines(&log_path);
    }
    fs::remove_dir_all(&place).ok();
    Err(format!("dockerd does not start here; it said last:\n{told}"))
}

fn answers(daemon: &mut Child, host: &str) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && !ended(daemon) {
        if let Some(version) = version(Some(host)) {
            println!("── docker: the engine {version} answers after {:.1} s", begun.elapsed().as_secs_f64());
            return true;
        }
        pause();
    }
    false
}

fn ended(daemon: &mut Child) -> bool {
    matches!(daemon.try_wait(), Ok(Some(_)) | Err(_))
}

/// Ends an engine that we started, politely at first: killed at once it would leave mounts and processes.
fn end(daemon: &mut Child) {
    if ended(daemon) {
        return;
    }
    Command::new("kill").args(["-TERM", &daemon.id().to_string()]).status().ok();
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if ended(daemon) {
            return;
        }
        pause();
    }
    daemon.kill().ok();
    daemon.wait().ok();
}

#[expect(clippy::disallowed_methods, reason = "another program's start and end send us no event")]
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}

fn last_lines(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(mut file) = fs::File::open(path) {
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        file.seek(SeekFrom::Start(length.saturating_sub(3000))).ok();
        file.read_to_string(&mut text).ok();
    }
    text
}
