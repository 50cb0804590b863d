//! Commands that attack what we keep about their sandbox, and machines that fail.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use grainchain_core::{ErrorKind, GcOptions, ListFilter, Sandbox, SandboxConfig, SandboxStatus};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::other::Other;
use crate::world::{
    FOREVER, World, background, client, eventually, is_alive, is_frozen, is_root, refused, run, world,
};

/// Everything that changes something on disk. How it ends does not matter here, only what it touches and that it ends.
async fn do_everything(sandbox: &Sandbox) {
    let all = async {
        drop(sandbox.info().await);
        drop(sandbox.set_lifetime(Duration::from_secs(1000)).await);
        let snapshot = sandbox.create_snapshot("one").await;
        drop(sandbox.upload_file("uploaded", "content").await);
        drop(sandbox.pause().await);
        drop(sandbox.resume().await);
        if let Ok(snapshot) = snapshot {
            drop(sandbox.restore_snapshot(&snapshot.id).await);
            drop(sandbox.delete_snapshot(&snapshot.id).await);
        }
        for copy in sandbox.fork(1).await.unwrap_or_default() {
            drop(copy.close().await);
        }
        drop(sandbox.terminate().await);
        drop(sandbox.wake_up().await);
        drop(sandbox.execute("true").await);
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("something hangs");
}

/// Lets a command do `attack`, with `$CANARY` as the place where nothing may happen, and then does everything through this client,
/// through another one, and at last removes the sandbox.
async fn survives(attack: &str) {
    let world = world();
    let canary = world.canary();
    let sandbox = world.sandbox().await;
    sandbox.create_snapshot("before").await.unwrap();
    let pid = background(&sandbox, FOREVER).await;
    let output = sandbox.execute(attack).env("CANARY", canary.path.to_str().unwrap()).await.unwrap();
    assert!(output.success(), "{}", output.combined());
    do_everything(&sandbox).await;
    canary.assert_untouched();
    let second = world.second_client();
    if let Ok(again) = second.connect(sandbox.id().clone()).await {
        do_everything(&again).await;
    }
    drop(second.gc(GcOptions::default()).await);
    canary.assert_untouched();
    let closed = sandbox.close().await;
    canary.assert_untouched();
    assert!(!is_alive(pid));
    if closed.is_ok() {
        assert!(world.limbo().is_empty(), "{:?}", world.limbo());
    }
    for info in world.client.list(ListFilter::default()).await.unwrap_or_default() {
        drop(world.client.remove(&info.id).await);
    }
    drop(world.client.gc(GcOptions::default().broken()).await);
    canary.assert_untouched();
}

#[tokio::test]
async fn a_link_in_place_of_the_workspace_leads_nowhere() {
    survives("mv ../workspace ../was && ln -s $CANARY ../workspace").await;
}

#[tokio::test]
async fn a_link_in_place_of_the_snapshots_leads_nowhere() {
    survives("rm -r ../snapshots && ln -s $CANARY ../snapshots").await;
}

#[tokio::test]
async fn links_within_the_snapshots_lead_nowhere() {
    survives("cd ../snapshots && rm -r * && for name in objects manifests work index lock; do ln -s $CANARY $name; done").await;
}

#[tokio::test]
async fn a_link_in_place_of_the_state_leads_nowhere() {
    survives("mv ../sandbox.json ../was && ln -s $CANARY/file ../sandbox.json").await;
    survives("rm ../sandbox.json && ln -s $CANARY/new ../sandbox.json").await;
}

#[tokio::test]
async fn links_in_place_of_lease_lock_and_marker_lead_nowhere() {
    survives("for name in lease lock still; do rm -f ../$name; ln -s $CANARY/new-$name ../$name; done").await;
    survives("for name in lease lock still; do rm -f ../$name; ln -s $CANARY/file ../$name; done").await;
}

#[tokio::test]
async fn pipes_in_place_of_our_files_hold_nobody_up() {
    survives("for name in lease lock still sandbox.json; do rm -f ../$name; mkfifo ../$name; done").await;
}

#[tokio::test]
async fn directories_in_place_of_our_files_are_survived() {
    survives("for name in lease lock still sandbox.json; do rm -f ../$name; mkdir ../$name; done").await;
}

#[tokio::test]
async fn a_link_in_place_of_the_whole_folder_leads_nowhere() {
    survives("mv \"$(cd .. && pwd -P)\" ../../moved && ln -s $CANARY \"$(dirname \"$HOME\")\"").await;
}

#[tokio::test]
async fn a_link_in_place_of_limbo_leads_nowhere() {
    survives("mkdir -p $CANARY/../gone_x && rm -r ../../../limbo && ln -s $CANARY ../../../limbo").await;
}

#[tokio::test]
async fn a_link_in_place_of_all_sandboxes_leads_nowhere() {
    survives("mv ../../../sandboxes ../../../moved && ln -s $CANARY ../../../sandboxes").await;
}

#[tokio::test]
async fn a_link_in_place_of_the_temporary_directory_leads_nowhere() {
    survives("rmdir ../tmp && ln -s $CANARY ../tmp").await;
}

#[tokio::test]
async fn a_sandbox_that_removes_itself_is_gone() {
    let world = world();
    let sandbox = world.sandbox().await;
    let pid = background(&sandbox, FOREVER).await;
    run(&sandbox, "rm -rf \"$(dirname \"$HOME\")\"").await;
    refused(sandbox.execute("true").await, ErrorKind::NotFound, "closed");
    sandbox.close().await.unwrap();
    assert!(!is_alive(pid));
    assert!(world.ids().await.is_empty());
}

#[tokio::test]
async fn drafts_named_by_a_link_in_limbo_are_unlinked_only() {
    let world = world();
    let canary = world.canary();
    world.sandbox().await;
    for name in ["new_link", "gone_link"] {
        symlink(&canary.path, world.root().join("limbo").join(name)).unwrap();
    }
    drop(world.client.gc(GcOptions::default()).await);
    canary.assert_untouched();
}

/// Starts a command that locks the file at `path`, relative to the workspace, and never gives it up.
async fn holding(world: &World, sandbox: &Sandbox, path: &str) -> u32 {
    run(sandbox, &format!("touch {path}")).await;
    let pid = background(sandbox, &format!("exec flock {path} sleep 100000")).await;
    let file = fs::File::open(world.folder(sandbox.id().as_str()).join("workspace").join(path)).unwrap();
    eventually("it holds the lock", async || {
        file.try_lock_shared().inspect(|()| file.unlock().unwrap()).is_err()
    })
    .await;
    pid
}

/// What is tried has to end by itself.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("it hangs")
}

#[tokio::test]
async fn a_command_that_holds_the_lock_of_the_snapshots_is_named_and_can_be_ended() {
    let world = world();
    let sandbox = world.sandbox().await;
    run(&sandbox, "echo kept > file").await;
    let snapshot = sandbox.create_snapshot("before").await.unwrap();
    let pid = holding(&world, &sandbox, "../snapshots/lock").await;
    let error = soon(sandbox.create_snapshot("during")).await.unwrap_err();
    assert!(error.to_string().contains("snapshots/lock"), "{error}");
    refused::<()>(Err(error), ErrorKind::Conflict, &format!("process {pid} (flock)"));
    assert!(!is_frozen(pid), "what stood still for the snapshot goes on");
    // Neither looking nor connecting needs the lock.
    assert_eq!(soon(sandbox.list_snapshots()).await.unwrap().len(), 1);
    let second = world.second_client();
    let again = soon(second.connect(sandbox.id().clone())).await.unwrap();
    assert_eq!(run(&again, "cat file").await, "kept");
    // A restore ends every command, this one too.
    soon(sandbox.restore_snapshot(&snapshot.id)).await.unwrap();
    assert!(!is_alive(pid));
    holding(&world, &sandbox, "../snapshots/lock").await;
    sandbox.terminate().await.unwrap();
    sandbox.wake_up().await.unwrap();
    soon(sandbox.create_snapshot("after")).await.unwrap();
}

#[tokio::test]
async fn a_command_that_holds_the_lease_is_named_to_whoever_wants_to_connect() {
    let world = world();
    let mut maker = Other::start(&world.root());
    let id = maker.ask("create");
    let sandbox = world.client.connect(id.clone()).await.unwrap();
    run(&sandbox, "rm ../lease").await;
    let pid = holding(&world, &sandbox, "../lease").await;
    let connected = soon(world.second_client().connect(id)).await;
    refused(connected, ErrorKind::Conflict, &format!("process {pid} (flock)"));
    sandbox.close().await.unwrap();
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_command_that_holds_the_lock_of_limbo_is_named_to_whoever_creates() {
    let world = world();
    let sandbox = world.sandbox().await;
    let pid = holding(&world, &sandbox, "../../../limbo/lock").await;
    let created = soon(world.client.create(SandboxConfig::default())).await;
    refused(created, ErrorKind::Conflict, &format!("process {pid} (flock)"));
    sandbox.close().await.unwrap();
    world.sandbox().await;
}

#[tokio::test]
async fn a_command_that_holds_our_locks_is_ended_by_close() {
    let world = world();
    let sandbox = world.sandbox().await;
    let pid = holding(&world, &sandbox, "../lock").await;
    sandbox.close().await.unwrap();
    assert!(!is_alive(pid));
    assert!(world.ids().await.is_empty());
}

#[tokio::test]
async fn processes_that_ignore_signals_and_sit_in_the_workspace_do_not_hinder_close() {
    let world = world();
    let sandbox = world.sandbox().await;
    let pid =
        background(&sandbox, "trap \"\" TERM HUP INT QUIT; mkdir in; cd in; while :; do sleep 1; done").await;
    sandbox.close().await.unwrap();
    assert!(!is_alive(pid));
    assert!(!world.folder(sandbox.id().as_str()).exists());
    assert!(world.limbo().is_empty());
}

#[tokio::test]
async fn trees_that_are_locked_and_deep_are_removed() {
    let world = world();
    let root = world.path("theirs");
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, PermissionsExt::from_mode(0o777)).unwrap();
    let mut other = Other::start_as_nobody(&root.join("root"));
    let id = other.ask("create");
    let name = "d".repeat(200);
    other.ask(&format!("run {id} i=0; while [ $i -lt 100 ]; do mkdir {name} && cd -P {name} || break; i=$((i+1)); done; touch deepest"));
    other.ask(&format!(
        "run {id} mkdir -p a/b a/c && touch a/b/file && chmod 0 a/b && chmod 555 a . .. && chmod 444 a/c"
    ));
    other.ask(&format!("close {id}"));
    assert_eq!(other.ask("list"), "");
    assert!(crate::world::names(&root.join("root/sandboxes")).is_empty());
    assert_eq!(crate::world::names(&root.join("root/limbo")), ["lock"]);
}

#[tokio::test]
async fn without_the_right_to_write_create_and_close_say_so_and_lose_nothing() {
    let world = world();
    let root = world.path("theirs");
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, PermissionsExt::from_mode(0o777)).unwrap();
    let mut other = Other::start_as_nobody(&root.join("root"));
    let id = other.ask("create");
    other.ask(&format!("run {id} chmod 555 ../.."));
    let error = other.try_ask(&format!("close {id}")).unwrap_err();
    assert!(error.starts_with("denied") && error.contains("writable"), "{error}");
    assert_eq!(other.ask("list"), id, "it can still be seen");
    let error = other.try_ask("create").unwrap_err();
    assert!(error.starts_with("denied") && error.contains("sandboxes"), "{error}");
    fs::set_permissions(root.join("root/sandboxes"), PermissionsExt::from_mode(0o755)).unwrap();
    other.ask(&format!("remove {id}"));
    assert_eq!(other.ask("list"), "");
}

#[tokio::test]
async fn an_unreadable_file_fails_the_snapshot_and_leaves_the_sandbox_running() {
    let world = world();
    let root = world.path("theirs");
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, PermissionsExt::from_mode(0o777)).unwrap();
    let mut other = Other::start_as_nobody(&root.join("root"));
    let id = other.ask("create");
    other.ask(&format!("run {id} echo secret > file; chmod 0 file"));
    let error = other.try_ask(&format!("snapshot {id}")).unwrap_err();
    assert!(error.starts_with("denied") && error.contains("file"), "{error}");
    assert_eq!(other.ask(&format!("run {id} echo here")), "here");
    assert_eq!(other.ask(&format!("status {id}")), "running");
    other.ask(&format!("run {id} chmod 600 file"));
    other.ask(&format!("snapshot {id}"));
}

#[tokio::test]
async fn a_root_that_cannot_be_is_an_error_with_a_remedy() {
    let world = world();
    let file = world.path("file");
    fs::write(&file, "precious").unwrap();
    for root in [file.clone(), file.join("below"), PathBuf::from("/proc/nothing")] {
        let client = client(&root);
        let error = client.create(SandboxConfig::default()).await.unwrap_err();
        assert!(error.to_string().contains(root.to_str().unwrap()), "{error:#}");
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("root")), "{error:#}");
        let error = client.check().await.unwrap_err();
        assert_eq!(error.failed_option(), Some("root"), "{error:#}");
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "precious");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_whose_future_is_dropped_leaves_at_most_what_gc_finds() {
    let world = world();
    for micros in (0..60).map(|n| n * 50) {
        let cut = tokio::time::timeout(
            Duration::from_micros(micros),
            world.client.create(SandboxConfig::default()),
        );
        if let Ok(made) = cut.await {
            made.unwrap().close().await.unwrap();
        }
    }
    eventually("gc finds all", async || {
        world.client.gc(GcOptions::default()).await.unwrap();
        world.ids().await.is_empty() && world.limbo().is_empty()
    })
    .await;
}

/// A file system of its own below `path`, as large as `size` says.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: &Path, size: &str) -> Option<Self> {
        fs::create_dir(path).unwrap();
        let options = std::ffi::CString::new(format!("size={size}")).unwrap();
        let mounted = rustix::mount::mount("tmpfs", path, "tmpfs", MountFlags::empty(), options.as_c_str());
        if let Err(error) = mounted {
            assert!(!is_root() || error == rustix::io::Errno::PERM, "{error}");
            let mut stderr = std::io::stderr();
            writeln!(stderr, "SKIPPED: only the superuser can mount a small disk").unwrap();
            return None;
        }
        Some(Self(path.to_owned()))
    }

    fn read_only(&self, flag: MountFlags) {
        rustix::mount::mount_remount(&self.0, flag, c"").unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

#[tokio::test]
async fn on_a_full_disk_everything_fails_clearly_and_the_old_state_stays() {
    let world = world();
    let Some(disk) = Disk::mount(&world.path("disk"), "8m") else { return };
    let client = client(&disk.0.join("root"));
    let sandbox = client.create(SandboxConfig::default()).await.unwrap();
    let before = sandbox.create_snapshot("before").await.unwrap();
    let pid = background(&sandbox, FOREVER).await;
    let filled = sandbox.execute("head -c 20000000 /dev/urandom > fill; tail -c 1 fill").await.unwrap();
    assert!(filled.success(), "{}", filled.combined());
    let expires_at = sandbox.info().await.unwrap().expires_at;
    let full = ErrorKind::Exhausted;
    refused(sandbox.create_snapshot("two").await, full, "");
    refused(sandbox.fork(2).await, full, "");
    refused(sandbox.pause().await, full, "sandbox.json");
    refused(sandbox.set_lifetime(None).await, full, "sandbox.json");
    refused(client.create(SandboxConfig::default()).await, full, "");
    let info = sandbox.info().await.unwrap();
    assert_eq!((info.status, info.expires_at), (SandboxStatus::Running, expires_at));
    assert_eq!(sandbox.list_snapshots().await.unwrap().len(), 1);
    eventually("nothing stands still", async || !crate::world::is_frozen(pid)).await;
    assert_eq!(run(&sandbox, "echo here").await, "here");
    assert_eq!(client.list(ListFilter::default()).await.unwrap().len(), 1);
    assert_eq!(crate::world::names(&disk.0.join("root/limbo")), ["lock"]);
    run(&sandbox, "rm fill").await;
    sandbox.restore_snapshot(&before.id).await.unwrap();
    run(&sandbox, "head -c 20000000 /dev/zero > fill; true").await;
    sandbox.close().await.unwrap();
    assert!(client.list(ListFilter::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn on_a_read_only_disk_everything_fails_clearly_and_works_again_afterwards() {
    let world = world();
    let Some(disk) = Disk::mount(&world.path("disk"), "8m") else { return };
    let client = client(&disk.0.join("root"));
    let sandbox = client.create(SandboxConfig::default()).await.unwrap();
    disk.read_only(MountFlags::RDONLY);
    let denied = ErrorKind::Denied;
    refused(client.create(SandboxConfig::default()).await, denied, "");
    refused(client.check().await, denied, "");
    assert_eq!(sandbox.status().await.unwrap(), SandboxStatus::Running);
    assert!(sandbox.pause().await.is_err());
    assert!(sandbox.create_snapshot("one").await.is_err());
    assert_eq!(run(&sandbox, "echo here").await, "here");
    refused(sandbox.close().await, denied, "");
    assert_eq!(client.list(ListFilter::default()).await.unwrap().len(), 1);
    disk.read_only(MountFlags::empty());
    sandbox.close().await.unwrap();
    assert!(client.list(ListFilter::default()).await.unwrap().is_empty());
}
