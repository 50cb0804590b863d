//! What is put around every provider alike: tracing, retries, limits, correctness.
//!
//! A [`Layer`] wraps the facets it cares about. Most only do something before and after every call; they implement [`Around`] and
//! are layers by that. A [`Client`](crate::Client) keeps the bare provider and the ordered layers and derives the rest by folding:
//! later layers are outer. A usual stack, inside out: correctness, limits, retry, trace.

mod around;
mod concurrency_limit;
mod correctness;
mod rate_limit;
mod retry;
mod trace;

use std::fmt::Debug;
use std::sync::Arc;

pub(crate) use around::once;
pub use around::{Around, Attempt, Call};
pub use concurrency_limit::ConcurrencyLimit;
pub use correctness::Correctness;
pub use rate_limit::RateLimit;
pub use retry::Retry;
pub use trace::Trace;

use crate::capabilities::Capabilities;
use crate::facet::{
    Archive, Code, Exec, Files, Fork, Lifecycle, Metrics, Ports, Power, Processes, SnapshotCatalog,
    Snapshots, Templates, Volumes, Watch,
};
use crate::provider::{Parts, Provider};
use crate::types::id::SandboxId;

/// Where a wrapped facet belongs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scope {
    /// The provider's name.
    pub provider: &'static str,
    /// The sandbox, for facets of one.
    pub sandbox: Option<SandboxId>,
    /// What the sandbox can do before this layer, for facets of one.
    pub capabilities: Arc<Capabilities>,
}

macro_rules! layer {
    ($($field:ident: $facet:ident,)+) => {
        /// Something around a provider and its sandboxes. Each hook passes through what the layer does not care about: the one
        /// place where that is the right default.
        pub trait Layer: Debug + Send + Sync + 'static {
            /// Wraps the provider.
            fn provider(&self, inner: Arc<dyn Provider>) -> Arc<dyn Provider> {
                inner
            }

            $(
                /// Wraps this facet.
                fn $field(&self, scope: &Scope, inner: Arc<dyn $facet>) -> Arc<dyn $facet> {
                    let _ = scope;
                    inner
                }
            )+
        }
    };
}

layer! {
    lifecycle: Lifecycle,
    exec: Exec,
    processes: Processes,
    files: Files,
    archive: Archive,
    watch: Watch,
    code: Code,
    snapshots: Snapshots,
    power: Power,
    fork: Fork,
    ports: Ports,
    metrics: Metrics,
    templates: Templates,
    snapshot_catalog: SnapshotCatalog,
    volumes: Volumes,
}

/// Puts `layers` around the facets of one sandbox, the first innermost.
pub fn fold(provider: &'static str, layers: &[Arc<dyn Layer>], parts: Parts) -> Parts {
    layers.iter().fold(parts, |parts, layer| {
        let scope = Scope {
            provider,
            sandbox: Some(parts.id.clone()),
            capabilities: Arc::new(Capabilities::of(&parts)),
        };
        Parts {
            lifecycle: layer.lifecycle(&scope, parts.lifecycle),
            exec: layer.exec(&scope, parts.exec),
            processes: parts.processes.map(|inner| layer.processes(&scope, inner)),
            files: parts.files.map(|inner| layer.files(&scope, inner)),
            archive: parts.archive.map(|inner| layer.archive(&scope, inner)),
            watch: parts.watch.map(|inner| layer.watch(&scope, inner)),
            code: parts.code.map(|inner| layer.code(&scope, inner)),
            snapshots: parts.snapshots.map(|inner| layer.snapshots(&scope, inner)),
            power: parts.power.map(|inner| layer.power(&scope, inner)),
            fork: parts.fork.map(|inner| layer.fork(&scope, inner)),
            ports: parts.ports.map(|inner| layer.ports(&scope, inner)),
            metrics: parts.metrics.map(|inner| layer.metrics(&scope, inner)),
            id: parts.id,
            details: parts.details,
        }
    })
}
