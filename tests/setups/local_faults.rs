//! What only the provider `local` can be asked: its files on this machine are damaged, closed or have no room left.

#![expect(clippy::print_stderr, reason = "what could not run is said aloud")]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use grainchain_core::{Client, ErrorKind, ListFilter, Rename, Sandbox, SandboxConfig, SandboxStatus};
use grainchain_local::{Local, LocalConfig};
use grainchain_testkit::{Case, Failure, Outcome, fails};

/// A user to whom nothing belongs.
const NOBODY: u32 = 65534;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("local_faults::garbage_in_a_state_file_spoils_that_sandbox_alone", |_| Box::pin(garbage())),
        Case::new("local_faults::a_root_that_may_not_be_written_is_an_error_that_names_it", |_| {
            Box::pin(read_only())
        }),
        Case::new("local_faults::a_file_as_root_is_an_error_that_names_it", |_| Box::pin(file_as_root())),
        Case::new("local_faults::no_variable_of_the_client_reaches_a_command", |_| {
            Box::pin(inherits_nothing())
        }),
    ];
    let full =
        Case::new("local_faults::a_full_disk_is_told_and_the_old_file_stays", |_| Box::pin(full_disk()));
    let read_only = Case::new("local_faults::a_read_only_disk_is_told_and_the_old_state_stays", |_| {
        Box::pin(read_only_disk())
    });
    match SmallDisk::new() {
        Ok(_) => cases.extend([full, read_only]),
        Err(reason) => {
            [full, read_only].iter().for_each(|case| eprintln!("NOT RUN: {} ({reason})", case.name));
        }
    }
    let ordinary =
        Case::new(
            "local_faults::what_is_closed_is_closed_to_an_ordinary_user",
            |_| Box::pin(ordinary_user()),
        );
    if rustix::process::geteuid().is_root() {
        cases.push(ordinary);
    } else {
        eprintln!("NOT RUN: {} (only root becomes somebody else; here the cases run as one)", ordinary.name);
    }
    cases
}

fn require(condition: bool, otherwise: impl Into<String>) -> Outcome {
    if condition { Ok(()) } else { Err(Failure::new(otherwise)) }
}

fn client(root: &Path) -> Result<Client, grainchain_core::Error> {
    Ok(Client::from_arc(Arc::new(Local::new(LocalConfig::at(root))?)))
}

/// Every file below `folder` that describes a sandbox.
fn state_files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
    Ok(found)
}

async fn garbage() -> Outcome {
    for garbage in [&b""[..], b"{", b"null", b"[]", b"\xff\xfe\0\0", b"{\"version\":99}", &[b'x'; 100_000]] {
        let root = tempfile::tempdir()?;
        let client = client(root.path())?;
        let good = client.create(SandboxConfig::default()).await?;
        let bad = client.create(SandboxConfig::default()).await?;
        bad.execute("echo precious > file").await?;
        let folder = root.path().join("sandboxes").join(bad.id().as_str());
        let files = state_files(&folder)?;
        require(!files.is_empty(), "found no state file to damage")?;
        for file in &files {
            std::fs::write(file, garbage)?;
        }
        // Another program, which knows nothing but the files.
        let other = self::client(root.path())?;
        let list = other.list(ListFilter::default()).await?;
        let status = |sandbox: &Sandbox| {
            list.iter().find(|info| info.id == *sandbox.id()).map(|info| (info.status, info.reason.is_some()))
        };
        require(
            status(&bad) == Some((SandboxStatus::Error, true)),
            format!("the damaged one is listed as {:?}", status(&bad)),
        )?;
        require(
            status(&good) == Some((SandboxStatus::Running, false)),
            format!("the other is listed as {:?}", status(&good)),
        )?;
        require(good.execute("echo works").await?.stdout() == "works\n", "the other does not work")?;
        require(
            std::fs::read_to_string(folder.join("workspace/file"))? == "precious\n",
            "something was deleted",
        )?;
        fails(
            other.connect(bad.id().clone()).await,
            &[ErrorKind::Conflict, ErrorKind::Unexpected, ErrorKind::Config],
        )?;
        other.remove(bad.id()).await?;
        good.close().await?;
        require(other.list(ListFilter::default()).await?.is_empty(), "a damaged sandbox cannot be removed")?;
    }
    Ok(())
}

async fn read_only() -> Outcome {
    let folder = tempfile::tempdir()?;
    // Root may write everywhere but below a file system that takes nothing.
    let root = if rustix::process::geteuid().is_root() {
        PathBuf::from("/proc/grainchain")
    } else {
        folder.path().join("closed/root")
    };
    if let Some(parent) = root.parent().filter(|parent| parent.starts_with(folder.path())) {
        std::fs::create_dir(parent)?;
        std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o500))?;
    }
    let made = match client(&root) {
        Ok(client) => client.create(SandboxConfig::default()).await.map(drop),
        Err(error) => Err(error),
    };
    let Err(error) = made else { return Err("a sandbox was made where nothing can be written".into()) };
    require(
        error.to_string().contains(&root.display().to_string()),
        format!("does not name the folder: {error}"),
    )
}

async fn file_as_root() -> Outcome {
    let file = tempfile::NamedTempFile::new()?;
    let made = match client(file.path()) {
        Ok(client) => client.create(SandboxConfig::default()).await.map(drop),
        Err(error) => Err(error),
    };
    let Err(error) = made else { return Err("a sandbox was made in a file".into()) };
    require(
        error.to_string().contains(&file.path().display().to_string()),
        format!("does not name the file: {error}"),
    )?;
    require(file.path().is_file(), "the file was replaced")
}

/// The cases about permissions once more, in a program of an ordinary user: to root nothing is closed.
async fn ordinary_user() -> Outcome {
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777))?;
    let mut program = Command::new("/proc/self/exe");
    program
        .args(["_may_not_be_", "--test-threads", "2"])
        .env("GRAINCHAIN_TEST_SETUPS", "local")
        .env("TMPDIR", folder.path())
        .current_dir("/")
        .stdin(Stdio::null())
        .uid(NOBODY)
        .gid(NOBODY);
    let Ok(output) = tokio::task::spawn_blocking(move || program.output()).await else {
        return Err("the thread that ran the program was lost".into());
    };
    let output = output?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let ran = |name: &str| said.lines().any(|line| line.contains(name) && line.ends_with("ok"));
    require(output.status.success(), format!("ended with {}: {said}", output.status))?;
    for name in
        ["paths::a_file_that_may_not_be_read", "paths::a_directory_that_may_not_be_written", "a_root_that"]
    {
        require(ran(name), format!("{name} did not run: {said}"))?;
    }
    Ok(())
}

async fn inherits_nothing() -> Outcome {
    let root = tempfile::tempdir()?;
    let client = client(root.path())?;
    let sandbox = client.create(SandboxConfig::default()).await?;
    let output = sandbox.execute(["env"]).await?;
    sandbox.close().await?;
    let allowed = ["PATH", "HOME", "LANG", "TMPDIR", "USER", "PWD", "SHLVL", "_"];
    let text = output.stdout().into_owned();
    let names = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    let extra: Vec<_> =
        names.filter(|name| !allowed.contains(name) && std::env::var_os(name).is_some()).collect();
    require(extra.is_empty(), format!("commands see the client's {extra:?}"))
}

/// A file system of two mebibytes, where this machine lets us have one.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn new() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "grainchain-test"])
            .arg(folder.path())
            .output()?;
        require(output.status.success(), String::from_utf8_lossy(&output.stderr).trim().to_owned())?;
        Ok(Self { folder })
    }
}

impl SmallDisk {
    fn remount(&self, option: &str) -> Outcome {
        let output = Command::new("mount")
            .args(["-o", &format!("remount,{option}")])
            .arg(self.folder.path())
            .output()?;
        require(output.status.success(), String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What still lies there goes with it.
        if let Err(error) = Command::new("umount").arg("-l").arg(self.folder.path()).status() {
            eprintln!("umount {}: {error}", self.folder.path().display());
        }
    }
}

async fn full_disk() -> Outcome {
    let disk = SmallDisk::new()?;
    let client = client(disk.folder.path())?;
    let sandbox = client.create(SandboxConfig::default()).await?;
    sandbox.upload_file("note", "the old one").await?;
    let error = fails(sandbox.upload_file("note", vec![b'x'; 8 << 20]).await, &[ErrorKind::Exhausted])?;
    require(error.remedy().is_some(), format!("does not say what to do: {error}"))?;
    require(sandbox.download_file("note").await? == "the old one", "the old file is lost")?;
    require(sandbox.list_files(".").await?.len() == 1, "the half-written file stays")?;
    sandbox.execute("head -c 1500000 /dev/zero > big").await?;
    fails(sandbox.fork(1).await.map(drop), &[ErrorKind::Exhausted])?;
    require(client.list(ListFilter::default()).await?.len() == 1, "half a copy stays")?;
    sandbox.close().await?;
    require(client.list(ListFilter::default()).await?.is_empty(), "cannot be closed on a full disk")
}

async fn read_only_disk() -> Outcome {
    let disk = SmallDisk::new()?;
    let client = client(disk.folder.path())?;
    let sandbox = client.create(SandboxConfig::default()).await?;
    sandbox.upload_file("note", "the old one").await?;
    let snapshot = sandbox.create_snapshot("before").await?;
    disk.remount("ro")?;
    let denied = &[ErrorKind::Denied];
    fails(sandbox.upload_file("note", "the new one").await, denied)?;
    fails(sandbox.make_dir("dir").await, denied)?;
    fails(sandbox.remove("note").await, denied)?;
    fails(sandbox.rename(Rename::new("note", "other")).await, denied)?;
    fails(sandbox.create_snapshot("now").await, denied)?;
    fails(sandbox.restore_snapshot(&snapshot.id).await, denied)?;
    fails(sandbox.fork(1).await.map(drop), denied)?;
    fails(client.create(SandboxConfig::default()).await.map(drop), denied)?;
    require(sandbox.download_file("note").await? == "the old one", "the old file is lost")?;
    require(sandbox.list_snapshots().await?.len() == 1, "the old snapshot is lost")?;
    disk.remount("rw")?;
    sandbox.upload_file("note", "the new one").await?;
    sandbox.restore_snapshot(&snapshot.id).await?;
    require(sandbox.download_file("note").await? == "the old one", "the snapshot holds something else")?;
    sandbox.close().await?;
    require(client.list(ListFilter::default()).await?.is_empty(), "it cannot be closed afterwards")
}
