//! Snapshots and copies that hold folders in memory, and snapshots of many layers.

use grainchain_core::{NetworkPolicy, Sandbox, SandboxConfig};
use grainchain_docker::GuestKind;
use libtest_mimic::Failed;
use serde_json::json;

use crate::world::{Outcome, TINY, Test, World, docker, free_port, sh, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test(
            "snapshots::a_folder_in_memory_is_whole_after_a_restore",
            a_folder_in_memory_is_whole_after_a_restore,
        ),
        test("snapshots::copies_begin_with_the_folders_in_memory", copies_begin_with_the_folders_in_memory),
        test(
            "snapshots::volumes_that_the_image_declares_are_whole",
            volumes_that_the_image_declares_are_whole,
        ),
        test("snapshots::the_notes_name_what_is_left_out", the_notes_name_what_is_left_out),
        test("snapshots::a_writer_is_caught_at_one_moment", a_writer_is_caught_at_one_moment),
        test("snapshots::many_layers_become_one_and_are_restored", many_layers_become_one_and_are_restored),
        test(
            "snapshots::a_damaged_copy_is_refused_and_the_sandbox_goes_on",
            a_damaged_copy_is_refused_and_the_sandbox_goes_on,
        ),
        test(
            "snapshots::a_port_by_number_passes_to_what_is_restored",
            a_port_by_number_passes_to_what_is_restored,
        ),
    ]
}

/// A world whose sandboxes have a helper, and the test's owner.
fn helped(world: &World) -> grainchain_core::Result<World> {
    let mut helped = World::new(|config| config.guest(GuestKind::Helper))?;
    helped.owner.clone_from(&world.owner);
    helped.client = helped.client.owner(world.owner.clone());
    Ok(helped)
}

fn with_memory() -> SandboxConfig {
    SandboxConfig::default()
        .provider_option("tmpfs", json!({ "/scratch": "64MiB", "/scratch/inner": "1MiB" }))
}

/// Everything in a folder with modes, owners and content.
const LOOK: &str = "cd /scratch; find . | sort | while read -r f; do stat -c '%A %u:%g %Y %n' \"$f\"; done; find . -type f | sort | xargs cksum";

async fn a_folder_in_memory_is_whole_after_a_restore(world: World) -> Outcome {
    let sandbox = helped(&world)?.create(with_memory()).await?;
    sh(&sandbox, "cd /scratch; mkdir -p d/e; echo x > d/e/f; chmod 640 d/e/f; echo secret > shut; chmod 0 shut; mkfifo pipe; ln -s /nowhere link; echo y > inner/g; head -c 3000000 /dev/urandom > large; touch -d '2001-02-03 04:05:06' d/e; chmod 1770 .").await?;
    sh(&sandbox, "chmod 600 /scratch/shut").await?;
    let before = sh(&sandbox, LOOK).await?;
    sh(&sandbox, "chmod 0 /scratch/shut").await?;
    let first = sandbox.create_snapshot("first").await?;
    sh(&sandbox, "cd /scratch; rm -rf d pipe link large; echo z > inner/g; echo new > new").await?;
    let second = sandbox.create_snapshot("second").await?;
    for _ in 0..2 {
        sandbox.restore_snapshot(&first.id).await?;
        assert_eq!(
            sh(&sandbox, "stat -c %a /scratch/shut; chmod 600 /scratch/shut; ls -A /.grainchain").await?,
            "0\nhelper\n"
        );
        assert_eq!(sh(&sandbox, LOOK).await?, before);
    }
    sandbox.restore_snapshot(&second.id).await?;
    assert_eq!(sh(&sandbox, "cd /scratch; ls; cat inner/g").await?, "inner\nnew\nshut\nz\n");
    Ok(())
}

async fn copies_begin_with_the_folders_in_memory(world: World) -> Outcome {
    let sandbox = helped(&world)?.create(with_memory()).await?;
    sh(&sandbox, "echo x > /scratch/f; echo y > /scratch/inner/g; echo z > h").await?;
    for copy in sandbox.fork(2).await? {
        assert_eq!(sh(&copy, "cat /scratch/f /scratch/inner/g h; echo own > /scratch/f").await?, "x\ny\nz\n");
        // A copy's snapshot is its own.
        let own = copy.create_snapshot("own").await?;
        sh(&copy, "rm /scratch/f").await?;
        copy.restore_snapshot(&own.id).await?;
        assert_eq!(sh(&copy, "cat /scratch/f").await?, "own\n");
    }
    assert_eq!(sh(&sandbox, "cat /scratch/f").await?, "x\n");
    Ok(())
}

async fn volumes_that_the_image_declares_are_whole(world: World) -> Outcome {
    let file = format!(
        "FROM {TINY}\nRUN mkdir /data && echo image > /data/f && chown 1000:1000 /data /data/f\nVOLUME /data\n"
    );
    let config = || SandboxConfig::default().provider_option("dockerfile", file.clone());
    let sandbox = helped(&world)?.create(config()).await?;
    sh(&sandbox, "cat /data/f; grep -q ' /data ' /proc/mounts; echo mine > /data/f; echo more > /data/g")
        .await?;
    let snapshot = sandbox.create_snapshot("data").await?;
    assert!(snapshot.notes.is_empty(), "{:?}", snapshot.notes);
    sh(&sandbox, "rm /data/f; echo later > /data/g").await?;
    let copies = sandbox.fork(1).await?;
    assert_eq!(sh(&copies[0], "ls /data; cat /data/g").await?, "g\nlater\n");
    sandbox.restore_snapshot(&snapshot.id).await?;
    assert_eq!(
        sh(&sandbox, "cat /data/f /data/g; rm /data/f; stat -c %u /data").await?,
        "mine\nmore\n1000\n"
    );
    sandbox.terminate().await?;
    sandbox.wake_up().await?;
    assert_eq!(sh(&sandbox, "ls /data; grep -c ' /data ' /proc/mounts").await?, "g\n1\n");
    let volumes = docker(&[
        "inspect",
        "--format",
        "{{range .Mounts}}{{if eq .Destination \"/data\"}}{{.Name}}{{end}}{{end}}",
        &format!("grainchain-{}", sandbox.id()),
    ])?;
    for own in [sandbox, copies[0].clone()] {
        own.close().await?;
    }
    docker(&["volume", "inspect", &volumes]).expect_err("its volume goes with it");
    // Without a helper nobody packs them, and that is said.
    let sandbox = world.create(config()).await?;
    assert_eq!(sandbox.create_snapshot("data").await?.notes, ["what lies in /data is not in it"]);
    Ok(())
}

async fn the_notes_name_what_is_left_out(world: World) -> Outcome {
    let world = helped(&world)?;
    let sandbox = world.create(with_memory()).await?;
    assert!(sandbox.create_snapshot("whole").await?.notes.is_empty());
    let folder = tempfile::tempdir()?;
    let bind = format!("{}:/data:ro", folder.path().display());
    let sandbox = world.create(with_memory().provider_option("volumes", json!([bind]))).await?;
    let notes = sandbox.create_snapshot("shared").await?.notes;
    assert_eq!(notes, ["what lies in /data is not in it"]);
    Ok(())
}

async fn a_writer_is_caught_at_one_moment(world: World) -> Outcome {
    let sandbox = helped(&world)?.create(with_memory()).await?;
    // One file is in memory, the other one in the image.
    sh(&sandbox, "(while :; do echo x >> here; echo x >> /scratch/there; done) >/dev/null 2>&1 &").await?;
    sh(&sandbox, "until [ -s /scratch/there ]; do :; done").await?;
    let snapshot = sandbox.create_snapshot("under a writer").await?;
    // It goes on.
    let seen = sh(&sandbox, "wc -l < here").await?;
    sh(&sandbox, &format!("until [ $(wc -l < here) -gt {} ]; do :; done", seen.trim())).await?;
    sandbox.restore_snapshot(&snapshot.id).await?;
    let counts = sh(&sandbox, "wc -l < here; wc -l < /scratch/there").await?;
    let counts: Vec<i64> = counts.lines().filter_map(|line| line.trim().parse().ok()).collect();
    assert!(counts.len() == 2 && (0..=1).contains(&(counts[0] - counts[1])), "{counts:?}");
    Ok(())
}

/// How many layers the image of the snapshot `id` has.
fn layers(id: &str) -> std::result::Result<usize, Failed> {
    let image = format!("grainchain/snapshot:{id}");
    Ok(docker(&["image", "inspect", "--format", "{{len .RootFS.Layers}}", &image])?.parse()?)
}

async fn many_layers_become_one_and_are_restored(world: World) -> Outcome {
    let mut deep = World::new(|config| config.guest(GuestKind::Helper).max_layers(4))?;
    deep.client = deep.client.owner(world.owner.clone());
    let sandbox = deep.create(with_memory().metadata("ugly", "a='b' \"c\" $d\n日本")).await?;
    sh(&sandbox, "echo kept > f; chmod 600 f; echo memory > /scratch/f").await?;
    let mut last = None;
    for round in 0..4 {
        sh(&sandbox, &format!("echo {round} > round")).await?;
        let snapshot = sandbox.create_snapshot(format!("n{round}").as_str()).await?;
        sandbox.restore_snapshot(&snapshot.id).await?;
        assert!(layers(snapshot.id.as_str())? <= 4);
        last = Some(snapshot.id);
    }
    sh(&sandbox, "rm f /scratch/f").await?;
    sandbox.restore_snapshot(&last.ok_or("no snapshot")?).await?;
    assert_eq!(
        sh(&sandbox, "cat f /scratch/f round; stat -c '%a %u' f").await?,
        "kept\nmemory\n3\n600 1000\n"
    );
    assert_eq!(sandbox.list_snapshots().await?.len(), 4);
    assert_eq!(sandbox.info().await?.metadata["ugly"], "a='b' \"c\" $d\n日本");
    Ok(())
}

async fn a_damaged_copy_is_refused_and_the_sandbox_goes_on(world: World) -> Outcome {
    let port = free_port()?;
    let config =
        with_memory().network(NetworkPolicy::Open).provider_option("ports", json!([format!("{port}:80")]));
    let sandbox = helped(&world)?.create(config).await?;
    sh(&sandbox, "echo before > /scratch/f").await?;
    let snapshot = sandbox.create_snapshot("to be damaged").await?;
    sh(&sandbox, "echo after > /scratch/f; sleep 300 >/dev/null 2>&1 & echo $! > pid").await?;
    let (image, container) =
        (format!("grainchain/snapshot:{}", snapshot.id), format!("{}-damage", world.owner));
    let folder = tempfile::tempdir()?;
    let piece = folder.path().join("piece");
    std::fs::write(&piece, "not what was kept")?;
    docker(&["create", "--name", &container, "--network", "none", &image])?;
    let damaged =
        docker(&["cp", &piece.display().to_string(), &format!("{container}:/.grainchain/kept/0/0000000000")])
            .and_then(|_| docker(&["commit", &container, &image]));
    docker(&["rm", "--force", &container])?;
    damaged?;
    let error = sandbox.restore_snapshot(&snapshot.id).await.expect_err("the copy is damaged");
    assert!(error.to_string().contains("damaged"), "{error:?}");
    assert_eq!(sh(&sandbox, "cat /scratch/f; kill -0 $(cat pid)").await?, "after\n");
    assert_eq!(published(&sandbox)?, format!("127.0.0.1:{port}"));
    assert_eq!(world.left().await?.len(), 1);
    Ok(())
}

/// Where port 80 of `sandbox` is on this machine.
fn published(sandbox: &Sandbox) -> std::result::Result<String, Failed> {
    docker(&["port", &format!("grainchain-{}", sandbox.id()), "80/tcp"])
}

async fn a_port_by_number_passes_to_what_is_restored(world: World) -> Outcome {
    let port = free_port()?;
    let config = SandboxConfig::default()
        .network(NetworkPolicy::Open)
        .provider_option("ports", json!([format!("{port}:80")]));
    for world in [helped(&world)?, world] {
        let sandbox = world.create(config.clone()).await?;
        sh(&sandbox, "echo before > f").await?;
        let snapshot = sandbox.create_snapshot("before").await?;
        sh(&sandbox, "echo after > f").await?;
        for _ in 0..2 {
            sandbox.restore_snapshot(&snapshot.id).await?;
            assert_eq!(sh(&sandbox, "cat f").await?, "before\n");
        }
        assert_eq!(published(&sandbox)?, format!("127.0.0.1:{port}"));
        sandbox.close().await?;
    }
    Ok(())
}
