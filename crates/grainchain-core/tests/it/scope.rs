//! A scope closes its sandbox whatever happens.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use grainchain_core::{Client, Error, SandboxConfig};
use tokio::runtime::Runtime;

use crate::fake::{Create, Fake};

#[test]
fn a_scope_dropped_outside_of_the_runtime_closes_its_sandbox() {
    let (runtime, fake) = (Runtime::new().unwrap(), Fake::default());
    let client = Client::new(fake.clone());
    let (entered, inside) = tokio::sync::oneshot::channel();
    let mut scope = Box::pin(client.scope(SandboxConfig::default(), async |_| {
        entered.send(()).ok();
        std::future::pending::<Result<(), Error>>().await
    }));
    runtime.block_on(async {
        tokio::select! {
            _ = &mut scope => unreachable!(),
            _ = inside => {}
        }
    });
    drop(scope);
    let closed = async {
        while fake.closed.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), closed).await }).unwrap();
}

#[tokio::test]
async fn a_panic_of_the_provider_goes_on_to_the_caller_and_causes_no_second() {
    let panics = Arc::new(AtomicUsize::new(0));
    let before = std::panic::take_hook();
    let counter = Arc::clone(&panics);
    std::panic::set_hook(Box::new(move |panic| {
        if panic.to_string().contains("JoinHandle") {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        before(panic);
    }));
    let client = Client::new(Fake { create: Create::Panics, ..Fake::default() });
    let scope = client.scope(SandboxConfig::default(), async |_| Ok::<(), Error>(()));
    let panic = AssertUnwindSafe(scope).catch_unwind().await.unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"the provider has a fault"));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(panics.load(Ordering::SeqCst), 0);
}
