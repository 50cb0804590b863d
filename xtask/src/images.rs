//! The images that the tests use, made on this machine: no registry is asked for any.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;
use crate::engine::{docker, installed, run, store};

/// A system of nothing but busybox. The number changes with what is in it.
const TINY: &str = "grainchain-test/tiny:1";

/// A small Debian with Python. The number changes with what is in it.
pub(crate) const PYTHON: &str = "grainchain-test/python:1";

const PATH: &str = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes what the engine does not have yet. The Python image is made once per machine; without its tools it is left out, aloud.
pub(crate) fn make() -> Result {
    if !has(TINY) {
        tiny()?;
    }
    if has(PYTHON) {
        return Ok(());
    }
    let kept = store()?.join(format!("{}.tar", PYTHON.replace(['/', ':'], "-")));
    if !kept.is_file() {
        if !installed("debootstrap") {
            println!(
                "\nNOT RUN: EVERYTHING THAT NEEDS THE PYTHON IMAGE: there is no debootstrap to make it with"
            );
            return Ok(());
        }
        debian(&kept)?;
    }
    println!("\n── docker: importing {PYTHON}");
    let archive = fs::File::open(&kept).map_err(|error| format!("open {}: {error}", kept.display()))?;
    run(docker(&["import", "--change", PATH, "-", PYTHON]).stdin(archive).stdout(Stdio::null()))
}

fn has(image: &str) -> bool {
    docker(&["image", "inspect", image])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn tiny() -> Result {
    println!("\n── docker: making {TINY}");
    let Some(busybox) =
        ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).is_file())
    else {
        return Err("there is no busybox to make the test image of: install busybox-static".to_owned());
    };
    let folder = Scratch::new("tiny")?;
    let fail = |error: std::io::Error| format!("make the test image: {error}");
    for (name, mode) in [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777)] {
        let path = folder.path().join(name);
        fs::create_dir(&path).map_err(fail)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(fail)?;
    }
    fs::copy(busybox, folder.path().join("bin/busybox")).map_err(fail)?;
    let listed = Command::new(busybox).arg("--list").output().map_err(fail)?;
    for applet in String::from_utf8_lossy(&listed.stdout).lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", folder.path().join("bin").join(applet)).map_err(fail)?;
    }
    // Debian's busybox has no cksum; the tests want any sum of what they read.
    let sum = folder.path().join("bin/cksum");
    if !sum.exists() {
        fs::write(&sum, "#!/bin/sh\nexec sha256sum \"$@\"\n").map_err(fail)?;
        fs::set_permissions(&sum, fs::Permissions::from_mode(0o755)).map_err(fail)?;
    }
    let users = "root:x:0:0:root:/root:/bin/sh\nworker:x:1234:1234::/tmp:/bin/sh\n";
    fs::write(folder.path().join("etc/passwd"), users).map_err(fail)?;
    fs::write(folder.path().join("etc/group"), "root:x:0:\nworker:x:1234:\n").map_err(fail)?;
    let mut tar = Command::new("tar")
        .args(["--owner=0", "--group=0", "--numeric-owner", "-c", "."])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(fail)?;
    let Some(archive) = tar.stdout.take() else { return Err("tar has no output".to_owned()) };
    run(docker(&["import", "--change", PATH, "-", TINY]).stdin(archive).stdout(Stdio::null()))?;
    let folded = tar.wait().map_err(fail)?;
    if folded.success() { Ok(()) } else { Err(format!("tar failed ({folded})")) }
}

/// Folds a small Debian with Python into `kept`.
fn debian(kept: &Path) -> Result {
    println!("\n── docker: making {PYTHON}, once on this machine");
    let folder = Scratch::new("python")?;
    let root = folder.path().join("root");
    let mut bootstrap = Command::new("debootstrap");
    bootstrap.args(["--variant=minbase", "--include=python3", "bookworm"]).arg(&root);
    run(bootstrap.stdin(Stdio::null()).stdout(Stdio::null()))?;
    // Under its own name only when it is whole.
    let draft = kept.with_extension("draft");
    let mut tar = Command::new("tar");
    tar.args([
        "--one-file-system",
        "--numeric-owner",
        "--exclude=./var/cache/apt/archives/*.deb",
        "--exclude=./var/lib/apt/lists/*",
    ]);
    run(tar.arg("-cf").arg(&draft).arg("-C").arg(&root).arg("."))?;
    fs::rename(&draft, kept).map_err(|error| format!("keep {}: {error}", kept.display()))
}

/// A folder that goes when this goes.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("grainchain-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("make {}: {error}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
