//! Points to go back to.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::try_join;
use grainchain_core::{CreateSnapshot, ErrorKind, Sandbox, SnapshotKind};

use super::support::{gone, pids, secs, sh};
use crate::case::cases;
use crate::check::{Outcome, fails};
use crate::poll::until;

/// Everything below the working directory with content and mode, as text.
async fn state(sandbox: &Sandbox) -> Outcome<String> {
    sh(sandbox, "find . | LC_ALL=C sort | while read -r f; do ls -ld \"$f\" | cut -c1-10; echo \"$f\"; [ -L \"$f\" ] && readlink \"$f\" || { [ -f \"$f\" ] && cksum < \"$f\"; }; done; :").await
}

cases! { snapshots:
    fn a_restore_brings_everything_back(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir -p a/b void; echo one > a/f; echo two > a/b/g; ln -s a/f link; chmod 640 a/f; echo x > tool; chmod 755 tool").await?;
        let before = state(&sandbox).await?;
        let snapshot = sandbox.create_snapshot("before").await?;
        sh(&sandbox, "echo changed > a/f; rm -r a/b; chmod 600 tool; echo new > added; mkdir more; rm link; ln -s tool link; rmdir void").await?;
        sandbox.restore_snapshot(&snapshot.id).await?;
        same!(state(&sandbox).await?, before);
    }

    fn a_restore_removes_what_is_new(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        let snapshot = sandbox.create_snapshot(CreateSnapshot::filesystem()).await?;
        sh(&sandbox, "mkdir -p d/e; echo x > d/e/f; echo y > new").await?;
        sandbox.restore_snapshot(&snapshot.id).await?;
        same!(sh(&sandbox, "find . -mindepth 1 2>/dev/null || ls -A").await?, "");
    }

    fn a_snapshot_never_changes(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo original > f; echo old > g").await?;
        let snapshot = sandbox.create_snapshot("fixed").await?;
        for round in 0..3 {
            // Written in place, appended to and replaced: no way of writing may reach the snapshot.
            sh(&sandbox, &format!("printf X | dd of=f bs=1 conv=notrunc 2>/dev/null; echo {round} >> g; echo z > h; mv h f")).await?;
            sandbox.restore_snapshot(&snapshot.id).await?;
            same!(sh(&sandbox, "cat f g").await?, "original\nold\n", "the content after restore {round}");
        }
    }

    fn a_file_written_in_place_does_not_reach_the_snapshot(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "printf aaaa > f").await?;
        let snapshot = sandbox.create_snapshot("a").await?;
        sh(&sandbox, "exec 3<> f; printf bb >&3").await?;
        sandbox.restore_snapshot(&snapshot.id).await?;
        sh(&sandbox, "exec 3<> f; printf cc >&3").await?;
        sandbox.restore_snapshot(&snapshot.id).await?;
        same!(sh(&sandbox, "cat f").await?, "aaaa");
    }

    fn snapshots_are_restored_in_any_order(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        let mut taken = Vec::new();
        for number in 0..4 {
            sh(&sandbox, &format!("echo {number} > f; echo x > only{number}")).await?;
            taken.push(sandbox.create_snapshot(format!("n{number}").as_str()).await?.id);
        }
        for number in [2, 0, 3, 1, 3] {
            sandbox.restore_snapshot(&taken[number]).await?;
            same!(sh(&sandbox, "cat f; ls | wc -l").await?.split_whitespace().collect::<Vec<_>>().join(" "), format!("{number} {}", number + 2));
        }
    }

    fn two_snapshots_in_a_moment_are_two(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        let first = sandbox.create_snapshot("same name").await?;
        let second = sandbox.create_snapshot("same name").await?;
        check!(first.id != second.id, "both are called {}", first.id);
        same!(sandbox.list_snapshots().await?.len(), 2);
    }

    fn a_list_shows_snapshots_oldest_first(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        same!(sandbox.list_snapshots().await?.len(), 0);
        let first = sandbox.create_snapshot(CreateSnapshot::filesystem().name("first").metadata("k", "v")).await?;
        let second = sandbox.create_snapshot("second").await?;
        let list = sandbox.list_snapshots().await?;
        same!(list.iter().map(|info| &info.id).collect::<Vec<_>>(), [&first.id, &second.id]);
        same!((list[0].name.as_deref(), list[0].kind), (Some("first"), SnapshotKind::Filesystem));
        same!(list[0].metadata.get("k").map(String::as_str), Some("v"));
    }

    fn a_snapshot_knows_its_parent(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        let first = sandbox.create_snapshot("first").await?;
        let second = sandbox.create_snapshot("second").await?;
        check!(second.parent.is_none() || second.parent.as_ref() == Some(&first.id), "the parent is {:?}", second.parent);
        sandbox.restore_snapshot(&first.id).await?;
        let third = sandbox.create_snapshot("third").await?;
        check!(third.parent.is_none() || third.parent.as_ref() == Some(&first.id), "the parent is {:?}", third.parent);
    }

    fn a_deleted_snapshot_is_not_found(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        let snapshot = sandbox.create_snapshot("short").await?;
        sandbox.delete_snapshot(&snapshot.id).await?;
        fails(sandbox.restore_snapshot(&snapshot.id).await, &[ErrorKind::NotFound])?;
        fails(sandbox.delete_snapshot(&snapshot.id).await, &[ErrorKind::NotFound])?;
        same!(sandbox.list_snapshots().await?.len(), 0);
    }

    fn deleting_a_parent_leaves_its_child_whole(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "head -c 100000 /dev/zero | tr '\\0' p > shared; echo a > f").await?;
        let parent = sandbox.create_snapshot("parent").await?;
        sh(&sandbox, "echo b > f").await?;
        let child = sandbox.create_snapshot("child").await?;
        sandbox.delete_snapshot(&parent.id).await?;
        sh(&sandbox, "rm shared f").await?;
        sandbox.restore_snapshot(&child.id).await?;
        same!(sh(&sandbox, "cat f; tr -d p < shared | wc -c; wc -c < shared").await?.split_whitespace().collect::<Vec<_>>(), ["b", "0", "100000"]);
    }

    fn a_snapshot_that_is_not_there_changes_nothing(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo kept > f").await?;
        for id in ["no-such-snapshot", "../../etc", "", "a/b", "x\ny"] {
            fails(sandbox.restore_snapshot(&id.into()).await, &[ErrorKind::NotFound, ErrorKind::BadRequest])?;
            fails(sandbox.delete_snapshot(&id.into()).await, &[ErrorKind::NotFound, ErrorKind::BadRequest])?;
        }
        same!(sh(&sandbox, "cat f").await?, "kept\n");
    }

    fn a_restore_ends_what_runs(cx) needs [Snapshots, TreeKill] {
        let sandbox = cx.sandbox().await?;
        let snapshot = sandbox.create_snapshot("before").await?;
        let started = sh(&sandbox, "sleep 300 >/dev/null 2>&1 & echo $!").await?;
        let running = super::support::numbers(&started)?;
        sandbox.restore_snapshot(&snapshot.id).await?;
        gone(&sandbox, &running).await?;
    }

    fn after_a_restore_the_handle_works(cx) needs [Snapshots, Processes] {
        let sandbox = cx.sandbox().await?;
        let id = sandbox.id().clone();
        let snapshot = sandbox.create_snapshot("point").await?;
        sandbox.restore_snapshot(&snapshot.id).await?;
        same!(sandbox.id(), &id);
        same!(sh(&sandbox, "echo works").await?, "works\n");
        same!(sandbox.spawn("exit 3").await?.wait().await?.code(), Some(3));
        same!(sandbox.list_snapshots().await?.len(), 1);
    }

    fn a_snapshot_under_load_holds_every_file_that_stood_still(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir still; i=0; while [ $i -lt 200 ]; do echo $i > still/$i; i=$((i+1)); done; (cd still; cat * | cksum) > sum").await?;
        sh(&sandbox, "(i=0; while [ ! -e stop ]; do echo $i > busy$((i % 9)); rm -f busy$(((i+4) % 9)); i=$((i+1)); done) >/dev/null 2>&1 &").await?;
        until("the load runs", async || Ok(sh(&sandbox, "ls busy* 2>/dev/null || :").await?.lines().count() > 1)).await?;
        let snapshot = sandbox.create_snapshot("under load").await;
        sh(&sandbox, "echo > stop").await?;
        let snapshot = snapshot?;
        sh(&sandbox, "rm -r still").await?;
        sandbox.restore_snapshot(&snapshot.id).await?;
        same!(sh(&sandbox, "(cd still; cat * | cksum) | cmp - sum && echo whole").await?, "whole\n");
    }

    fn what_starts_during_a_snapshot_is_not_refused(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        let over = AtomicBool::new(false);
        let taking = async {
            for _ in 0..5 { sandbox.create_snapshot("meanwhile").await?; }
            over.store(true, Ordering::Relaxed);
            Outcome::Ok(())
        };
        let starting = async || {
            while !over.load(Ordering::Relaxed) { same!(sh(&sandbox, "echo x").await?, "x\n"); }
            Outcome::Ok(())
        };
        try_join(taking, try_join(starting(), starting())).await?;
    }

    fn what_runs_survives_a_snapshot(cx) needs [Snapshots, Processes] {
        let sandbox = cx.sandbox().await?;
        let mut process = sandbox.spawn("echo $$ > pids; while [ ! -e go ]; do sleep 1; done; exit 4").await?;
        pids(&sandbox, "pids", 1).await?;
        sandbox.create_snapshot("meanwhile").await?;
        sh(&sandbox, "echo > go").await?;
        same!(tokio::time::timeout(secs(20), process.wait()).await.map_err(|_| "it does not go on")??.code(), Some(4));
    }

    fn ugly_names_and_special_files_are_kept(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo 1 > 'two words'; echo 2 > \"$(printf 'new\\nline')\"; echo 3 > '日本'; echo 4 > -dash; mkfifo pipe; ln -s /nowhere broken; echo 5 > \"$(printf 'bad\\377')\"").await?;
        let line = "ls -A | cksum; [ -p pipe ] && [ -L broken ] && cat 'two words' 日本 ./-dash";
        let before = sh(&sandbox, line).await?;
        let snapshot = sandbox.create_snapshot("ugly").await?;
        sh(&sandbox, "rm -f -- * ").await?;
        sandbox.restore_snapshot(&snapshot.id).await?;
        same!(sh(&sandbox, line).await?, before);
    }

    fn a_large_sparse_file_is_kept(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "dd if=/dev/zero of=sparse bs=1 count=0 seek=500000000 2>/dev/null; echo end >> sparse").await?;
        let snapshot = sandbox.create_snapshot("sparse").await?;
        sh(&sandbox, "rm sparse").await?;
        sandbox.restore_snapshot(&snapshot.id).await?;
        same!(sh(&sandbox, "wc -c < sparse; tail -c 4 sparse").await?.split_whitespace().collect::<Vec<_>>(), ["500000004", "end"]);
    }

    fn a_snapshot_belongs_to_its_sandbox(cx) needs [Snapshots] {
        let (first, second) = (cx.sandbox().await?, cx.create(cx.config()).await?);
        first.create_snapshot("mine").await?;
        same!(second.list_snapshots().await?.len(), 0);
    }

    fn memory_is_refused_where_it_is_not_declared(cx) needs [Snapshots] lacks [MemorySnapshots] {
        let error = fails(cx.sandbox().await?.create_snapshot(CreateSnapshot::memory()).await, &[ErrorKind::Unsupported])?;
        same!(error.failed_option(), Some("kind"));
    }

    fn memory_is_restored_with_its_processes(cx) needs [MemorySnapshots] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "(i=0; while :; do i=$((i+1)); echo $i > count; sleep 1; done) >/dev/null 2>&1 &").await?;
        let snapshot = sandbox.create_snapshot(CreateSnapshot::memory()).await?;
        sandbox.restore_snapshot(&snapshot.id).await?;
        let seen = sh(&sandbox, "cat count").await?;
        until("the process counts on", async || Ok(sh(&sandbox, "cat count").await? != seen)).await?;
    }
}
