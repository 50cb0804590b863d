//! The small traits that a provider fills in. Comfort stands on [`Sandbox`](crate::Sandbox), never here.
//!
//! Every method takes one value with all options and answers with [`Error`](crate::Error); providers need not name themselves, the
//! operation or the sandbox in it, which is added once above them. None has a default body: a wrapper cannot forget one.

mod archive;
mod code;
mod exec;
mod files;
mod fork;
mod lifecycle;
mod metrics;
mod ports;
mod power;
mod processes;
mod snapshot_catalog;
mod snapshots;
mod templates;
mod volumes;
mod watch;

pub use archive::Archive;
pub use code::Code;
pub use exec::Exec;
pub use files::Files;
pub use fork::Fork;
pub use lifecycle::Lifecycle;
pub use metrics::Metrics;
pub use ports::Ports;
pub use power::Power;
pub use processes::Processes;
pub use snapshot_catalog::SnapshotCatalog;
pub use snapshots::Snapshots;
pub use templates::Templates;
pub use volumes::Volumes;
pub use watch::Watch;
