//! Futures that are dropped.

use std::time::Duration;

use grainchain_core::{CreateSnapshot, ErrorKind, Sandbox};

use super::support::{gone, noise, pids, secs, sh};
use crate::case::cases;
use crate::check::{Failure, Outcome};
use crate::poll::until;

/// Waits until no process of `sandbox` runs the marker `sleep` with this length.
async fn quiet(sandbox: &Sandbox, length: &str) -> Outcome {
    // The pattern does not match itself; processes are read from /proc because `ps` differs everywhere.
    let line = format!("for d in /proc/[0-9]*; do tr '\\0' ' ' < $d/cmdline 2>/dev/null | grep -q '^sleep [{}]{}' && echo $d; done; :", &length[..1], &length[1..]);
    until("the cancelled commands are gone", async || Ok(sh(sandbox, &line).await?.is_empty())).await
}

cases! { cancel:
    fn a_cancelled_command_is_killed_with_its_tree(cx) needs [TreeKill] {
        let sandbox = cx.sandbox().await?;
        let line = "echo $$ >> pids; setsid sh -c 'echo $$ >> pids; exec sleep 300' & sleep 300 & echo $! >> pids; wait";
        let task = tokio::spawn(sandbox.execute(line).timeout(secs(250)).into_future());
        let tree = pids(&sandbox, "pids", 3).await?;
        task.abort();
        gone(&sandbox, &tree).await?;
    }

    fn cancelling_at_random_points_leaves_nothing(cx) needs [TreeKill] {
        let sandbox = cx.sandbox().await?;
        let length = format!("4{}", cx.mark().bytes().map(u32::from).sum::<u32>() % 1000 + 1000);
        let mut seed = 7_u32;
        for _ in 0..60 {
            seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12345);
            let pause = Duration::from_micros(u64::from(seed >> 16) % 30_000);
            let command = sandbox.execute(format!("sleep {length} & setsid sleep {length} & sleep {length}")).into_future();
            check!(tokio::time::timeout(pause, command).await.is_err(), "an endless command ended");
        }
        quiet(&sandbox, &length).await?;
        same!(sh(&sandbox, "echo works").await?, "works\n");
    }

    fn a_command_that_was_never_polled_never_ran(cx) {
        let sandbox = cx.sandbox().await?;
        drop(sandbox.execute("echo > ran").into_future());
        let _ = sandbox.execute("echo > ran too");
        same!(sh(&sandbox, "ls").await?, "");
    }

    fn cancelling_one_of_many_leaves_the_others(cx) {
        let sandbox = cx.sandbox().await?;
        let tasks: Vec<_> = (0..8).map(|number| tokio::spawn(sandbox.execute(format!("sleep 2; echo {number}")).into_future())).collect();
        for task in tasks.iter().step_by(2) { task.abort(); }
        for (number, task) in tasks.into_iter().enumerate().filter(|(number, _)| number % 2 == 1) {
            let output = task.await.map_err(|error| Failure::new(error.to_string()))??;
            same!(output.stdout(), format!("{number}\n"));
        }
    }

    fn cancelled_writes_leave_whole_files(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("f", noise(2_000_000, 0)).await?;
        for round in 1..30_u32 {
            let write = sandbox.upload_file("f", noise(2_000_000, round));
            let _ = tokio::time::timeout(Duration::from_micros(u64::from(round) * 200), write).await;
            let seen = sandbox.download_file("f").await?;
            check!(seen.len() == 2_000_000 && (0..=round).any(|version| seen[..64] == noise(64, version)[..] && seen == noise(2_000_000, version)), "the file is torn after round {round}");
        }
        until("only the file is there", async || Ok(sandbox.list_files(".").await?.len() == 1)).await?;
    }

    fn cancelled_reads_leave_the_sandbox_working(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("f", noise(5_000_000, 1)).await?;
        for round in 0..30 {
            let _ = tokio::time::timeout(Duration::from_micros(round * 300), sandbox.download_file("f")).await;
        }
        same!(sandbox.download_file("f").await?.len(), 5_000_000);
    }

    fn a_cancelled_snapshot_leaves_none_or_a_whole_one(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "i=0; while [ $i -lt 300 ]; do echo $i > f$i; i=$((i+1)); done").await?;
        for round in 0..8 {
            let _ = tokio::time::timeout(Duration::from_millis(round * 3), sandbox.create_snapshot(CreateSnapshot::filesystem())).await;
        }
        let last = sandbox.create_snapshot("last").await?;
        for snapshot in sandbox.list_snapshots().await? {
            sh(&sandbox, "rm f*").await?;
            sandbox.restore_snapshot(&snapshot.id).await?;
            same!(sh(&sandbox, "cat f* | wc -l").await?.trim(), "300", "the files after {}", snapshot.id);
        }
        same!(sandbox.list_snapshots().await?.iter().any(|info| info.id == last.id), true);
    }

    fn a_cancelled_restore_can_be_repeated(cx) needs [Snapshots] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "i=0; while [ $i -lt 300 ]; do echo $i > f$i; i=$((i+1)); done; cat f* | cksum > ../sum 2>/dev/null || :").await?;
        let sum = sh(&sandbox, "cat f* | cksum").await?;
        let snapshot = sandbox.create_snapshot("whole").await?;
        for round in 0..8 {
            sh(&sandbox, "for f in f1*; do echo broken > $f; done; rm -f f2*; echo new > extra").await?;
            let _ = tokio::time::timeout(Duration::from_millis(round * 3), sandbox.restore_snapshot(&snapshot.id)).await;
            sandbox.restore_snapshot(&snapshot.id).await?;
            same!(sh(&sandbox, "cat f* | cksum; ls | wc -l").await?.split_whitespace().last(), Some("300"), "files after round {round}");
            same!(sh(&sandbox, "cat f* | cksum").await?, sum);
        }
    }

    fn a_cancelled_create_leaves_nothing_that_cannot_be_removed(cx) {
        for pause in [0_u64, 1, 3, 10, 30] {
            let _ = tokio::time::timeout(Duration::from_millis(pause), cx.client().create(cx.config())).await.map(|made| made.map(|sandbox| cx.adopt(&sandbox)));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        // What is there is listed and can be ended, unless what was begun has been ended just now by whoever began it.
        for id in cx.listed().await? {
            if let Err(error) = cx.client().remove(&id).await { same!(error.kind(), ErrorKind::NotFound); }
        }
        until("nothing is listed", async || Ok(cx.listed().await?.is_empty())).await?;
    }

    fn a_dropped_stream_of_code_interrupts_it(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        drop(sandbox.run_code("import time\nwhile True:\n    time.sleep(0.1)").stream().await?);
        same!(sandbox.run_code("1 + 1").timeout(secs(30)).await?.text(), Some("2"));
    }
}
