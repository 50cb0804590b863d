//! What several families need.

use std::time::Duration;

use grainchain_core::{Error, Output, Sandbox};

use crate::check::Outcome;
use crate::poll::until;

/// Whole seconds, readable in the middle of a call.
pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// `octets` for the format of `printf` in any shell.
pub(super) fn octal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("\\{octet:03o}")).collect()
}

/// Bytes without a pattern that a faulty copy could repeat: a linear congruential generator.
pub(super) fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut bytes = Vec::with_capacity(length);
    for _ in 0..length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.push((state >> 24) as u8);
    }
    bytes
}

/// Runs `line`, which must succeed.
pub(super) async fn sh(sandbox: &Sandbox, line: &str) -> Outcome<String> {
    let output = sandbox.execute(line).timeout(secs(30)).await?;
    check!(output.success(), "`{line}` ended with {:?}: {}", output.status, output.stderr());
    Ok(output.stdout().into_owned())
}

/// Waits until the file of process numbers holds `count` of them, and reads them.
pub(super) async fn pids(sandbox: &Sandbox, file: &str, count: usize) -> Outcome<Vec<u32>> {
    let line = format!("cat {file} 2>/dev/null || :");
    until(&format!("{count} processes are started"), async || {
        Ok(sh(sandbox, &line).await?.split_whitespace().count() >= count)
    })
    .await?;
    numbers(&sh(sandbox, &line).await?)
}

/// The numbers in `text`.
pub(super) fn numbers(text: &str) -> Outcome<Vec<u32>> {
    text.split_whitespace()
        .map(|word| word.parse().map_err(|_| format!("`{word}` is no number").into()))
        .collect()
}

/// Those of `pids` that still run or were not reaped.
pub(super) async fn alive(sandbox: &Sandbox, pids: &[u32]) -> Outcome<Vec<u32>> {
    let all = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    numbers(&sh(sandbox, &format!("for p in {all}; do kill -0 $p 2>/dev/null && echo $p; done; :")).await?)
}

/// Waits until none of `pids` is left, not even as a zombie.
pub(super) async fn gone(sandbox: &Sandbox, pids: &[u32]) -> Outcome {
    check!(!pids.is_empty(), "the case started nothing that could be gone");
    until(&format!("the processes {pids:?} are gone"), async || Ok(alive(sandbox, pids).await?.is_empty())).await
}

/// The output that came with an error.
pub(super) fn partial(error: &Error) -> Outcome<&Output> {
    error.partial_output().ok_or_else(|| format!("the error carries no output: {error}").into())
}
