//! Ways in.

use serde::Serialize;

use crate::types::secret::Secret;

/// What is spoken behind a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PortProtocol {
    /// HTTP, and whatever upgrades from it.
    #[default]
    Http,
    /// HTTP over TLS.
    Https,
}

/// Where a port of the sandbox can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PreviewUrl {
    /// The address, without credentials in it.
    pub url: String,
    /// The port in the sandbox.
    pub port: u16,
    /// What is spoken there.
    pub protocol: PortProtocol,
    /// What must be sent along, if anything: the header's name and value.
    pub header: Option<(String, Secret)>,
}

impl PreviewUrl {
    /// An open address of `port`.
    pub fn new(url: impl Into<String>, port: u16) -> Self {
        Self { url: url.into(), port, protocol: PortProtocol::Http, header: None }
    }
}
