//! How much a sandbox uses.

use super::support::{pids, sh};
use crate::case::cases;
use crate::poll::until;

cases! { metrics:
    fn a_sample_is_possible_at_any_time(cx) needs [Metrics] {
        let sandbox = cx.sandbox().await?;
        let first = sandbox.metrics().await?;
        let second = sandbox.metrics().await?;
        check!(second.taken_at >= first.taken_at, "the second was taken before the first");
    }

    fn processes_are_counted(cx) needs [Metrics] {
        let sandbox = cx.sandbox().await?;
        let Some(before) = sandbox.metrics().await?.processes else { return Ok(()) };
        sh(&sandbox, "for i in 1 2 3; do sleep 300 >/dev/null 2>&1 & echo $! >> pids; done").await?;
        pids(&sandbox, "pids", 3).await?;
        until("three processes more are counted", async || Ok(sandbox.metrics().await?.processes == Some(before + 3))).await?;
    }

    fn memory_in_use_shows(cx) needs [Metrics] with [Python] {
        let sandbox = cx.sandbox().await?;
        let Some(before) = sandbox.metrics().await?.memory_bytes else { return Ok(()) };
        sh(&sandbox, "python3 -c \"import time; x = b'x' * 100_000_000; open('full', 'w').close(); time.sleep(300)\" >/dev/null 2>&1 &").await?;
        until("a hundred megabytes show", async || Ok(sandbox.metrics().await?.memory_bytes.is_some_and(|now| now > before + 90_000_000))).await?;
    }

    fn files_on_disk_show(cx) needs [Metrics] {
        let sandbox = cx.sandbox().await?;
        let Some(before) = sandbox.metrics().await?.disk_bytes else { return Ok(()) };
        sh(&sandbox, "head -c 20000000 /dev/zero | tr '\\0' x > file").await?;
        until("twenty megabytes show", async || Ok(sandbox.metrics().await?.disk_bytes.is_some_and(|now| now >= before + 19_000_000))).await?;
    }

    fn processor_time_grows(cx) needs [Metrics] {
        let sandbox = cx.sandbox().await?;
        let Some(before) = sandbox.metrics().await?.cpu_time else { return Ok(()) };
        sh(&sandbox, "(while :; do :; done) >/dev/null 2>&1 &").await?;
        until("processor time is used", async || {
            Ok(sandbox.metrics().await?.cpu_time.is_some_and(|now| now > before + std::time::Duration::from_millis(300)))
        }).await?;
    }
}
