//! Which version of its interface an engine and we speak.

use std::fmt;

use grainchain_core::{Error, ErrorKind, Result};
use http::HeaderMap;

/// A version of the engine's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion {
    major: u16,
    minor: u16,
}

/// What engines 20.10 speak: older ones lack what we need.
pub(crate) const OLDEST: ApiVersion = ApiVersion { major: 1, minor: 41 };

/// The newest that we know the answers of.
pub(crate) const NEWEST: ApiVersion = ApiVersion { major: 1, minor: 53 };

/// What the greeting told.
#[derive(Clone, Debug)]
pub(crate) struct Negotiated {
    /// Stands in front of every path.
    pub(crate) version: ApiVersion,
    /// Whether the engine is Podman, whose words and details differ.
    pub(crate) is_podman: bool,
    /// Whether it builds images with BuildKit.
    pub(crate) has_buildkit: bool,
}

impl ApiVersion {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The newest version that both sides know, from the headers of the greeting.
///
/// # Errors
///
/// `Unsupported` for engines before 20.10, `Server` for what does not answer as an engine.
pub(crate) fn negotiate(headers: &HeaderMap) -> Result<Negotiated> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(theirs) = header("Api-Version").and_then(ApiVersion::parse) else {
        return Err(Error::new(ErrorKind::Server, "what answers there is no container engine")
            .hint("check `host` in [providers.docker] and DOCKER_HOST"));
    };
    if theirs < OLDEST {
        return Err(Error::unsupported(
            format_args!("an engine whose interface is {theirs}; the oldest that works is {OLDEST}"),
            "upgrade the engine to 20.10 or newer",
        ));
    }
    let is_podman = headers.contains_key("Libpod-Api-Version");
    let has_buildkit = !is_podman && header("Builder-Version").is_none_or(|version| version == "2");
    Ok(Negotiated { version: theirs.min(NEWEST), is_podman, has_buildkit })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greet(headers: &[(&'static str, &'static str)]) -> Result<Negotiated> {
        let headers = headers.iter().map(|(name, value)| {
            (http::HeaderName::try_from(*name).unwrap(), http::HeaderValue::from_static(value))
        });
        negotiate(&headers.collect())
    }

    #[test]
    fn the_newest_version_that_both_know_is_spoken() {
        for (theirs, spoken) in [("1.41", "1.41"), ("1.50", "1.50"), ("1.99", "1.53"), ("2.0", "1.53")] {
            assert_eq!(greet(&[("api-version", theirs)]).unwrap().version.to_string(), spoken);
        }
    }

    #[test]
    fn an_engine_that_is_too_old_is_refused_with_what_to_do() {
        let error = greet(&[("api-version", "1.40")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("1.40") && error.to_string().contains("20.10"), "{error}");
    }

    #[test]
    fn what_is_no_engine_is_not_taken_for_one() {
        assert_eq!(greet(&[("server", "nginx")]).unwrap_err().kind(), ErrorKind::Server);
    }

    #[test]
    fn podman_is_known_by_its_own_header_and_has_no_buildkit() {
        let podman =
            greet(&[("api-version", "1.41"), ("libpod-api-version", "4.3.1"), ("builder-version", "")])
                .unwrap();
        assert!(podman.is_podman && !podman.has_buildkit);
        assert!(greet(&[("api-version", "1.41")]).unwrap().has_buildkit);
    }
}
