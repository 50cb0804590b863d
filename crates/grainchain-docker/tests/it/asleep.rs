//! Sandboxes that are stopped and woken up.

use grainchain_core::{
    CreateRequest, DryRun, ErrorKind, ListFilter, Provider, Sandbox, SandboxConfig, SandboxInfo,
    SandboxStatus,
};
use grainchain_docker::{Docker, DockerConfig, GuestKind};
use libtest_mimic::Failed;

use crate::cut::Cut;
use crate::world::{Outcome, TINY, Test, World, refused, sh, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test(
            "asleep::all_but_the_processes_is_as_before_with_a_helper",
            all_but_the_processes_is_as_before_with_a_helper,
        ),
        test(
            "asleep::all_but_the_processes_is_as_before_at_the_engine",
            all_but_the_processes_is_as_before_at_the_engine,
        ),
        test("asleep::another_program_sees_it_and_wakes_it_up", another_program_sees_it_and_wakes_it_up),
        test("asleep::nothing_is_left_of_one_that_is_closed", nothing_is_left_of_one_that_is_closed),
        test("asleep::one_whose_lifetime_is_over_is_swept", one_whose_lifetime_is_over_is_swept),
        test("asleep::it_is_woken_up_again_and_again", it_is_woken_up_again_and_again),
        test("asleep::a_paused_one_is_stopped", a_paused_one_is_stopped),
        test("asleep::what_would_lose_files_is_refused", what_would_lose_files_is_refused),
        test("asleep::what_runs_writes_nothing_more", what_runs_writes_nothing_more),
        test("asleep::the_same_request_finds_it", the_same_request_finds_it),
        test("asleep::a_client_killed_half_way_leaves_one", a_client_killed_half_way_leaves_one),
    ]
}

fn with_helper() -> grainchain_core::Result<World> {
    World::new(|config| config.guest(GuestKind::Helper))
}

fn conflict<T>(result: grainchain_core::Result<T>) -> Outcome {
    let Err(error) = result else { return Err("was not refused".into()) };
    if error.kind() != ErrorKind::Conflict || error.remedy().is_none() {
        return Err(format!("not as a conflict with a remedy: {error:?}").into());
    }
    Ok(())
}

/// What a sweep at the engine that answers would remove and has to do with `sandbox`.
async fn swept(sandbox: &Sandbox) -> Result<Vec<String>, Failed> {
    let docker = Docker::new(DockerConfig::default().image(TINY).guest(GuestKind::Engine))?;
    let mut names = docker.sweep(DryRun::Yes).await?;
    names.retain(|name| name.contains(sandbox.id().as_str()));
    Ok(names)
}

/// Whether both end at the same time, but for what a helper takes to start.
fn ends_alike(one: &SandboxInfo, other: &SandboxInfo) -> bool {
    let (Some(one), Some(other)) = (one.expires_at, other.expires_at) else { return false };
    let apart = one.duration_since(other).unwrap_or_else(|error| error.duration());
    apart < std::time::Duration::from_secs(60)
}

/// The states of `world`'s sandboxes in the list.
async fn listed(world: &World) -> Result<Vec<SandboxStatus>, Failed> {
    let all = world.client.list(ListFilter::default()).await?;
    let own =
        all.into_iter().filter(|info| info.lease.as_ref().is_some_and(|lease| lease.owner == world.owner));
    Ok(own.map(|info| info.status).collect())
}

async fn all_but_the_processes_is_as_before_with_a_helper(_: World) -> Outcome {
    // Its folders in memory are taken along.
    all_but_the_processes_is_as_before(with_helper()?, "f\n").await
}

async fn all_but_the_processes_is_as_before_at_the_engine(world: World) -> Outcome {
    all_but_the_processes_is_as_before(world, "").await
}

async fn all_but_the_processes_is_as_before(world: World, in_memory: &str) -> Outcome {
    let config = SandboxConfig::default()
        .lifetime(std::time::Duration::from_secs(9000))
        .env("COLOR", "blue")
        .metadata("a", "b")
        .working_directory("/srv/work")
        .provider_option("user", "1234:1235")
        .provider_option("pids", 77)
        .provider_option("tmpfs", serde_json::json!({ "/scratch": "1MiB" }));
    let sandbox = world.create(config).await?;
    // Only a helper can be told, and only it knows then.
    match sandbox.set_lifetime(std::time::Duration::from_secs(5000)).await {
        Err(error) if error.kind() != ErrorKind::Unsupported => return Err(error.into()),
        _ => {}
    }
    let before = sandbox.info().await?;
    sh(&sandbox, "echo kept > f; echo there > /scratch/f; sleep 1000 >/dev/null 2>&1 &").await?;
    sandbox.terminate().await?;
    let asleep = sandbox.info().await?;
    assert_eq!(asleep.status, SandboxStatus::Stopped);
    assert!(ends_alike(&asleep, &before), "{asleep:?}, {before:?}");
    assert_eq!((&asleep.metadata, &asleep.image), (&before.metadata, &before.image));
    sandbox.wake_up().await?;
    let after = sandbox.info().await?;
    assert_eq!(
        (&before.id, &before.metadata, before.created_at, &before.image),
        (&after.id, &after.metadata, after.created_at, &after.image)
    );
    assert!(ends_alike(&after, &before), "{after:?}, {before:?}");
    let line = "echo $COLOR; id -u; id -g; pwd; cat f; ls /scratch; cat /sys/fs/cgroup/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids/pids.max; ls /sys/class/net; grep CapEff /proc/self/status";
    assert_eq!(
        sh(&sandbox, line).await?,
        format!("blue\n1234\n1235\n/srv/work\nkept\n{in_memory}77\nlo\nCapEff:\t0000000000000000\n")
    );
    assert!(!sh(&sandbox, "ps").await?.contains("sleep 1000"));
    sandbox.close().await?;
    assert_eq!((listed(&world).await?, swept(&sandbox).await?), (vec![], vec![]));
    Ok(())
}

async fn another_program_sees_it_and_wakes_it_up(_: World) -> Outcome {
    let world = with_helper()?;
    let sandbox = world.create(SandboxConfig::default().metadata("case", &world.owner)).await?;
    sh(&sandbox, "echo before > f").await?;
    let snapshot = sandbox.create_snapshot("point").await?;
    sh(&sandbox, "echo after > f").await?;
    let early = with_helper()?.client.connect(sandbox.id().clone()).await?;
    assert_eq!(sh(&early, "cat f").await?, "after\n");
    sandbox.terminate().await?;
    sandbox.terminate().await?;

    let other = World::new(|config| config)?.client;
    let found = other.list(ListFilter::default().metadata("case", &world.owner)).await?;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].status, found[0].expires_at.is_some()), (SandboxStatus::Stopped, true));
    let again = other.connect(sandbox.id().clone()).await?;
    assert_eq!(again.status().await?, SandboxStatus::Stopped);
    assert_eq!(again.list_snapshots().await?.len(), 1);
    conflict(again.execute("true").await)?;
    conflict(again.download_file("f").await)?;
    conflict(again.create_snapshot("late").await)?;
    conflict(again.restore_snapshot(&snapshot.id).await)?;
    conflict(again.fork(1).await)?;
    conflict(again.pause().await)?;
    conflict(again.resume().await)?;
    conflict(sandbox.execute("true").await)?;
    assert_eq!(swept(&sandbox).await?, Vec::<String>::new());

    again.wake_up().await?;
    again.wake_up().await?;
    for handle in [&again, &sandbox] {
        assert_eq!(sh(handle, "cat f").await?, "after\n");
    }
    again.restore_snapshot(&snapshot.id).await?;
    assert_eq!(sh(&again, "cat f").await?, "before\n");
    again.close().await?;
    assert_eq!(swept(&sandbox).await?, Vec::<String>::new());
    Ok(())
}

async fn nothing_is_left_of_one_that_is_closed(world: World) -> Outcome {
    for by_id in [false, true] {
        let sandbox = world.sandbox().await?;
        let snapshot = sandbox.create_snapshot("point").await?;
        sandbox.terminate().await?;
        if by_id {
            world.client.remove(sandbox.id()).await?;
        } else {
            sandbox.close().await?;
        }
        let error = world.client.connect(sandbox.id().clone()).await.expect_err("it is gone");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let docker = Docker::new(DockerConfig::default().image(TINY).guest(GuestKind::Engine))?;
        let left = docker.sweep(DryRun::Yes).await?;
        assert!(!left.iter().any(|name| name.contains(snapshot.id.as_str())), "{left:?}");
        assert_eq!((listed(&world).await?, swept(&sandbox).await?), (vec![], vec![]));
    }
    Ok(())
}

async fn one_whose_lifetime_is_over_is_swept(world: World) -> Outcome {
    // Long enough to be put to sleep on a slow machine.
    let config = SandboxConfig::default().lifetime(std::time::Duration::from_secs(20));
    let sandbox = world.create(config).await?;
    sandbox.terminate().await?;
    while swept(&sandbox).await?.is_empty() {
        tokio::task::yield_now().await;
    }
    let error = sandbox.wake_up().await.expect_err("its lifetime is over");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    let info = sandbox.info().await?;
    assert!(grainchain_core::RemoveIf::Expired.allows(&info, std::time::SystemTime::now()), "{info:?}");
    let removed = world.client.remove_if(sandbox.id(), grainchain_core::RemoveIf::Expired).await?;
    assert_eq!(removed, grainchain_core::Removal::Removed);
    assert_eq!((listed(&world).await?, swept(&sandbox).await?), (vec![], vec![]));
    Ok(())
}

async fn it_is_woken_up_again_and_again(world: World) -> Outcome {
    let sandbox = world.sandbox().await?;
    for round in 0..3 {
        sh(&sandbox, &format!("echo {round} >> f")).await?;
        sandbox.terminate().await?;
        sandbox.wake_up().await?;
    }
    assert_eq!(sh(&sandbox, "cat f").await?, "0\n1\n2\n");
    // A copy of one that was woken up is a sandbox of its own.
    let copies = sandbox.fork(1).await?;
    sandbox.close().await?;
    assert_eq!(sh(&copies[0], "cat f").await?, "0\n1\n2\n");
    copies[0].terminate().await?;
    assert_eq!(listed(&world).await?, [SandboxStatus::Stopped]);
    copies[0].wake_up().await?;
    assert_eq!(sh(&copies[0], "cat f").await?, "0\n1\n2\n");
    copies[0].close().await?;
    assert_eq!((listed(&world).await?, swept(&copies[0]).await?), (vec![], vec![]));
    Ok(())
}

async fn a_paused_one_is_stopped(world: World) -> Outcome {
    let sandbox = world.sandbox().await?;
    sandbox.pause().await?;
    conflict(sandbox.wake_up().await)?;
    sandbox.terminate().await?;
    assert_eq!(sandbox.status().await?, SandboxStatus::Stopped);
    sandbox.wake_up().await?;
    assert_eq!(sh(&sandbox, "echo x").await?, "x\n");
    Ok(())
}

async fn what_would_lose_files_is_refused(world: World) -> Outcome {
    let in_memory = world.create(SandboxConfig::default().provider_option("read_only", true)).await?;
    let error = in_memory.terminate().await.expect_err("its files are in memory");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    let file = format!("FROM {TINY}\nVOLUME /data\n");
    let unnamed = world.create(SandboxConfig::default().provider_option("dockerfile", file.clone())).await?;
    refused(unnamed.terminate().await, ErrorKind::Unsupported, "volumes")?;
    assert_eq!(sh(&unnamed, "echo x").await?, "x\n");
    let volume = format!("grainchain-{}", world.owner);
    let named = world
        .create(
            SandboxConfig::default()
                .provider_option("dockerfile", file)
                .provider_option("user", "root")
                .provider_option("volumes", serde_json::json!([format!("{volume}:/data")])),
        )
        .await?;
    sh(&named, "echo kept > /data/f").await?;
    named.terminate().await?;
    named.wake_up().await?;
    assert_eq!(sh(&named, "cat /data/f").await?, "kept\n");
    named.close().await?;
    world.client.volumes()?.delete(&volume.as_str().into()).await?;
    Ok(())
}

/// Into the image, then into a volume, which no image holds: a later number there was written after the image was made.
async fn what_runs_writes_nothing_more(world: World) -> Outcome {
    let volume = format!("grainchain-{}", world.owner);
    let config = || {
        SandboxConfig::default()
            .provider_option("user", "root")
            .provider_option("volumes", serde_json::json!([format!("{volume}:/shared")]))
    };
    let in_memory = config().provider_option("tmpfs", serde_json::json!({ "/scratch": "1MiB" }));
    let helped = with_helper()?;
    for (config, folder) in [(config(), "."), (in_memory, "/scratch")] {
        let sandbox = helped.create(config).await?;
        let line = format!("i=0; while :; do i=$((i+1)); echo $i > {folder}/f; echo $i > /shared/f; done");
        sh(&sandbox, &format!("({line}) >/dev/null 2>&1 &")).await?;
        sh(&sandbox, "until [ -s /shared/f ]; do :; done").await?;
        sandbox.terminate().await?;
        sandbox.wake_up().await?;
        let numbers = sh(&sandbox, &format!("cat {folder}/f /shared/f; rm /shared/f")).await?;
        let numbers: Vec<i64> = numbers.lines().filter_map(|line| line.parse().ok()).collect();
        // It may have been stopped between emptying a file and filling it.
        assert!(
            numbers.len() == 1 || numbers.len() == 2 && (0..=1).contains(&(numbers[0] - numbers[1])),
            "{numbers:?}"
        );
        sandbox.close().await?;
    }
    Ok(world.client.volumes()?.delete(&volume.as_str().into()).await?)
}

async fn the_same_request_finds_it(world: World) -> Outcome {
    let docker = Docker::new(DockerConfig::default().image(TINY).guest(GuestKind::Helper))?;
    let key = format!("key-{}", world.owner);
    let request = || CreateRequest::new(SandboxConfig::default(), key.clone(), world.owner.clone());
    let id = docker.create(request()).await?.id;
    let sandbox = world.client.connect(id.clone()).await?;
    sh(&sandbox, "echo kept > f").await?;
    sandbox.terminate().await?;
    assert_eq!(docker.create(request()).await?.id, id);
    assert_eq!(listed(&world).await?, [SandboxStatus::Stopped]);
    sandbox.wake_up().await?;
    assert_eq!(sh(&sandbox, "cat f").await?, "kept\n");
    Ok(sandbox.close().await?)
}

/// A world at the engine's socket that `cut` is.
fn through(cut: &Cut) -> grainchain_core::Result<World> {
    World::new(|mut config| {
        config.host = Some(cut.host());
        config
    })
}

async fn a_client_killed_half_way_leaves_one(world: World) -> Outcome {
    let sandbox = world.sandbox().await?;
    sh(&sandbox, "echo kept > f").await?;
    let killed = async |words: &'static [&'static str]| {
        let cut = Cut::before(words)?;
        let client = through(&cut)?.client;
        let sandbox = client.connect(sandbox.id().clone()).await?;
        Ok::<_, Failed>((cut, sandbox))
    };

    // Committed, and not removed: it runs.
    let (_cut, handle) = killed(&["DELETE ", "/containers/"]).await?;
    handle.terminate().await.expect_err("it was killed before the end");
    assert_eq!(listed(&world).await?, [SandboxStatus::Running]);
    assert_eq!(sh(&sandbox, "cat f").await?, "kept\n");
    assert_eq!(swept(&sandbox).await?, Vec::<String>::new(), "a terminate may still be at work");
    sh(&sandbox, "echo more >> f").await?;
    sandbox.terminate().await?;

    // Made, and not started: it is asleep.
    let (_cut, handle) = killed(&["POST ", "/start"]).await?;
    handle.wake_up().await.expect_err("it was killed before the end");
    assert_eq!(listed(&world).await?, [SandboxStatus::Stopped]);
    assert_eq!(sandbox.status().await?, SandboxStatus::Stopped);
    conflict(sandbox.execute("true").await)?;
    sandbox.close().await?;
    assert_eq!((listed(&world).await?, swept(&sandbox).await?), (vec![], vec![]));

    // Started, and the image has its name: it runs.
    let sandbox = world.sandbox().await?;
    sandbox.terminate().await?;
    let cut = Cut::before(&["DELETE ", "/images/"])?;
    let client = through(&cut)?.client;
    client.connect(sandbox.id().clone()).await?.wake_up().await?;
    assert_eq!(listed(&world).await?, [SandboxStatus::Running]);
    assert_eq!(sh(&sandbox, "echo x").await?, "x\n");
    sandbox.close().await?;
    assert_eq!((listed(&world).await?, swept(&sandbox).await?), (vec![], vec![]));
    Ok(())
}
