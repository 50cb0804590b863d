//! State files and folders that are not what we made.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use grainchain_core::{ErrorKind, GcOptions, SandboxStatus};
use rustix::fs::{CWD, FileType, Mode};

use crate::other::Other;
use crate::world::{World, is_alive, refused, run, world};

/// A sandbox that nobody holds any more, whose state file is then damaged by `damage`.
async fn broken(damage: impl FnOnce(&World, &Path)) {
    let world = world();
    let canary = world.canary();
    let mut other = Other::start(&world.root());
    let id = other.ask("create-kept");
    other.ask(&format!("run {id} echo kept > file"));
    let pid: u32 = other
        .ask(&format!("run {id} setsid sleep 100000 >/dev/null 2>&1 </dev/null & echo $!"))
        .parse()
        .unwrap();
    other.kill();
    let healthy = world.sandbox().await;
    damage(&world, &world.folder(&id).join("sandbox.json"));

    let info = world.info(&id).await;
    assert_eq!(info.status, SandboxStatus::Error);
    let reason = info.reason.unwrap();
    assert!(reason.contains(&format!("{id}/sandbox.json")), "{reason}");
    refused(world.client.connect(id.clone()).await, ErrorKind::Unexpected, "sandbox.json");
    assert_eq!(run(&healthy, "echo here").await, "here");
    assert!(world.client.gc(GcOptions::default()).await.unwrap().entries.is_empty());
    assert_eq!(fs::read_to_string(world.folder(&id).join("workspace/file")).unwrap(), "kept\n");
    assert!(is_alive(pid));

    world.client.remove(&id.clone().into()).await.unwrap();
    assert!(!world.folder(&id).exists());
    assert!(!is_alive(pid), "the processes of a broken sandbox are found too");
    assert_eq!(world.ids().await, [healthy.id().as_str()]);
    assert!(world.limbo().is_empty());
    canary.assert_untouched();
}

fn change(path: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(path).unwrap();
    let changed = change(text.clone());
    assert_ne!(text, changed, "the test changes nothing");
    fs::write(path, changed).unwrap();
}

#[tokio::test]
async fn garbage_is_reported_and_nothing_deleted() {
    broken(|_, path| fs::write(path, b"\xff\x00 garbage").unwrap()).await;
}

#[tokio::test]
async fn an_empty_state_is_reported() {
    broken(|_, path| fs::write(path, "").unwrap()).await;
}

#[tokio::test]
async fn a_truncated_state_is_reported() {
    broken(|_, path| change(path, |text| text[..text.len() / 2].to_owned())).await;
}

#[tokio::test]
async fn a_missing_state_is_reported() {
    broken(|_, path| fs::remove_file(path).unwrap()).await;
}

#[tokio::test]
async fn a_state_of_another_version_is_reported() {
    broken(|_, path| change(path, |text| text.replace("\"version\": 1", "\"version\": 2"))).await;
}

#[tokio::test]
async fn a_state_with_unknown_fields_is_reported() {
    broken(|_, path| change(path, |text| text.replace("\"version\"", "\"more\": 1, \"version\""))).await;
}

#[tokio::test]
async fn a_state_in_no_status_of_ours_is_reported() {
    broken(|_, path| change(path, |text| text.replace("\"running\"", "\"creating\""))).await;
}

#[tokio::test]
async fn a_state_of_another_sandbox_is_reported() {
    broken(|world, path| {
        let other = fs::read_dir(world.root().join("sandboxes"))
            .unwrap()
            .map(|entry| entry.unwrap().path().join("sandbox.json"))
            .find(|other| other != path)
            .unwrap();
        fs::copy(other, path).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_state_that_starts_commands_elsewhere_is_reported() {
    for elsewhere in ["/", "..", "a/../../b"] {
        let wanted = format!("\"working_directory\": \"{elsewhere}\"");
        broken(|_, path| change(path, |text| text.replace("\"working_directory\": \"\"", &wanted))).await;
    }
}

#[tokio::test]
async fn a_huge_state_is_reported_without_being_read() {
    broken(|_, path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap()).await;
}

#[tokio::test]
async fn a_link_in_place_of_the_state_is_reported() {
    broken(|world, path| {
        let good = world.path("canary/below/good.json");
        fs::rename(path, world.path("good.json")).unwrap();
        symlink(world.path("good.json"), path).unwrap();
        assert!(!good.exists());
    })
    .await;
}

#[tokio::test]
async fn a_directory_in_place_of_the_state_is_reported() {
    broken(|_, path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_pipe_in_place_of_the_state_is_reported_and_not_waited_for() {
    broken(|_, path| {
        fs::remove_file(path).unwrap();
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    })
    .await;
}

#[tokio::test]
async fn strangers_among_the_sandboxes_are_reported_and_removed_on_request_alone() {
    let world = world();
    let canary = world.canary();
    let healthy = world.sandbox().await;
    let sandboxes = world.root().join("sandboxes");
    fs::write(sandboxes.join("file"), "").unwrap();
    fs::create_dir(sandboxes.join("empty")).unwrap();
    symlink(&canary.path, sandboxes.join("link")).unwrap();
    symlink("nowhere", sandboxes.join("dangling")).unwrap();
    rustix::fs::mknodat(CWD, sandboxes.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let strangers = ["dangling", "empty", "file", "link", "pipe"];
    for name in strangers {
        let info = world.info(name).await;
        assert_eq!(info.status, SandboxStatus::Error, "{name}");
        assert!(info.reason.unwrap().contains(&format!("sandboxes/{name}/sandbox.json")));
        assert!(world.client.connect(name).await.is_err());
    }
    assert!(world.client.gc(GcOptions::default()).await.unwrap().entries.is_empty());
    assert_eq!(world.ids().await.len(), strangers.len() + 1);
    for name in strangers {
        world.client.remove(&name.into()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert_eq!(world.ids().await, [healthy.id().as_str()]);
    assert!(world.limbo().is_empty());
    canary.assert_untouched();
}

#[tokio::test]
async fn gc_of_broken_ones_removes_them_and_nothing_else() {
    let world = world();
    let canary = world.canary();
    let healthy = world.sandbox().await;
    symlink(&canary.path, world.folder("link")).unwrap();
    fs::create_dir(world.folder("empty")).unwrap();
    let report = world.client.gc(GcOptions::default().broken()).await.unwrap();
    assert_eq!((report.entries.len(), report.kept), (2, 1), "{report:?}");
    assert_eq!(world.ids().await, [healthy.id().as_str()]);
    canary.assert_untouched();
}

#[tokio::test]
async fn a_copied_folder_cannot_make_us_kill_the_processes_of_its_original() {
    let world = world();
    let sandbox = world.sandbox().await;
    let pid = crate::world::background(&sandbox, crate::world::FOREVER).await;
    let copy = world.folder("copy");
    fs::create_dir(&copy).unwrap();
    fs::copy(world.folder(sandbox.id().as_str()).join("sandbox.json"), copy.join("sandbox.json")).unwrap();
    world.client.remove(&"copy".into()).await.unwrap();
    assert!(is_alive(pid));
}

#[tokio::test]
async fn what_a_sandbox_keeps_on_disk_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = world();
    let sandbox = world.sandbox().await;
    let folder = world.folder(sandbox.id().as_str());
    for (path, mode) in [(world.root(), 0o700), (folder.clone(), 0o700), (folder.join("sandbox.json"), 0o600)]
    {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
}
