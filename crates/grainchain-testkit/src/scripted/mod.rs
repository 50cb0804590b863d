//! A provider in memory whose every answer is scripted, for tests of layers and of whatever stands above a provider.
//!
//! ```
//! use std::time::Duration;
//!
//! use grainchain_core::{Client, Error, ErrorKind, Operation, SandboxConfig};
//! use grainchain_testkit::scripted::{Script, Step};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> grainchain_core::Result<()> {
//! let script = Script::default();
//! script.on(Operation::Execute, Step::fail(|| Error::new(ErrorKind::Connection, "reset")));
//! let sandbox = Client::new(script.provider()).create(SandboxConfig::default()).await?;
//! assert!(sandbox.execute("true").await.is_err());
//! assert!(sandbox.execute("true").await?.success());
//! assert_eq!(script.count(Operation::Execute), 2);
//! # Ok(()) }
//! ```

mod provider;
mod script;

pub use provider::Scripted;
pub use script::{Script, Step};
