//! Ends a sandbox when its lifetime is over, as long as this program lives; `gc` does afterwards.

use std::sync::Weak;
use std::time::SystemTime;

use tokio::sync::watch;

use crate::sandbox::LocalSandbox;

/// When it ends, if it does. The task ends with the sandbox, which alone holds the sender.
pub(crate) type Until = watch::Sender<Option<SystemTime>>;

/// Waits for the end of the sandbox that `until` belongs to.
pub(crate) async fn keep(sandbox: Weak<LocalSandbox>, mut until: watch::Receiver<Option<SystemTime>>) {
    loop {
        let at = *until.borrow_and_update();
        let over = async {
            match at {
                Some(at) => {
                    tokio::time::sleep(at.duration_since(SystemTime::now()).unwrap_or_default()).await
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = until.changed() => if changed.is_err() { return },
            () = over => {
                let Some(sandbox) = sandbox.upgrade() else { return };
                let next = sandbox.end_if_over().await.unwrap_or_else(|error| {
                    tracing::warn!(%error, sandbox = %sandbox.id, "a sandbox could not be ended when its lifetime was over");
                    None
                });
                sandbox.end_at(next);
            }
        }
    }
}
