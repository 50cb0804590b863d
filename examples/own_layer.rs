//! A layer of one's own: counts the operations of a client.
//!
//! `cargo run --example own_layer`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use grainchain::layer::{Around, Attempt, Call};
use grainchain::{Error, Operation, Result, SandboxConfig};

/// Counts what goes through it. A type that implements `Around` is a layer by that.
#[derive(Clone, Debug, Default)]
struct Count {
    seen: Arc<Mutex<BTreeMap<Operation, u32>>>,
}

impl Around for Count {
    const REPEATS: bool = false;

    async fn around<'a, T: Send + 'a>(&'a self, call: Call<'a>, mut attempt: Attempt<'a, T>) -> Result<T> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner).entry(call.operation).or_default() += 1;
        match attempt() {
            Some(answer) => answer.await,
            None => Err(Error::unexpected("the call was already made")),
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let count = Count::default();
    let client = grainchain::client()?.layer(count.clone());
    client
        .scope(SandboxConfig::default(), async |sandbox| {
            for name in ["a", "b", "c"] {
                sandbox.upload_file(name, name).await?;
            }
            let output = sandbox.execute("cat a b c").await?;
            println!("{}", output.stdout());
            Ok::<_, Error>(())
        })
        .await?;
    for (operation, times) in count.seen.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("{operation}: {times}");
    }
    Ok(())
}
