//! Dockerfiles that fail leave nothing, whoever builds them.

use std::path::Path;

use grainchain_core::{BuildTemplate, ErrorKind, SandboxConfig};
use libtest_mimic::Failed;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};

use crate::world::{Outcome, TINY, Test, World, docker, refused, socket, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test("builds::one_that_fails_leaves_nothing", one_that_fails_leaves_nothing),
        test(
            "builds::one_that_fails_in_the_classic_builder_leaves_nothing",
            one_that_fails_in_the_classic_builder_leaves_nothing,
        ),
        test(
            "builds::what_the_classic_builder_has_made_before_stays",
            what_the_classic_builder_has_made_before_stays,
        ),
    ]
}

/// Fails at its fourth step of five; every step bears the test's name.
fn broken(world: &World) -> String {
    let mark = &world.owner;
    format!(
        "FROM {TINY} AS first\nRUN echo {mark} > /one\nFROM {TINY}\nVOLUME /data\nRUN mkdir -p /data && echo {mark} > /data/two\nRUN echo {mark} && exit 3\nRUN echo {mark} > /never\n"
    )
}

/// Images and containers that bear the test's name, and volumes that nobody uses.
fn found(world: &World) -> Result<(Vec<String>, Vec<String>), Failed> {
    let mut found = Vec::new();
    for image in
        docker(&["images", "--all", "--quiet", "--no-trunc", "--filter", &format!("since={TINY}")])?.lines()
    {
        // Others come and go meanwhile.
        if docker(&["history", "--no-trunc", image]).is_ok_and(|made| made.contains(&world.owner)) {
            found.push(format!("the image {image}"));
        }
    }
    let containers = docker(&["ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Command}}"])?;
    found.extend(containers.lines().filter(|line| line.contains(&world.owner)).map(str::to_owned));
    found.sort();
    let volumes = docker(&["volume", "ls", "--quiet", "--filter", "dangling=true"])?;
    Ok((found, volumes.lines().map(str::to_owned).collect()))
}

/// Whether a step of the test's has written into `volume`.
fn is_ours(world: &World, volume: &str) -> bool {
    let mount = format!("{volume}:/looked-at:ro");
    docker(&["run", "--rm", "--network", "none", "--volume", &mount, TINY, "cat", "/looked-at/two"])
        .is_ok_and(|said| said == world.owner)
}

/// Builds what fails, as a template and for a sandbox, and holds nothing to be left of it.
async fn fails(own: &World, world: &World) -> Outcome {
    let (found_before, volumes_before) = found(world)?;
    assert!(found_before.is_empty(), "{found_before:?}");
    let template = BuildTemplate::new(format!("broken-{}", world.owner), broken(world));
    let error = refused(own.client.templates()?.build(template).await, ErrorKind::BadRequest, "dockerfile")?;
    assert!(error.to_string().contains("exit 3"), "{error}");
    let config = SandboxConfig::default().provider_option("dockerfile", broken(world));
    refused(own.create(config).await, ErrorKind::BadRequest, "dockerfile")?;
    let (found_after, volumes_after) = found(world)?;
    assert!(found_after.is_empty(), "{found_after:?}");
    let new = volumes_after.iter().filter(|volume| !volumes_before.contains(volume));
    let left: Vec<_> = new.filter(|volume| is_ours(world, volume)).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(own.left().await?.is_empty() && world.left().await?.is_empty());
    Ok(())
}

async fn one_that_fails_leaves_nothing(world: World) -> Outcome {
    fails(&world, &world).await
}

async fn one_that_fails_in_the_classic_builder_leaves_nothing(world: World) -> Outcome {
    let folder = tempfile::tempdir()?;
    fails(&without_buildkit(&folder, &world).await?, &world).await
}

async fn what_the_classic_builder_has_made_before_stays(world: World) -> Outcome {
    let folder = tempfile::tempdir()?;
    let own = without_buildkit(&folder, &world).await?;
    let templates = own.client.templates()?;
    let begun = format!("FROM {TINY}\nRUN echo {} > /shared\nRUN echo more > /more\n", world.owner);
    let built = templates.build(BuildTemplate::new(&world.owner, begun.as_str())).await?;
    // Its steps stay behind, and nothing but their age tells that they are not of the build that fails.
    docker(&["rmi", "--no-prune", built.id.as_str()])?;
    let (before, _) = found(&world)?;
    let failing = BuildTemplate::new(&world.owner, format!("{begun}RUN echo again && exit 3\n"));
    let failed = refused(templates.build(failing).await, ErrorKind::BadRequest, "dockerfile");
    let (after, _) = found(&world)?;
    for image in &before {
        // Whatever it was made from goes with it, or has gone with it.
        docker(&["rmi", image.trim_start_matches("the image ")]).ok();
    }
    failed?;
    assert_eq!(before.len(), 2, "{before:?}");
    assert_eq!(after, before);
    Ok(())
}

/// A client of the engine that answers, which believes that it has the classic builder alone.
async fn without_buildkit(folder: &TempDir, world: &World) -> Result<World, Failed> {
    let engine = socket().await?.ok_or("the engine that answers is behind no socket")?;
    let place = folder.path().join("engine.sock");
    let listener = UnixListener::bind(&place)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let engine = engine.clone();
            tokio::spawn(async move { pass_on(stream, Path::new(&engine)).await });
        }
    });
    let mut own = World::new(|mut config| {
        config.host = Some(format!("unix://{}", place.display()));
        config
    })?;
    own.owner.clone_from(&world.owner);
    own.client = own.client.owner(world.owner.clone());
    Ok(own)
}

/// Answers the greeting in the engine's place, and passes all else on.
async fn pass_on(mut near: UnixStream, engine: &Path) -> std::io::Result<()> {
    let mut head = vec![0; 4096];
    let length = near.read(&mut head).await?;
    head.truncate(length);
    if head.starts_with(b"GET /_ping ") {
        let answer =
            b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nBuilder-Version: 1\r\nContent-Length: 2\r\n\r\nOK";
        return near.write_all(answer).await;
    }
    let mut far = UnixStream::connect(engine).await?;
    far.write_all(&head).await?;
    copy_bidirectional(&mut near, &mut far).await.map(drop)
}
