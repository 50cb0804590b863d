//! Single files and directories.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join, try_join_all};
use futures_util::stream;
use grainchain_core::{
    Content, Error, ErrorKind, FileKind, ListFiles, MakeDir, ReadFile, Remove, Rename, Sandbox, Stat, WriteFile,
};

use super::support::{noise, secs, sh};
use crate::case::cases;
use crate::check::{Outcome, fails};

/// The names in a directory.
async fn names(sandbox: &Sandbox, path: &str) -> Outcome<Vec<String>> {
    Ok(sandbox.list_files(path).await?.into_iter().map(|file| file.name).collect())
}

cases! { files:
    fn what_is_written_is_read(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let data = noise(300_000, 4);
        let info = sandbox.upload_file("data.bin", data.clone()).await?;
        same!(info.size, 300_000);
        check!(sandbox.download_file("data.bin").await? == data, "the bytes are changed");
    }

    fn an_empty_file_is_a_file(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("empty", "").await?;
        same!(sandbox.download_file("empty").await?.len(), 0);
        let info = sandbox.stat("empty").await?;
        same!((info.kind, info.size), (FileKind::File, 0));
    }

    fn commands_see_what_was_written(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("note", "for the command").await?;
        same!(sh(&sandbox, "cat note").await?, "for the command");
    }

    fn what_commands_wrote_is_read(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "printf 'by the command' > note").await?;
        same!(sandbox.download_file("note").await?, "by the command");
    }

    fn writing_replaces(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("note", "a long first version").await?;
        sandbox.upload_file("note", "second").await?;
        same!(sandbox.download_file("note").await?, "second");
        same!(names(&sandbox, ".").await?, ["note"]);
    }

    fn missing_parents_are_made(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("a/b/c/d", "deep").await?;
        same!(sh(&sandbox, "cat a/b/c/d").await?, "deep");
    }

    fn missing_parents_are_not_made_when_not_wanted(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let result = sandbox.upload_file(WriteFile::new("no/parent/f").without_parents(), "x").await;
        fails(result, &[ErrorKind::NotFound])?;
        same!(sandbox.exists("no").await?, false);
    }

    fn a_new_file_has_the_mode_asked_for(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        for mode in [0o600, 0o640, 0o755, 0o444, 0o777] {
            let path = format!("mode-{mode:o}");
            same!(sandbox.upload_file(WriteFile::new(&path).mode(mode), "x").await?.mode & 0o777, mode);
            same!(sandbox.stat(&path).await?.mode & 0o777, mode, "the mode of {path}");
            check!(sh(&sandbox, &format!("ls -l {path}")).await?.starts_with('-'), "no regular file");
        }
    }

    fn a_new_file_is_readable_for_all_by_default(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("plain", "x").await?;
        same!(sandbox.stat("plain").await?.mode & 0o777, 0o644);
    }

    fn a_replaced_file_keeps_its_mode(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file(WriteFile::new("tool").mode(0o751), "x").await?;
        sandbox.upload_file("tool", "y").await?;
        same!(sandbox.stat("tool").await?.mode & 0o777, 0o751);
    }

    fn a_reader_never_sees_half_a_file(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let length = 400_000;
        sandbox.upload_file("torn", vec![b'0'; length]).await?;
        let write = async {
            for round in 1..=20_u8 {
                sandbox.upload_file("torn", vec![b'0' + round % 10; length]).await?;
            }
            Ok::<_, Error>(())
        };
        let read = async {
            for _ in 0..40 {
                let seen = sandbox.download_file("torn").await?;
                check!(seen.len() == length, "saw {} bytes", seen.len());
                check!(seen.iter().all(|byte| *byte == seen[0]), "saw two versions in one");
            }
            Outcome::Ok(())
        };
        let (written, read) = join(write, read).await;
        written?;
        read?;
    }

    fn a_command_never_sees_half_a_file(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let length = 1 << 20;
        sandbox.upload_file("torn", vec![b'a'; length]).await?;
        // The old file stays open in the command while it is replaced.
        let line = "exec 3< torn; echo > opened; while [ ! -e replaced ]; do :; done; cat <&3 | tr -d a | wc -c";
        let run = async { sandbox.execute(line).timeout(secs(30)).await };
        let replace = async {
            crate::poll::until("the command has opened it", async || Ok(sandbox.exists("opened").await?)).await?;
            sandbox.upload_file("torn", vec![b'b'; length]).await?;
            sandbox.upload_file("replaced", "").await?;
            Outcome::Ok(())
        };
        let (output, replaced) = join(run, replace).await;
        replaced?;
        same!(output?.stdout().trim(), "0");
    }

    fn a_write_that_fails_leaves_the_old_file(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("note", "the old one").await?;
        let chunks = vec![Ok(Bytes::from_static(b"half")), Err(Error::unexpected("the source broke"))];
        let result = sandbox.upload_file("note", Content::from_stream(stream::iter(chunks), None)).await;
        fails(result, &[ErrorKind::Unexpected])?;
        same!(sandbox.download_file("note").await?, "the old one");
        same!(names(&sandbox, ".").await?, ["note"]);
    }

    fn a_write_of_another_length_than_said_is_an_error(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("note", "the old one").await?;
        let chunks = vec![Ok(Bytes::from_static(b"five5"))];
        let result = sandbox.upload_file("note", Content::from_stream(stream::iter(chunks), Some(5000))).await;
        check!(result.is_err(), "a stream that ended early was taken for whole");
        same!(sandbox.download_file("note").await?, "the old one");
    }

    fn concurrent_writers_leave_one_whole_version(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        try_join_all((0..16_u8).map(|number| {
            let sandbox = sandbox.clone();
            async move { sandbox.upload_file("contested", vec![b'a' + number; 100_000]).await }
        }))
        .await?;
        let winner = sandbox.download_file("contested").await?;
        same!(winner.len(), 100_000);
        check!(winner.iter().all(|byte| *byte == winner[0]), "two versions in one");
        same!(names(&sandbox, ".").await?, ["contested"]);
    }

    fn a_write_onto_a_directory_is_refused(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("place/inside", "x").await?;
        fails(sandbox.upload_file("place", "y").await, &[ErrorKind::BadRequest, ErrorKind::Conflict])?;
        same!(sandbox.download_file("place/inside").await?, "x");
        same!(names(&sandbox, ".").await?, ["place"]);
    }

    fn a_range_is_read_exactly(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let data = noise(100_000, 5);
        sandbox.upload_file("data", data.clone()).await?;
        for (offset, length) in [(0, 1), (1, 1), (0, 100_000), (4095, 2), (65_535, 3), (99_999, 1), (50_000, 50_000)] {
            let part = sandbox.download_file(ReadFile::new("data").offset(offset).length(length)).await?;
            let (offset, length) = (offset as usize, length as usize);
            check!(part == data[offset..offset + length], "{length} bytes from {offset} are others");
        }
    }

    fn a_range_beyond_the_end_is_what_is_there(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("digits", "0123456789").await?;
        same!(sandbox.download_file(ReadFile::new("digits").offset(8).length(100)).await?, "89");
        same!(sandbox.download_file(ReadFile::new("digits").offset(7)).await?, "789");
        same!(sandbox.download_file(ReadFile::new("digits").offset(10)).await?, "");
        same!(sandbox.download_file(ReadFile::new("digits").offset(u64::MAX / 2).length(5)).await?, "");
        same!(sandbox.download_file(ReadFile::new("digits").length(0)).await?, "");
    }

    fn a_missing_file_is_not_found_and_named(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let error = fails(sandbox.download_file("nowhere/at-all").await, &[ErrorKind::NotFound])?;
        check!(error.to_string().contains("nowhere"), "does not name the file: {error}");
        check!(error.failed_sandbox() == Some(sandbox.id()), "does not name the sandbox: {error}");
        fails(sandbox.stat("nowhere").await, &[ErrorKind::NotFound])?;
        fails(sandbox.list_files("nowhere").await, &[ErrorKind::NotFound])?;
    }

    fn a_directory_cannot_be_read_as_a_file(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.make_dir("place").await?;
        fails(sandbox.download_file("place").await, &[ErrorKind::BadRequest])?;
    }

    fn a_named_pipe_is_refused_and_does_not_hang(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkfifo pipe").await?;
        same!(sandbox.stat("pipe").await?.kind, FileKind::Fifo);
        fails(sandbox.download_file("pipe").await, &[ErrorKind::BadRequest])?;
    }

    fn stat_tells_kind_size_and_mode(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "printf 12345 > file; chmod 640 file; mkdir -p dir; chmod 750 dir; ln -s file link").await?;
        let file = sandbox.stat("file").await?;
        same!((file.kind, file.size, file.mode & 0o777), (FileKind::File, 5, 0o640));
        let dir = sandbox.stat("dir").await?;
        same!((dir.kind, dir.mode & 0o777, dir.is_directory()), (FileKind::Directory, 0o750, true));
        same!((file.name.as_str(), dir.name.as_str()), ("file", "dir"));
    }

    fn stat_looks_at_a_link_itself(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "printf 12345 > file; ln -s file link").await?;
        let link = sandbox.stat("link").await?;
        same!((link.kind, link.link_target.as_deref()), (FileKind::Symlink, Some("file")));
    }

    fn stat_follows_a_link_when_asked(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "printf 12345 > file; ln -s file link; ln -s nowhere broken").await?;
        let target = sandbox.stat(Stat::new("link").follow()).await?;
        same!((target.kind, target.size), (FileKind::File, 5));
        fails(sandbox.stat(Stat::new("broken").follow()).await, &[ErrorKind::NotFound])?;
        same!(sandbox.exists("broken").await?, true);
    }

    fn stat_tells_when_a_file_was_changed(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo x > old; touch -t 200102030405.06 old; echo y > new").await?;
        let (old, new) = (sandbox.stat("old").await?.modified, sandbox.stat("new").await?.modified);
        let (Some(old), Some(new)) = (old, new) else { return Err("a time is missing".into()) };
        check!(new.duration_since(old).is_ok_and(|age| age > Duration::from_secs(86_400 * 365 * 10)), "the times do not differ");
    }

    fn a_link_is_read_through(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir d; printf inside > d/file; ln -s d/file link; ln -s d door").await?;
        same!(sandbox.download_file("link").await?, "inside");
        same!(sandbox.download_file("door/file").await?, "inside");
    }

    fn a_list_is_sorted(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "for n in zeta b10 a C b2 _ 0 .hidden Beta; do echo > $n; done").await?;
        same!(names(&sandbox, ".").await?, [".hidden", "0", "Beta", "C", "_", "a", "b10", "b2", "zeta"]);
    }

    fn a_list_tells_what_each_entry_is(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "printf 123 > file; mkdir dir; ln -s nowhere link; mkfifo pipe").await?;
        let kinds: Vec<_> = sandbox.list_files(".").await?.into_iter().map(|file| (file.name, file.kind)).collect();
        let expected = [("dir", FileKind::Directory), ("file", FileKind::File), ("link", FileKind::Symlink), ("pipe", FileKind::Fifo)];
        same!(kinds, expected.map(|(name, kind)| (name.to_owned(), kind)));
    }

    fn a_list_goes_as_deep_as_asked(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir -p a/b/c; echo > a/b/c/d; echo > a/x").await?;
        let paths = async |request: ListFiles| {
            Outcome::Ok(sandbox.list_files(request).await?.into_iter().map(|file| file.path).collect::<Vec<_>>())
        };
        same!(paths(ListFiles::new("a")).await?, ["b", "x"]);
        same!(paths(ListFiles::new("a").depth(2)).await?, ["b", "b/c", "x"]);
        same!(paths(ListFiles::new("a").recursive()).await?, ["b", "b/c", "b/c/d", "x"]);
    }

    fn a_recursive_list_follows_no_links(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir d; echo > d/f; ln -s . d/loop; ln -s / d/top").await?;
        let found: Vec<_> = sandbox.list_files(ListFiles::new(".").recursive()).await?.into_iter().map(|file| file.path).collect();
        same!(found, ["d", "d/f", "d/loop", "d/top"]);
    }

    fn an_empty_directory_lists_nothing(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.make_dir("void").await?;
        same!(names(&sandbox, "void").await?, Vec::<String>::new());
    }

    fn a_file_cannot_be_listed(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("plain", "x").await?;
        fails(sandbox.list_files("plain").await, &[ErrorKind::BadRequest])?;
    }

    fn five_thousand_entries_are_listed(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir many; cd many; i=10000; while [ $i -lt 15000 ]; do : > f$i; i=$((i+1)); done").await?;
        let listed = names(&sandbox, "many").await?;
        same!(listed.len(), 5000);
        same!((listed[0].as_str(), listed[4999].as_str()), ("f10000", "f14999"));
    }

    fn a_directory_is_made_with_its_parents_and_twice(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.make_dir("x/y/z").await?;
        sandbox.make_dir("x/y/z").await?;
        same!(sandbox.stat("x/y/z").await?.kind, FileKind::Directory);
    }

    fn a_directory_is_not_made_twice_without_parents(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.make_dir(MakeDir::new("once").without_parents()).await?;
        fails(sandbox.make_dir(MakeDir::new("once").without_parents()).await, &[ErrorKind::Conflict])?;
        fails(sandbox.make_dir(MakeDir::new("no/parent").without_parents()).await, &[ErrorKind::NotFound])?;
    }

    fn a_directory_has_the_mode_asked_for(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.make_dir(MakeDir::new("private").mode(0o700)).await?;
        same!(sandbox.stat("private").await?.mode & 0o777, 0o700);
    }

    fn a_directory_is_not_made_over_a_file(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("taken", "x").await?;
        fails(sandbox.make_dir("taken").await, &[ErrorKind::Conflict])?;
        fails(sandbox.make_dir("taken/below").await, &[ErrorKind::Conflict, ErrorKind::BadRequest])?;
        same!(sandbox.download_file("taken").await?, "x");
    }

    fn a_file_is_removed(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("gone", "x").await?;
        sandbox.remove("gone").await?;
        same!(sandbox.exists("gone").await?, false);
    }

    fn removing_what_is_missing_is_not_found_unless_that_is_fine(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        fails(sandbox.remove("missing").await, &[ErrorKind::NotFound])?;
        sandbox.remove(Remove::new("missing").missing_ok()).await?;
        sandbox.remove(Remove::new("missing/deeper").missing_ok().recursive()).await?;
    }

    fn a_full_directory_is_not_removed_by_accident(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("full/file", "x").await?;
        let error = fails(sandbox.remove("full").await, &[ErrorKind::Conflict])?;
        check!(error.remedy().is_some(), "does not say how to remove it: {error}");
        same!(sandbox.download_file("full/file").await?, "x");
        sandbox.make_dir("void").await?;
        sandbox.remove("void").await?;
    }

    fn a_tree_is_removed_when_asked(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir -p t/a/b; echo > t/a/f; ln -s / t/root; mkfifo t/p; mkdir t/locked; echo > t/locked/f; chmod 500 t/locked").await?;
        sandbox.remove(Remove::new("t").recursive()).await?;
        same!(sandbox.exists("t").await?, false);
    }

    fn removing_a_link_leaves_its_target(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir d; echo x > d/f; ln -s d dirlink; ln -s d/f filelink").await?;
        sandbox.remove("filelink").await?;
        sandbox.remove(Remove::new("dirlink").recursive()).await?;
        same!(names(&sandbox, ".").await?, ["d"]);
        same!(sandbox.download_file("d/f").await?, "x\n");
    }

    fn a_file_is_renamed(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("old", "x").await?;
        sandbox.make_dir("d").await?;
        sandbox.rename(Rename::new("old", "d/new")).await?;
        same!(sandbox.exists("old").await?, false);
        same!(sandbox.download_file("d/new").await?, "x");
    }

    fn a_rename_replaces_by_default(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("a", "from").await?;
        sandbox.upload_file("b", "to").await?;
        sandbox.rename(Rename::new("a", "b")).await?;
        same!(sandbox.download_file("b").await?, "from");
        same!(names(&sandbox, ".").await?, ["b"]);
    }

    fn a_rename_does_not_replace_when_told_so(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("a", "from").await?;
        sandbox.upload_file("b", "to").await?;
        fails(sandbox.rename(Rename::new("a", "b").without_replacing()).await, &[ErrorKind::Conflict])?;
        same!((sandbox.download_file("a").await?, sandbox.download_file("b").await?), (Bytes::from("from"), Bytes::from("to")));
        sandbox.rename(Rename::new("a", "c").without_replacing()).await?;
        same!(names(&sandbox, ".").await?, ["b", "c"]);
    }

    fn a_directory_is_renamed_with_its_content(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("a/b/c", "x").await?;
        sandbox.rename(Rename::new("a", "z")).await?;
        same!(sandbox.download_file("z/b/c").await?, "x");
        fails(sandbox.rename(Rename::new("z", "z/b/inside")).await, &[ErrorKind::BadRequest, ErrorKind::Conflict])?;
        same!(sandbox.download_file("z/b/c").await?, "x");
    }

    fn renaming_what_is_missing_is_not_found(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        fails(sandbox.rename(Rename::new("missing", "x")).await, &[ErrorKind::NotFound])?;
        sandbox.upload_file("here", "x").await?;
        fails(sandbox.rename(Rename::new("here", "no/such/place")).await, &[ErrorKind::NotFound])?;
        same!(sandbox.download_file("here").await?, "x");
    }

    fn a_cancelled_write_leaves_the_old_file_and_nothing_else(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("note", "the old one").await?;
        let first = stream::iter([Ok(Bytes::from(vec![b'n'; 200_000]))]);
        let content = Content::from_stream(futures_util::StreamExt::chain(first, stream::pending()), None);
        let write = sandbox.upload_file("note", content);
        check!(tokio::time::timeout(Duration::from_millis(300), write).await.is_err(), "an endless write ended");
        same!(sandbox.download_file("note").await?, "the old one");
        crate::poll::until("the half-written file is gone", async || Ok(names(&sandbox, ".").await? == ["note"])).await?;
    }
}
