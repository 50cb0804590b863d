//! What a command writes.

use std::future::IntoFuture;
use std::time::Duration;

use grainchain_core::{ByteSize, Capability};

use super::support::{noise, octal, secs, sh};
use crate::case::cases;

/// The resident memory of this process, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// Waits for `work` and says how much memory this process held at most meanwhile.
async fn highest_while<T>(work: impl Future<Output = T>) -> (T, u64) {
    tokio::pin!(work);
    let mut highest = 0;
    loop {
        highest = highest.max(resident().unwrap_or(0));
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(20), &mut work).await {
            return (answer, highest);
        }
    }
}

cases! { output:
    fn stdout_and_stderr_arrive_apart(cx) needs [SeparateOutput] {
        let output = cx.sandbox().await?.execute("echo to stdout; echo to stderr >&2; echo more").await?;
        same!(output.stdout(), "to stdout\nmore\n");
        same!(output.stderr(), "to stderr\n");
    }

    fn stderr_alone_leaves_stdout_empty(cx) needs [SeparateOutput] {
        let output = cx.sandbox().await?.execute("echo only this >&2; exit 1").await?;
        same!(output.stdout(), "");
        same!(output.stderr(), "only this\n");
    }

    fn merged_streams_lose_nothing(cx) lacks [SeparateOutput] {
        let output = cx.sandbox().await?.execute("echo out; echo err >&2").await?;
        let all = output.combined();
        check!(all.contains("out") && all.contains("err"), "something is lost: {all:?}");
    }

    fn no_output_is_empty(cx) {
        let output = cx.sandbox().await?.execute("true").await?;
        same!((output.stdout.total(), output.stderr.total()), (0, 0));
        check!(!output.truncated(), "nothing was truncated");
    }

    fn every_byte_arrives_as_it_is(cx) {
        let all: Vec<u8> = (0..=255).collect();
        let output = cx.sandbox().await?.execute(format!("printf '{}'", octal(&all))).await?;
        same!(output.stdout.bytes(), all);
    }

    fn every_byte_on_stderr_arrives_as_it_is(cx) needs [SeparateOutput] {
        let all: Vec<u8> = (0..=255).rev().collect();
        let output = cx.sandbox().await?.execute(format!("printf '{}' >&2", octal(&all))).await?;
        same!(output.stderr.bytes(), all);
    }

    fn what_is_not_utf8_is_replaced_in_the_text_alone(cx) {
        let output = cx.sandbox().await?.execute(format!("printf '{}'", octal(b"a\xff\xfeb\xc3"))).await?;
        same!(output.stdout(), "a\u{fffd}\u{fffd}b\u{fffd}");
        same!(&output.stdout.bytes()[..], b"a\xff\xfeb\xc3");
    }

    fn a_character_split_over_two_writes_stays_whole(cx) {
        let line = format!("printf '{}'; sleep 1; printf '{}'; sleep 1; printf '{}'",
            octal(&[0xf0, 0x9f]), octal(&[0x98]), octal(&[0x80, b'!']));
        same!(cx.sandbox().await?.execute(line).await?.stdout(), "😀!");
    }

    fn multi_byte_text_survives_every_chunk_border(cx) {
        let sandbox = cx.sandbox().await?;
        let output = sandbox.execute("i=0; while [ $i -lt 5000 ]; do echo 'xäöü😀日本'; i=$((i+1)); done").await?;
        same!(output.stdout().len(), 5000 * "xäöü😀日本\n".len());
        check!(output.stdout() == "xäöü😀日本\n".repeat(5000), "the text is changed");
    }

    fn nothing_is_added_to_or_taken_from_the_end(cx) {
        let sandbox = cx.sandbox().await?;
        for text in ["", "a", "a\n", "a\n\n\n", "\n", " a ", "\ta\t"] {
            same!(sandbox.execute(["printf", "%s", text]).await?.stdout(), text);
        }
    }

    fn line_ends_are_not_translated(cx) {
        same!(cx.sandbox().await?.execute(r"printf 'a\r\nb\rc\n'").await?.stdout(), "a\r\nb\rc\n");
    }

    fn output_that_looks_like_a_protocol_is_just_output(cx) {
        let text = "HTTP/1.1 500 Oops\r\n\r\n{\"error\":1}\n\u{1}\0\0\0\0\0\0\u{5}hello\ndata: x\n\n$ exit 3\n__EXIT_CODE__:7\n";
        let output = cx.sandbox().await?.execute(format!("printf '{}'", octal(text.as_bytes()))).await?;
        same!(output.stdout(), text);
        same!(output.exit_code(), Some(0));
    }

    fn the_order_within_a_stream_is_kept(cx) {
        let output = cx.sandbox().await?.execute("i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done").await?;
        let expected: String = (0..3000).map(|number| format!("{number}\n")).collect();
        check!(output.stdout() == expected, "the numbers are out of order or missing");
    }

    fn one_mebibyte_arrives_whole(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let data = noise(1 << 20, 1);
        sandbox.upload_file("data", data.clone()).await?;
        check!(sandbox.execute("cat data").await?.stdout.bytes() == data, "the bytes are changed");
    }

    fn one_long_line_arrives_whole(cx) {
        let output = cx.sandbox().await?.execute("head -c 1000000 /dev/zero | tr '\\0' y").await?;
        same!(output.stdout.total(), 1_000_000);
        check!(output.stdout.bytes().iter().all(|byte| *byte == b'y'), "the line is changed");
    }

    fn both_streams_flood_at_once_without_a_deadlock(cx) needs [SeparateOutput] {
        let line = "(head -c 2000000 /dev/zero | tr '\\0' e >&2) & head -c 2000000 /dev/zero | tr '\\0' o; wait";
        let output = cx.sandbox().await?.execute(line).timeout(secs(40)).await?;
        same!((output.stdout.total(), output.stderr.total()), (2_000_000, 2_000_000));
        check!(output.stdout.bytes().iter().all(|byte| *byte == b'o'), "stdout is mixed");
        check!(output.stderr.bytes().iter().all(|byte| *byte == b'e'), "stderr is mixed");
    }

    fn more_than_the_limit_keeps_head_and_tail_and_counts(cx) {
        let line = "i=10000; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done";
        let output = cx.sandbox().await?.execute(line).output_limit(ByteSize::bytes(600)).await?;
        let expected: String = (10000..20000).map(|number| format!("{number}\n")).collect();
        same!(output.stdout.head(), &expected.as_bytes()[..300]);
        same!(output.stdout.tail(), &expected.as_bytes()[expected.len() - 300..]);
        same!(output.stdout.dropped(), expected.len() as u64 - 600);
        same!(output.stdout.total(), expected.len() as u64);
        check!(output.truncated(), "does not say that it is truncated");
        same!(output.exit_code(), Some(0));
    }

    fn what_was_dropped_shows_in_the_text(cx) {
        let output = cx.sandbox().await?.execute("head -c 5000 /dev/zero | tr '\\0' a").output_limit(ByteSize::bytes(100)).await?;
        check!(output.stdout().contains("4900 bytes dropped"), "{}", output.stdout());
    }

    fn exactly_the_limit_is_whole(cx) {
        let sandbox = cx.sandbox().await?;
        let exact = sandbox.execute("head -c 4096 /dev/zero").output_limit(ByteSize::bytes(4096)).await?;
        same!((exact.stdout.bytes().len(), exact.stdout.dropped()), (4096, 0));
        let more = sandbox.execute("head -c 4097 /dev/zero").output_limit(ByteSize::bytes(4096)).await?;
        same!((more.stdout.bytes().len(), more.stdout.dropped()), (4096, 1));
    }

    fn the_limit_holds_for_each_stream_alone(cx) needs [SeparateOutput] {
        let line = "head -c 3000 /dev/zero; head -c 100 /dev/zero >&2";
        let output = cx.sandbox().await?.execute(line).output_limit(ByteSize::bytes(1000)).await?;
        same!((output.stdout.dropped(), output.stderr.dropped()), (2000, 0));
    }

    fn a_limit_of_zero_keeps_nothing_and_counts_everything(cx) {
        let output = cx.sandbox().await?.execute("echo hello").output_limit(ByteSize::bytes(0)).await?;
        same!((output.stdout.bytes().len(), output.stdout.dropped()), (0, 6));
    }

    fn output_before_a_violent_end_is_kept(cx) {
        let output = cx.sandbox().await?.execute("echo last words; kill -KILL $$").await?;
        same!(output.stdout(), "last words\n");
        check!(output.failed(), "a killed command succeeded");
    }

    fn output_of_a_child_before_the_end_of_the_command_is_kept(cx) {
        let output = cx.sandbox().await?.execute("(echo from the child) & wait; echo from the parent").await?;
        same!(output.stdout(), "from the child\nfrom the parent\n");
    }

    fn a_hundred_mebibytes_stay_within_ten_with_flat_memory(cx) tags [Heavy] {
        let sandbox = cx.sandbox().await?;
        let mebibyte = "head -c 1048576 /dev/zero | tr '\\0' z";
        let line = format!("echo head; i=0; while [ $i -lt 100 ]; do {mebibyte}; i=$((i+1)); done; echo tail");
        let before = resident();
        let (output, highest) = highest_while(sandbox.execute(line).timeout(secs(200)).into_future()).await;
        let output = output?;
        same!(output.stdout.total(), (100 << 20) + 10);
        same!(output.stdout.bytes().len(), 10 << 20);
        check!(output.stdout.head().starts_with(b"head\nz") && output.stdout.tail().ends_with(b"ztail\n"), "head or tail is lost");
        if let Some(before) = before {
            // Other cases run beside this one and hold some memory too, but not as much as the whole output.
            check!(highest < before + (90 << 20), "memory grew from {before} to {highest} bytes");
        }
    }

    fn merging_is_declared_or_does_not_happen(cx) {
        let sandbox = cx.sandbox().await?;
        let output = sandbox.execute("echo e >&2").await?;
        let apart = output.stderr() == "e\n" && output.stdout().is_empty();
        same!(apart, sandbox.capabilities().supports(Capability::SeparateOutput), "what happens against what is declared");
        sh(&sandbox, "true").await?;
    }
}
