#![doc = include_str!("../README.md")]

pub mod blocking;
pub mod capabilities;
pub mod client;

pub mod config;
pub mod deadline;
pub mod error;
pub mod facet;
pub mod layer;
pub mod operation;
pub mod provider;
pub mod registry;
pub mod sandbox;

pub mod tree;
pub mod types;

pub use capabilities::{Capabilities, Capability, Details};

pub use client::{Client, GcAction, GcEntry, GcOptions, GcReport};
pub use config::{ProviderSettings, ProviderUri, Settings};
pub use deadline::Deadlines;
pub use error::{Effect, Error, ErrorKind, Result};
pub use operation::Operation;
pub use provider::{CreateRequest, DryRun, Health, Parts, Provider, ProviderInfo, Removal, RemoveIf};

pub use registry::{Entry, Registry, UriTarget};
pub use sandbox::Sandbox;
pub use types::capture::Collector;
pub use types::code::{
    CodeError, CodeEvent, CodeResult, CodeStream, ContextInfo, CreateContext, Language, MimeBundle, RunCode,
};
pub use types::command::{Command, Program, PtySize, RESERVED_VARIABLE, Stdin};
pub use types::content::{ByteStream, Content};
pub use types::file::{
    FileInfo, FileKind, ListFiles, MakeDir, Pack, ReadFile, Remove, Rename, Stat, Unpack, UnpackSummary,
    WriteFile,
};
pub use types::id::{ContextId, ProcessId, SandboxId, SnapshotId, TemplateId, VolumeId};
pub use types::info::{Lease, ListFilter, SandboxInfo, SandboxStatus};
pub use types::metrics::MetricsSample;
pub use types::output::{Capture, ExitStatus, Output};
pub use types::port::{PortProtocol, PreviewUrl};
pub use types::process::{OutputStream, Process, ProcessEvent, ProcessEvents, ProcessInfo, ProcessState};
pub use types::sandbox_config::{ConfigOption, NetworkPolicy, SandboxConfig};
pub use types::secret::Secret;
pub use types::signal::Signal;
pub use types::size::ByteSize;
pub use types::snapshot::{CreateSnapshot, SnapshotInfo, SnapshotKind};
pub use types::template::{BuildTemplate, TemplateInfo};
pub use types::volume::{CreateVolume, VolumeInfo};
pub use types::watch::{WatchEvent, WatchKind, WatchPath, WatchStream};
