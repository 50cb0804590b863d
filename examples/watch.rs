//! Watches a directory of a sandbox while a command works in it.
//!
//! `cargo run --example watch`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use futures_util::StreamExt;
use grainchain::{Error, Result, SandboxConfig};

#[tokio::main]
async fn main() -> Result<()> {
    let client = grainchain::client()?;
    client
        .scope(SandboxConfig::default(), async |sandbox| {
            let mut changes = sandbox.watch(".").await?;
            sandbox
                .execute("mkdir -p out && echo 1 > out/part && mv out/part out/whole && touch finished")
                .await?;
            while let Some(change) = changes.next().await {
                let change = change?;
                println!("{:<12} {:?}", change.path, change.kind);
                if change.path == "finished" {
                    break;
                }
            }
            Ok::<_, Error>(())
        })
        .await
}
