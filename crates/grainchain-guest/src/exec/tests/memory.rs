//! Measured in a process of its own: the other tests of this one use memory, too.

use std::process::Stdio;

use grainchain_core::facet::Processes;
use grainchain_core::{ByteSize, Command, ProcessEvent};

use crate::testing::{TestGuest, eventually, within};

const ALONE: &str = "GRAINCHAIN_TEST_ALONE";

/// Runs the test of this name again, alone. True in that run.
fn alone(name: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", &format!("exec::tests::memory::{name}")]).env(ALONE, "1").stdin(Stdio::null());
    let output = again.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

/// The most memory that this process ever had.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn a_flood_that_is_captured_takes_little_more_than_its_limit() {
    if !alone("a_flood_that_is_captured_takes_little_more_than_its_limit") {
        return;
    }
    let guest = TestGuest::new();
    guest.run("true").await;
    let before = peak();
    let line = "head -c 100M /dev/zero & head -c 100M /dev/zero >&2; wait";
    let output = guest.run(Command::shell(line).output_limit(ByteSize::mib(10))).await;
    assert_eq!((output.stdout.total(), output.stderr.total()), (100 << 20, 100 << 20));
    // Two streams of 10 MiB, and vectors that may have grown by doubling.
    assert!(peak() - before < 64 << 20, "{} MiB", (peak() - before) >> 20);
}

#[tokio::test]
async fn a_flood_that_is_streamed_or_ignored_takes_almost_nothing() {
    if !alone("a_flood_that_is_streamed_or_ignored_takes_almost_nothing") {
        return;
    }
    let guest = TestGuest::new();
    guest.run("true").await;
    let before = peak();
    let mut process = guest.spawn(Command::shell("head -c 300M /dev/zero")).await.unwrap();
    let mut total = 0;
    while let Some(event) = within(process.next()).await.unwrap() {
        if let ProcessEvent::Stdout(bytes) = event {
            total += bytes.len();
        }
    }
    assert_eq!(total, 300 << 20);
    drop(guest.spawn(Command::shell("head -c 300M /dev/zero; touch done")).await.unwrap());
    eventually("it was not held", || guest.exists("done")).await;
    // Single bytes, in turn from both streams: an entry each.
    let line =
        "i=0; while [ $i -lt 30000 ]; do echo -n a; echo -n b >&2; i=$((i+1)); done; touch bytes; sleep 1000";
    let _held = guest.spawn(Command::shell(line)).await.unwrap();
    eventually("all bytes are written", || guest.exists("bytes")).await;
    assert!(peak() - before < 16 << 20, "{} MiB", (peak() - before) >> 20);
}
