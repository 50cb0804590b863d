//! Paths that are wrong, cruel or attacks. The code in the sandbox is hostile, and the machine that runs the client is worth
//! attacking: whatever a path says, no file operation reaches a file of the client's own.

use std::path::{Path, PathBuf};

use grainchain_core::{ErrorKind, FileKind, ListFiles, MakeDir, ReadFile, Remove, Rename, Stat, WriteFile};

use super::support::sh;
use crate::case::cases;
use crate::check::{Outcome, fails};

/// How a path that leads astray may be refused. Where the sandbox is a machine of its own the same path is just not there.
const ASTRAY: &[ErrorKind] = &[ErrorKind::BadRequest, ErrorKind::Denied, ErrorKind::NotFound];

const SECRET: &str = "the client's own secret";

/// A file of this machine that nobody in a sandbox may reach.
struct Victim {
    folder: tempfile::TempDir,
}

impl Victim {
    fn new() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("secret"), SECRET)?;
        Ok(Self { folder })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    /// The ways to it, from within any directory.
    fn ways(&self) -> Vec<String> {
        let path = self.path().display().to_string();
        let up = "../".repeat(40);
        let up = up.trim_end_matches('/');
        vec![
            path.clone(),
            format!("{up}{path}"),
            format!("./{up}{path}"),
            format!("x/../{up}{path}"),
            format!("//{path}"),
            format!("/.{path}"),
            format!("/..{path}"),
            format!("/proc/self/root{path}"),
            format!("/proc/1/root{path}"),
        ]
    }

    /// Fails when anything of it was changed.
    fn unharmed(&self) -> Outcome {
        same!(std::fs::read_to_string(self.path())?, SECRET);
        let names: Vec<_> = std::fs::read_dir(self.folder.path())?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
        same!(names, ["secret"]);
        Ok(())
    }
}

fn directory(path: &Path) -> String {
    path.display().to_string()
}

cases! { paths:
    fn no_path_reads_a_file_of_the_client(cx) needs [Files] {
        let (sandbox, victim) = (cx.sandbox().await?, Victim::new()?);
        for way in victim.ways() {
            fails(sandbox.download_file(way.as_str()).await, ASTRAY)?;
            fails(sandbox.stat(way.as_str()).await, ASTRAY)?;
        }
        fails(sandbox.list_files(directory(victim.folder.path())).await, ASTRAY)?;
    }

    fn no_path_writes_a_file_of_the_client(cx) needs [Files] {
        let (sandbox, victim) = (cx.sandbox().await?, Victim::new()?);
        for way in victim.ways() {
            let _ = sandbox.upload_file(WriteFile::new(&way).without_parents(), "overwritten").await;
            let _ = sandbox.upload_file(WriteFile::new(format!("{way}-new")).without_parents(), "new").await;
            let _ = sandbox.make_dir(MakeDir::new(format!("{way}-dir")).without_parents()).await;
            victim.unharmed()?;
        }
    }

    fn no_path_removes_or_moves_a_file_of_the_client(cx) needs [Files] {
        let (sandbox, victim) = (cx.sandbox().await?, Victim::new()?);
        sandbox.upload_file("mine", "x").await?;
        for way in victim.ways() {
            fails(sandbox.remove(Remove::new(&way).recursive()).await, ASTRAY)?;
            fails(sandbox.rename(Rename::new(&way, "stolen")).await, ASTRAY)?;
            let _ = sandbox.rename(Rename::new("mine", &way)).await;
            victim.unharmed()?;
        }
    }

    fn no_link_leads_to_a_file_of_the_client(cx) needs [Files] {
        let (sandbox, victim) = (cx.sandbox().await?, Victim::new()?);
        let (file, folder) = (victim.path().display().to_string(), directory(victim.folder.path()));
        let made = sandbox.execute(["sh", "-c", "ln -s \"$1\" file; ln -s \"$2\" door; ln -s /proc/self/root root; ln -s file hop; mkdir d; ln -s ../door d/hop", "-", &file, &folder]).await?;
        check!(made.success(), "the links could not be made: {}", made.stderr());
        for way in ["file", "door/secret", "hop", "d/hop/secret", &format!("root{file}")] {
            fails(sandbox.download_file(way).await, ASTRAY)?;
            fails(sandbox.stat(Stat::new(way).follow()).await, ASTRAY)?;
        }
        fails(sandbox.list_files("door").await, &[ErrorKind::BadRequest, ErrorKind::Denied, ErrorKind::NotFound])?;
        let _ = sandbox.upload_file(WriteFile::new("door/secret").without_parents(), "overwritten").await;
        let _ = sandbox.upload_file(WriteFile::new("door/new").without_parents(), "new").await;
        let _ = sandbox.remove(Remove::new("door/secret")).await;
        let _ = sandbox.remove(Remove::new("door/").recursive()).await;
        let _ = sandbox.make_dir("door/dir").await;
        let _ = sandbox.rename(Rename::new("door/secret", "stolen")).await;
        victim.unharmed()?;
    }

    fn a_link_swapped_during_the_operation_leads_nowhere(cx) needs [Files] {
        let (sandbox, victim) = (cx.sandbox().await?, Victim::new()?);
        let folder = directory(victim.folder.path());
        let script = "mkdir -p real; printf fine > real/secret; while [ ! -e stop ]; do ln -sfn \"$1\" way; ln -sfn real way; done";
        let swap = async { sandbox.execute(["sh", "-c", script, "-", &folder]).timeout(super::support::secs(40)).await };
        let attack = async {
            for _ in 0..200 {
                if let Ok(seen) = sandbox.download_file("way/secret").await {
                    check!(seen != SECRET, "read a file of the client through a swapped link");
                }
                let _ = sandbox.upload_file(WriteFile::new("way/secret").without_parents(), "fine").await;
                let _ = sandbox.remove("way/other").await;
                victim.unharmed()?;
            }
            Outcome::Ok(())
        };
        let attacked = async {
            let attacked = attack.await;
            sandbox.upload_file("stop", "").await?;
            attacked
        };
        let (swapped, attacked) = futures_util::future::join(swap, attacked).await;
        attacked?;
        swapped?;
    }

    fn a_recursive_list_does_not_leave_through_links(cx) needs [Files] {
        let (sandbox, victim) = (cx.sandbox().await?, Victim::new()?);
        let folder = directory(victim.folder.path());
        sandbox.execute(["ln", "-s", &folder, "door"]).await?;
        let found: Vec<_> = sandbox.list_files(ListFiles::new(".").recursive()).await?.into_iter().map(|file| file.path).collect();
        same!(found, ["door"]);
    }

    fn removing_a_tree_with_links_out_of_it_harms_nothing(cx) needs [Files] {
        let (sandbox, victim) = (cx.sandbox().await?, Victim::new()?);
        let folder = directory(victim.folder.path());
        sandbox.execute(["sh", "-c", "mkdir t; ln -s \"$1\" t/door; ln -s \"$1/secret\" t/file", "-", &folder]).await?;
        sandbox.remove(Remove::new("t").recursive()).await?;
        victim.unharmed()?;
    }

    fn dots_within_the_working_directory_are_resolved(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("a/b/f", "x").await?;
        for path in ["a/./b/f", "./a/b/f", "a/b/../b/f", "a//b///f", "a/b/./././f"] {
            same!(sandbox.download_file(path).await?, "x", "the content of {path}");
        }
    }

    fn a_dot_is_the_working_directory(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        same!(sandbox.stat(".").await?.kind, FileKind::Directory);
        fails(sandbox.remove(Remove::new(".").recursive()).await, &[ErrorKind::BadRequest, ErrorKind::Denied, ErrorKind::Conflict])?;
        same!(sandbox.stat(".").await?.kind, FileKind::Directory);
    }

    fn an_absolute_path_below_the_working_directory_works(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let here = sh(&sandbox, "pwd").await?;
        let path = format!("{}/absolute", here.trim_end());
        sandbox.upload_file(path.as_str(), "x").await?;
        same!(sandbox.download_file("absolute").await?, "x");
        same!(sh(&sandbox, "cat absolute").await?, "x");
    }

    fn a_nul_byte_is_refused(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("a", "x").await?;
        fails(sandbox.download_file("a\0b").await, &[ErrorKind::BadRequest])?;
        fails(sandbox.upload_file("a\0b", "y").await, &[ErrorKind::BadRequest])?;
        fails(sandbox.stat("a\0").await, &[ErrorKind::BadRequest])?;
        fails(sandbox.make_dir("a\0d").await, &[ErrorKind::BadRequest])?;
        fails(sandbox.remove("a\0").await, &[ErrorKind::BadRequest])?;
        fails(sandbox.rename(Rename::new("a", "b\0")).await, &[ErrorKind::BadRequest])?;
        same!(sandbox.download_file("a").await?, "x");
    }

    fn an_empty_path_is_refused(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        fails(sandbox.download_file("").await, &[ErrorKind::BadRequest, ErrorKind::NotFound])?;
        fails(sandbox.upload_file("", "y").await, &[ErrorKind::BadRequest, ErrorKind::NotFound])?;
        fails(sandbox.remove(Remove::new("").recursive()).await, &[ErrorKind::BadRequest, ErrorKind::NotFound])?;
    }

    fn a_name_of_255_bytes_works_and_one_of_256_is_refused(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let longest = "n".repeat(255);
        sandbox.upload_file(longest.as_str(), "x").await?;
        same!(sandbox.download_file(longest.as_str()).await?, "x");
        let over = "n".repeat(256);
        fails(sandbox.upload_file(over.as_str(), "x").await, &[ErrorKind::BadRequest])?;
        fails(sandbox.download_file(over.as_str()).await, &[ErrorKind::BadRequest, ErrorKind::NotFound])?;
    }

    fn an_over_long_path_is_refused(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let path = "directory/".repeat(1000) + "f";
        fails(sandbox.download_file(path.as_str()).await, &[ErrorKind::BadRequest, ErrorKind::NotFound])?;
        fails(sandbox.stat("x".repeat(100_000)).await, &[ErrorKind::BadRequest])?;
    }

    fn a_hundred_levels_work(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let path = "d/".repeat(100) + "f";
        sandbox.upload_file(path.as_str(), "deep").await?;
        same!(sandbox.download_file(ReadFile::new(&path)).await?, "deep");
        same!(sandbox.list_files(ListFiles::new(".").recursive()).await?.len(), 101);
        sandbox.remove(Remove::new("d").recursive()).await?;
    }

    fn a_path_through_a_file_is_refused(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("plain", "x").await?;
        fails(sandbox.download_file("plain/below").await, &[ErrorKind::BadRequest, ErrorKind::NotFound])?;
        fails(sandbox.upload_file("plain/below", "y").await, &[ErrorKind::BadRequest, ErrorKind::Conflict])?;
        same!(sandbox.download_file("plain").await?, "x");
    }

    fn a_circle_of_links_is_refused(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "ln -s b a; ln -s a b; ln -s self/x self").await?;
        fails(sandbox.download_file("a").await, &[ErrorKind::BadRequest, ErrorKind::NotFound])?;
        fails(sandbox.download_file("self").await, &[ErrorKind::BadRequest, ErrorKind::NotFound])?;
        same!(sandbox.stat("a").await?.kind, FileKind::Symlink);
    }

    fn a_broken_link_is_not_found(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "ln -s nowhere broken").await?;
        fails(sandbox.download_file("broken").await, &[ErrorKind::NotFound])?;
    }

    fn names_in_other_scripts_are_kept_exactly(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        // The same letter twice, composed and decomposed: two files, and neither is turned into the other.
        let names = ["e\u{301}", "\u{e9}", "\u{1f600}", "日本語", "-dash", "line\nbreak"];
        for name in names {
            sandbox.upload_file(name, name).await?;
        }
        let mut expected = names.map(str::to_owned);
        expected.sort();
        let listed: Vec<_> = sandbox.list_files(".").await?.into_iter().map(|file| file.name).collect();
        same!(listed, expected);
        for name in names {
            same!(sandbox.execute(["cat", &format!("./{name}")]).await?.stdout(), name);
        }
    }

    fn a_name_that_is_not_utf8_does_not_break_a_list(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "printf x > \"$(printf 'bad\\377name')\"; printf y > good").await?;
        let listed: Vec<_> = sandbox.list_files(".").await?.into_iter().map(|file| file.name).collect();
        same!(listed, ["bad\u{fffd}name", "good"]);
    }

    fn a_slash_at_the_end_wants_a_directory(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("d/f", "x").await?;
        same!(sandbox.stat("d/").await?.kind, FileKind::Directory);
        fails(sandbox.download_file("d/f/").await, &[ErrorKind::BadRequest, ErrorKind::NotFound])?;
        fails(sandbox.upload_file("new/", "x").await, &[ErrorKind::BadRequest, ErrorKind::NotFound])?;
    }

    fn a_directory_that_may_not_be_written_is_denied_and_keeps_what_it_holds(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir closed; echo old > closed/f; echo mine > mine; chmod 500 closed").await?;
        // Who runs as root may write everywhere.
        if sh(&sandbox, "id -u").await? == "0\n" {
            return sh(&sandbox, "echo new > closed/f").await.map(drop);
        }
        for result in [
            sandbox.upload_file("closed/f", "new").await.map(drop),
            sandbox.upload_file("closed/new", "new").await.map(drop),
            sandbox.make_dir("closed/dir").await,
        ] {
            let error = fails(result, &[ErrorKind::Denied])?;
            check!(error.to_string().contains("closed"), "does not name the path: {error}");
        }
        fails(sandbox.rename(Rename::new("mine", "closed/mine")).await, &[ErrorKind::Denied])?;
        same!(sh(&sandbox, "cat mine; ls -A closed; cat closed/f; chmod 700 closed").await?, "mine\nf\nold\n");
    }

    fn a_file_that_may_not_be_read_is_denied(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo x > closed; chmod 000 closed").await?;
        let root = sh(&sandbox, "id -u").await? == "0\n";
        let result = sandbox.download_file("closed").await;
        // Who runs as root may read everything.
        if root && result.is_ok() {
            same!(result?, "x\n");
        } else {
            fails(result, &[ErrorKind::Denied])?;
        }
    }
}
