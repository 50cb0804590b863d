#![doc = include_str!("../README.md")]

pub use grainchain_core::*;

/// The provider `local`, for programs that set it up themselves.
#[cfg(feature = "local")]
pub mod local {
    pub use grainchain_local::*;
}

/// The provider `docker`, for programs that set it up themselves.
#[cfg(feature = "docker")]
pub mod docker {
    pub use grainchain_docker::*;
}

/// Every provider there is, by the feature that enables it.
const KNOWN: &[&str] = &["docker", "local"];

/// The table of the providers that this program was built with.
pub fn registry() -> Registry {
    let enabled = [
        #[cfg(feature = "local")]
        grainchain_local::ENTRY,
        #[cfg(feature = "docker")]
        grainchain_docker::ENTRY,
    ];
    Registry::new(enabled, KNOWN.iter().copied())
}

/// A client of the configured provider: `grainchain.toml`, then the environment, else `local`, which
/// [`Settings::chosen_by`] says. See [`Settings::load`] for where the file is looked for.
///
/// # Errors
///
/// `Config` naming file, line and key. A misconfigured provider fails; nothing falls back to another one.
pub fn client() -> Result<Client> {
    registry().client(&Settings::load()?)
}

/// A client of the provider `name`, or of the one that a URI such as `docker://python:3.12-slim?memory=2GiB` describes, with the
/// rest of the configuration as for [`client()`].
///
/// # Errors
///
/// As for [`client()`].
pub fn client_of(name: &str) -> Result<Client> {
    registry().client_of(name, &Settings::load()?)
}
