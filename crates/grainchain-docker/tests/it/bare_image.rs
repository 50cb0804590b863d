//! An image with nothing in it but one program: the helper needs no shell, no user's file and no folder of it.

use std::fs;

use grainchain_core::{Command, ErrorKind, Remove, Sandbox, SandboxConfig};
use grainchain_docker::GuestKind;

use crate::world::{Outcome, TINY, Test, World, docker, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![test(
        "bare_image::everything_works_in_an_image_without_a_shell",
        everything_works_in_an_image_without_a_shell,
    )]
}

async fn everything_works_in_an_image_without_a_shell(world: World) -> Outcome {
    let dockerfile = format!(
        "FROM {TINY} AS whole\nFROM scratch\nCOPY --from=whole /bin/busybox /busybox\nLABEL made_by={}\n",
        world.owner
    );
    let with_helper = World::new(|config| config.guest(GuestKind::Helper))?;
    let client = with_helper.client.owner(world.owner.clone());
    let sandbox = client.create(SandboxConfig::default().provider_option("dockerfile", dockerfile)).await?;
    let image = sandbox.info().await?.image.unwrap_or_default();
    let tried = works(&sandbox).await;
    sandbox.close().await?;
    docker(&["rmi", &image])?;
    tried
}

async fn works(sandbox: &Sandbox) -> Outcome {
    let run = |argv: &[&str]| sandbox.execute(Command::argv(argv.iter().copied())).into_future();
    let output = run(&["/busybox", "ls", "/"]).await?;
    let names: Vec<_> = output.stdout().split_whitespace().map(str::to_owned).collect();
    assert!(!names.contains(&"bin".to_owned()) && names.contains(&"busybox".to_owned()), "{names:?}");
    assert_eq!(run(&["/busybox", "echo", "a  b", "$HOME"]).await?.stdout(), "a  b $HOME\n");
    assert_eq!(run(&["/busybox", "id", "-u"]).await?.stdout(), "1000\n");
    let error = sandbox.execute("echo x").await.expect_err("there is no shell");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.remedy().is_some(), "{error:?}");

    sandbox.upload_file("deep/note", "the first").await?;
    assert_eq!(&sandbox.download_file("deep/note").await?[..], b"the first");
    assert_eq!(run(&["/busybox", "cat", "deep/note"]).await?.stdout(), "the first");
    let listed = sandbox.list_files(".").await?;
    assert_eq!(listed.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["deep"]);

    let here = tempfile::tempdir()?;
    fs::create_dir(here.path().join("folder"))?;
    fs::write(here.path().join("folder/file"), [0, 1, 255])?;
    sandbox.upload_dir(here.path(), "tree").await?;
    assert_eq!(run(&["/busybox", "wc", "-c", "tree/folder/file"]).await?.stdout(), "3 tree/folder/file\n");
    let back = tempfile::tempdir()?;
    sandbox.download_dir("tree", back.path()).await?;
    assert_eq!(fs::read(back.path().join("folder/file"))?, [0, 1, 255]);

    let snapshot = sandbox.create_snapshot("first").await?;
    sandbox.upload_file("deep/note", "the second").await?;
    sandbox.remove(Remove::new("tree").recursive()).await?;
    sandbox.restore_snapshot(&snapshot.id).await?;
    assert_eq!(&sandbox.download_file("deep/note").await?[..], b"the first");
    assert_eq!(run(&["/busybox", "cat", "tree/folder/file"]).await?.stdout.total(), 3);
    Ok(())
}
