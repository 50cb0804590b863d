//! Whole trees as one tar stream.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};
use grainchain_core::sandbox::TransferProgress;
use grainchain_core::{ByteSize, Content, ErrorKind};
use tar::{Builder, EntryType, Header};

use super::support::{noise, secs, sh};
use crate::case::cases;
use crate::check::{Outcome, fails};

/// An archive of one entry whose name is written as it stands, which no honest program would do.
fn hostile(name: &str, kind: EntryType, target: &str, data: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    add(&mut builder, name, kind, target, data);
    builder.into_inner().unwrap_or_default()
}

fn add(builder: &mut Builder<Vec<u8>>, name: &str, kind: EntryType, target: &str, data: &[u8]) {
    let mut header = Header::new_gnu();
    let bytes = header.as_mut_bytes();
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes[157..157 + target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_size(data.len() as u64);
    header.set_cksum();
    // Writing to memory cannot fail.
    let _ = builder.append(&header, data);
}

/// The names in an archive.
fn entries(archive: &[u8]) -> Outcome<Vec<String>> {
    let mut names = Vec::new();
    for entry in tar::Archive::new(archive).entries()? {
        let path = entry?.path()?.display().to_string();
        names.push(path.trim_start_matches("./").trim_end_matches('/').to_owned());
    }
    names.retain(|name| !name.is_empty() && name != ".");
    names.sort();
    Ok(names)
}

fn mode(path: &Path) -> Outcome<u32> {
    Ok(std::fs::symlink_metadata(path)?.permissions().mode() & 0o777)
}

cases! { archive:
    fn a_directory_goes_up_with_everything_in_it(cx) needs [Archive, Files] {
        let sandbox = cx.sandbox().await?;
        let host = tempfile::tempdir()?;
        let data = noise(500_000, 2);
        std::fs::create_dir_all(host.path().join("a/b"))?;
        std::fs::create_dir(host.path().join("void"))?;
        std::fs::write(host.path().join("a/b/data"), &data)?;
        std::fs::write(host.path().join("tool"), "#!/bin/sh\necho ran\n")?;
        std::fs::set_permissions(host.path().join("tool"), std::fs::Permissions::from_mode(0o755))?;
        symlink("a/b/data", host.path().join("link"))?;
        let summary = sandbox.upload_dir(host.path(), "in").await?;
        check!(summary.bytes >= 500_000, "says it wrote {} bytes", summary.bytes);
        check!(sandbox.download_file("in/a/b/data").await? == data, "the bytes are changed");
        same!(sh(&sandbox, "in/tool; readlink in/link; ls in/void; cmp in/link in/a/b/data && echo same").await?, "ran\na/b/data\nsame\n");
    }

    fn a_directory_comes_down_with_everything_in_it(cx) needs [Archive] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir -p out/a/b out/void; printf deep > out/a/b/f; ln -s a/b/f out/link; chmod 750 out/a; printf x > out/tool; chmod 711 out/tool").await?;
        let host = tempfile::tempdir()?;
        let target = host.path().join("made/for/it");
        sandbox.download_dir("out", &target).await?;
        same!(std::fs::read_to_string(target.join("a/b/f"))?, "deep");
        same!(std::fs::read_link(target.join("link"))?, Path::new("a/b/f"));
        check!(target.join("void").is_dir(), "the empty directory is lost");
        same!((mode(&target.join("a"))?, mode(&target.join("tool"))?), (0o750, 0o711));
    }

    fn a_round_trip_changes_nothing(cx) needs [Archive] {
        let sandbox = cx.sandbox().await?;
        let (there, back) = (tempfile::tempdir()?, tempfile::tempdir()?);
        for (number, name) in ["plain", "two words", "日本語", "new\nline", "-dash", "q'u\"o`t$e"].iter().enumerate() {
            std::fs::write(there.path().join(name), noise(1000 * number, number as u32))?;
        }
        sandbox.upload_dir(there.path(), "mirror").await?;
        sandbox.download_dir("mirror", back.path()).await?;
        let mut count = 0;
        for entry in std::fs::read_dir(there.path())? {
            let name = entry?.file_name();
            check!(std::fs::read(there.path().join(&name))? == std::fs::read(back.path().join(&name))?, "{name:?} differs");
            count += 1;
        }
        same!(std::fs::read_dir(back.path())?.count(), count);
    }

    fn a_thousand_small_files_go_up_and_come_down(cx) needs [Archive] {
        let sandbox = cx.sandbox().await?;
        let (there, back) = (tempfile::tempdir()?, tempfile::tempdir()?);
        for number in 0..1000 {
            let folder = there.path().join(format!("d{}", number % 10));
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join(format!("f{number}")), format!("content {number}"))?;
        }
        sandbox.upload_dir(there.path(), "many").await?;
        same!(sh(&sandbox, "find many -type f | wc -l").await?.trim(), "1000");
        sandbox.download_dir("many", back.path()).await?;
        for number in 0..1000 {
            let name = format!("d{}/f{number}", number % 10);
            same!(std::fs::read_to_string(back.path().join(&name))?, format!("content {number}"), "{name}");
        }
    }

    fn files_that_are_there_already_stay(cx) needs [Archive, Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("in/kept", "old").await?;
        sandbox.upload_file("in/both", "old").await?;
        let host = tempfile::tempdir()?;
        std::fs::write(host.path().join("both"), "new")?;
        sandbox.upload_dir(host.path(), "in").await?;
        same!(sandbox.download_file("in/kept").await?, "old");
        same!(sandbox.download_file("in/both").await?, "new");
    }

    fn a_missing_directory_of_this_machine_is_named(cx) needs [Archive] {
        let error = fails(cx.sandbox().await?.upload_dir("/no/such/directory", "x").await, &[ErrorKind::NotFound])?;
        check!(error.to_string().contains("/no/such/directory"), "does not name it: {error}");
    }

    fn a_missing_directory_of_the_sandbox_is_not_found(cx) needs [Archive] {
        let host = tempfile::tempdir()?;
        fails(cx.sandbox().await?.download_dir("no/such", host.path()).await, &[ErrorKind::NotFound])?;
    }

    fn progress_counts_what_moves(cx) needs [Archive] {
        let sandbox = cx.sandbox().await?;
        let host = tempfile::tempdir()?;
        std::fs::write(host.path().join("data"), vec![1; 2_000_000])?;
        let progress = Arc::<TransferProgress>::default();
        sandbox.upload_dir(host.path(), "p").progress(&progress).await?;
        check!(progress.bytes() >= 2_000_000, "counted {} bytes", progress.bytes());
    }

    fn an_archive_names_what_is_in_it(cx) needs [Archive] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir -p t/sub; echo a > t/one; echo b > t/sub/two").await?;
        let archive = sandbox.read_archive("t").await?.into_bytes(ByteSize::mib(4)).await?;
        same!(entries(&archive)?, ["one", "sub", "sub/two"]);
    }

    fn an_archive_is_unfolded(cx) needs [Archive, Files] {
        let sandbox = cx.sandbox().await?;
        let archive = hostile("harmless", EntryType::Regular, "", b"content");
        let summary = sandbox.write_archive("u/v", archive).await?;
        same!((summary.entries, summary.bytes), (1, 7));
        same!(sandbox.download_file("u/v/harmless").await?, "content");
    }

    fn an_archive_cannot_climb_out(cx) needs [Archive, Files] {
        let sandbox = cx.sandbox().await?;
        for name in ["../evil", "a/../../evil", "../../../../../../../tmp/grainchain-evil"] {
            let result = sandbox.write_archive("in/deep", hostile(name, EntryType::Regular, "", b"x")).await;
            fails(result, &[ErrorKind::BadRequest])?;
        }
        check!(!sandbox.exists("in/evil").await? && !sandbox.exists("evil").await?, "wrote outside of the target");
        check!(!Path::new("/tmp/grainchain-evil").exists(), "wrote outside of the sandbox");
    }

    fn an_absolute_name_in_an_archive_stays_inside(cx) needs [Archive] {
        let sandbox = cx.sandbox().await?;
        let host = tempfile::tempdir()?;
        let name = format!("{}/evil", host.path().display());
        let _ = sandbox.write_archive("in", hostile(&name, EntryType::Regular, "", b"x")).await;
        same!(std::fs::read_dir(host.path())?.count(), 0, "files outside");
    }

    fn an_archive_cannot_write_through_its_own_link(cx) needs [Archive] {
        let sandbox = cx.sandbox().await?;
        let host = tempfile::tempdir()?;
        let mut builder = Builder::new(Vec::new());
        add(&mut builder, "door", EntryType::Symlink, &host.path().display().to_string(), b"");
        add(&mut builder, "door/evil", EntryType::Regular, "", b"x");
        let _ = sandbox.write_archive("in", builder.into_inner()?).await;
        same!(std::fs::read_dir(host.path())?.count(), 0, "files outside");
    }

    fn an_archive_cannot_link_to_a_file_outside(cx) needs [Archive, Files] {
        let sandbox = cx.sandbox().await?;
        let host = tempfile::tempdir()?;
        let secret = host.path().join("secret");
        std::fs::write(&secret, "secret")?;
        let _ = sandbox.write_archive("in", hostile("hard", EntryType::Link, &secret.display().to_string(), b"")).await;
        if let Ok(seen) = sandbox.download_file("in/hard").await {
            check!(seen != "secret", "a hard link reached a file outside");
        }
    }

    fn a_link_in_the_sandbox_does_not_lead_an_archive_astray(cx) needs [Archive] {
        let sandbox = cx.sandbox().await?;
        let host = tempfile::tempdir()?;
        sandbox.execute(["sh", "-c", "mkdir in; ln -s \"$1\" in/door", "-", &host.path().display().to_string()]).await?;
        let _ = sandbox.write_archive("in", hostile("door/evil", EntryType::Regular, "", b"x")).await;
        same!(std::fs::read_dir(host.path())?.count(), 0, "files outside");
    }

    fn a_download_cannot_write_outside_of_its_target(cx) needs [Archive] {
        let sandbox = cx.sandbox().await?;
        let host = tempfile::tempdir()?;
        let (target, outside) = (host.path().join("target"), host.path().join("outside"));
        std::fs::create_dir_all(&outside)?;
        std::fs::create_dir_all(&target)?;
        // What was downloaded first becomes the way out for what is downloaded next.
        sandbox.execute(["sh", "-c", "mkdir one two two/door; ln -s \"$1\" one/door; echo x > two/door/evil", "-", &outside.display().to_string()]).await?;
        sandbox.download_dir("one", &target).await?;
        let _ = sandbox.download_dir("two", &target).await;
        same!(std::fs::read_dir(&outside)?.count(), 0, "files outside");
    }

    fn a_broken_archive_is_refused(cx) needs [Archive] {
        let sandbox = cx.sandbox().await?;
        fails(sandbox.write_archive("in", noise(5000, 11)).await, &[ErrorKind::BadRequest])?;
    }

    fn a_cut_archive_is_refused(cx) needs [Archive] {
        let mut archive = hostile("data", EntryType::Regular, "", &noise(50_000, 12));
        archive.truncate(20_000);
        let result = cx.sandbox().await?.write_archive("in", archive).await;
        fails(result, &[ErrorKind::BadRequest, ErrorKind::Connection])?;
    }

    fn a_device_in_an_archive_is_not_made(cx) needs [Archive] {
        let sandbox = cx.sandbox().await?;
        let _ = sandbox.write_archive("in", hostile("device", EntryType::Char, "", b"")).await;
        same!(sh(&sandbox, "[ -c in/device ] && echo made || :").await?, "");
    }

    fn a_stalled_archive_holds_nobody_up(cx) needs [Archive] {
        let sandbox = cx.create(cx.config()).await?;
        let whole = hostile("data", EntryType::Regular, "", &noise(50_000, 14));
        let beginning = Bytes::copy_from_slice(&whole[..20_000]);
        let endless = stream::once(async { Ok(beginning) }).chain(stream::pending());
        let stalled = sandbox.write_archive("in", Content::from_stream(endless, None));
        let others = async {
            for _ in 0..10 {
                same!(sandbox.execute(["echo", "on"]).timeout(secs(20)).await?.stdout(), "on\n");
                sandbox.info().await?;
                sandbox.write_archive("beside", hostile("small", EntryType::Regular, "", b"x")).await?;
                same!(entries(&sandbox.read_archive("beside").await?.into_bytes(ByteSize::mib(1)).await?)?, ["small"]);
            }
            Outcome::Ok(())
        };
        let mut stalled = std::pin::pin!(stalled);
        tokio::select! {
            biased;
            others = others => others?,
            stalled = &mut stalled => { stalled?; return Err("an endless archive ended".into()) }
        }
        // The end of the sandbox may be its end as well.
        let mut closed = std::pin::pin!(sandbox.close());
        let mut is_stalled = true;
        loop {
            tokio::select! {
                biased;
                closed = &mut closed => break closed?,
                _ = &mut stalled, if is_stalled => is_stalled = false,
            }
        }
    }

    fn archives_move_while_commands_flood(cx) needs [Archive] {
        let sandbox = cx.sandbox().await?;
        let host = tempfile::tempdir()?;
        for number in 0..100_u32 { std::fs::write(host.path().join(format!("f{number}")), noise(10_000, number))?; }
        let floods: Vec<_> = (0..4).map(|_| tokio::spawn(sandbox.execute("while :; do echo flood; done").timeout(secs(50)).into_future())).collect();
        let moves = (0..8).map(|number| {
            let (sandbox, host) = (sandbox.clone(), host.path());
            async move {
                let (path, back) = (format!("copy{number}"), tempfile::tempdir()?);
                sandbox.upload_dir(host, &path).await?;
                sandbox.download_dir(&path, back.path()).await?;
                for number in 0..100_u32 {
                    check!(std::fs::read(back.path().join(format!("f{number}")))? == noise(10_000, number), "f{number} of {path} differs");
                }
                Outcome::Ok(())
            }
        });
        let moved = try_join_all(moves).await;
        floods.iter().for_each(tokio::task::JoinHandle::abort);
        moved?;
    }

    fn modification_times_travel(cx) needs [Archive, Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir t; echo x > t/old; touch -t 200102030405.06 t/old").await?;
        let host = tempfile::tempdir()?;
        sandbox.download_dir("t", host.path()).await?;
        let there = sandbox.stat("t/old").await?.modified;
        same!(Some(std::fs::metadata(host.path().join("old"))?.modified()?), there);
    }
}
