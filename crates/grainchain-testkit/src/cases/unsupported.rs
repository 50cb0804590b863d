//! What is not declared answers `Unsupported` and names an alternative.

use grainchain_core::{Capability, CreateSnapshot, CreateContext, Error, ErrorKind, ReadFile};

use crate::case::cases;
use crate::check::{Outcome, fails};

/// Holds the refusal of `capability` to what is promised.
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, capability: Capability) -> Outcome {
    let error = fails(result, &[ErrorKind::Unsupported])?;
    check!(error.to_string().contains(capability.as_str()), "does not name `{capability}`: {error}");
    same!(error.what_happened(), grainchain_core::Effect::None);
    Ok(())
}

cases! { unsupported:
    fn processes(cx) lacks [Processes] {
        let sandbox = cx.sandbox().await?;
        refused(sandbox.spawn("true").await, Capability::Processes)?;
        refused(sandbox.list_processes().await, Capability::Processes)?;
    }
    fn attach(cx) lacks [Attach] { fails(cx.sandbox().await?.attach(&"x".into()).await, &[ErrorKind::Unsupported])?; }
    fn files(cx) lacks [Files] {
        let sandbox = cx.sandbox().await?;
        refused(sandbox.download_file(ReadFile::new("f")).await, Capability::Files)?;
        refused(sandbox.upload_file("f", "x").await, Capability::Files)?;
        refused(sandbox.stat("f").await, Capability::Files)?;
        refused(sandbox.list_files(".").await, Capability::Files)?;
        refused(sandbox.make_dir("d").await, Capability::Files)?;
        refused(sandbox.remove("d").await, Capability::Files)?;
        refused(sandbox.rename(grainchain_core::Rename::new("a", "b")).await, Capability::Files)?;
    }
    fn archive(cx) lacks [Archive] {
        let sandbox = cx.sandbox().await?;
        let host = tempfile::tempdir()?;
        refused(sandbox.upload_dir(host.path(), "x").await, Capability::Archive)?;
        refused(sandbox.download_dir("x", host.path()).await, Capability::Archive)?;
    }
    fn watch(cx) lacks [Watch] { refused(cx.sandbox().await?.watch(".").await.map(|_| "a stream"), Capability::Watch)?; }
    fn code(cx) lacks [Code] {
        let sandbox = cx.sandbox().await?;
        refused(sandbox.run_code("1").await, Capability::Code)?;
        refused(sandbox.create_context(CreateContext::default()).await, Capability::Code)?;
        refused(sandbox.list_contexts().await, Capability::Code)?;
    }
    fn snapshots(cx) lacks [Snapshots] {
        let sandbox = cx.sandbox().await?;
        refused(sandbox.create_snapshot(CreateSnapshot::filesystem()).await, Capability::Snapshots)?;
        refused(sandbox.restore_snapshot(&"x".into()).await, Capability::Snapshots)?;
        refused(sandbox.list_snapshots().await, Capability::Snapshots)?;
        refused(sandbox.delete_snapshot(&"x".into()).await, Capability::Snapshots)?;
    }
    fn pause(cx) lacks [Pause] {
        let sandbox = cx.sandbox().await?;
        refused(sandbox.pause().await, Capability::Pause)?;
        refused(sandbox.resume().await, Capability::Pause)?;
    }
    fn terminate(cx) lacks [Terminate] {
        let sandbox = cx.sandbox().await?;
        refused(sandbox.terminate().await, Capability::Terminate)?;
        refused(sandbox.wake_up().await, Capability::Terminate)?;
    }
    fn fork(cx) lacks [Fork] { refused(cx.sandbox().await?.fork(2).await, Capability::Fork)?; }
    fn ports(cx) lacks [Ports] {
        let sandbox = cx.sandbox().await?;
        refused(sandbox.preview_url(80).await, Capability::Ports)?;
        refused(sandbox.close_port(80).await, Capability::Ports)?;
    }
    fn metrics(cx) lacks [Metrics] { refused(cx.sandbox().await?.metrics().await, Capability::Metrics)?; }
    fn set_lifetime(cx) lacks [SetLifetime] {
        refused(cx.sandbox().await?.set_lifetime(std::time::Duration::from_secs(60)).await, Capability::SetLifetime)?;
    }
    fn templates(cx) lacks [Templates] {
        let Err(error) = cx.client().templates() else { return Err("there are templates".into()) };
        same!((error.kind(), error.remedy().is_some()), (ErrorKind::Unsupported, true));
    }
    fn snapshot_catalog(cx) lacks [SnapshotCatalog] {
        let Err(error) = cx.client().snapshot_catalog() else { return Err("there is a catalog".into()) };
        same!((error.kind(), error.remedy().is_some()), (ErrorKind::Unsupported, true));
    }
    fn volumes(cx) lacks [Volumes] {
        let Err(error) = cx.client().volumes() else { return Err("there are volumes".into()) };
        same!((error.kind(), error.remedy().is_some()), (ErrorKind::Unsupported, true));
    }
}
