//! A root of its own for each test, and the looks at the machine that tests share.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use grainchain_core::{Client, ErrorKind, ListFilter, Result, Sandbox, SandboxConfig, SandboxInfo};
use grainchain_local::{Local, LocalConfig};

/// Everything that is not one of ours and must stay as it is.
pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) client: Client,
}

pub(crate) fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    // Other users take part in some tests.
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let client = client(&folder.path().join("root"));
    World { folder, client }
}

pub(crate) fn client(root: &Path) -> Client {
    Client::new(Local::new(LocalConfig::at(root)).unwrap())
}

/// Ends what a test has left running, which would outlive it: its sandboxes go with the folder, their processes would not.
impl Drop for World {
    fn drop(&mut self) {
        let client = self.second_client();
        let clean = async move {
            for info in client.list(ListFilter::default()).await.unwrap_or_default() {
                // Some tests leave what cannot be removed.
                client.remove(&info.id).await.ok();
            }
        };
        // A thread of its own, since the test's runtime waits for us.
        std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(clean)).join().ok();
    }
}

impl World {
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A client of another program, as far as locks and memory go.
    pub(crate) fn second_client(&self) -> Client {
        client(&self.root())
    }

    pub(crate) fn folder(&self, id: &str) -> PathBuf {
        self.root().join("sandboxes").join(id)
    }

    pub(crate) async fn sandbox(&self) -> Sandbox {
        self.client.create(SandboxConfig::default()).await.unwrap()
    }

    /// A directory outside of the root, and a way to see whether it was touched.
    pub(crate) fn canary(&self) -> Canary {
        let path = self.path("canary");
        std::fs::create_dir_all(path.join("below")).unwrap();
        std::fs::write(path.join("below/file"), "precious").unwrap();
        std::fs::write(path.join("file"), "precious").unwrap();
        Canary { before: tree(&path), path }
    }

    pub(crate) async fn ids(&self) -> Vec<String> {
        let infos = self.client.list(ListFilter::default()).await.unwrap();
        infos.into_iter().map(|info| info.id.to_string()).collect()
    }

    pub(crate) async fn info(&self, id: &str) -> SandboxInfo {
        let infos = self.client.list(ListFilter::default()).await.unwrap();
        infos.into_iter().find(|info| info.id.as_str() == id).unwrap_or_else(|| panic!("{id} is not listed"))
    }

    /// What lies in limbo beside our lock.
    pub(crate) fn limbo(&self) -> Vec<String> {
        let mut names = names(&self.root().join("limbo"));
        names.retain(|name| name != "lock");
        names
    }
}

pub(crate) struct Canary {
    pub(crate) path: PathBuf,
    before: Vec<String>,
}

impl Canary {
    pub(crate) fn assert_untouched(&self) {
        assert_eq!(tree(&self.path), self.before);
    }
}

/// Every path below `path` with what it holds.
fn tree(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in names(path) {
        let path = path.join(name);
        if std::fs::symlink_metadata(&path).unwrap().is_dir() {
            found.push(format!("{}/", path.display()));
            found.extend(tree(&path));
        } else {
            found.push(format!("{}: {:?}", path.display(), std::fs::read_to_string(&path)));
        }
    }
    found
}

pub(crate) fn names(path: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The standard output of a command that has to succeed.
pub(crate) async fn run(sandbox: &Sandbox, command: &str) -> String {
    let output = sandbox.execute(command).await.unwrap();
    assert!(output.success(), "{command}: {}", output.combined());
    output.stdout().trim_end().to_owned()
}

/// Starts a command that left its session, and returns the number of its process.
pub(crate) async fn background(sandbox: &Sandbox, body: &str) -> u32 {
    let line = format!(
        "rm -f pid; setsid sh -c 'echo $$ > pid.new; mv pid.new pid; {body}' >/dev/null 2>&1 </dev/null & while ! [ -e pid ]; do :; done; cat pid"
    );
    run(sandbox, &line).await.parse().unwrap()
}

pub(crate) const FOREVER: &str = "exec sleep 100000";

fn process_state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

pub(crate) fn is_alive(pid: u32) -> bool {
    !matches!(process_state(pid), None | Some('Z' | 'X'))
}

pub(crate) fn is_frozen(pid: u32) -> bool {
    process_state(pid) == Some('T')
}

/// Waits until `condition` holds, for as long as a loaded machine may need.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < deadline, "it never came true that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[track_caller]
pub(crate) fn refused<T>(result: Result<T>, kind: ErrorKind, words: &str) {
    match result {
        Ok(_) => panic!("not refused, though {kind} was expected"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error:#}");
            assert!(error.to_string().contains(words), "{error:#} does not say {words:?}");
            assert!(error.remedy().is_some(), "{error:#} names no remedy");
        }
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
