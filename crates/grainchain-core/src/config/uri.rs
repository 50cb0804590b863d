//! A provider in one line: `docker://python:3.12-slim?memory=2GiB`.

use std::fmt;
use std::str::FromStr;

use super::defaults::full_name;
use crate::error::{Error, Result};
use crate::types::secret::Names;

/// A provider, what it starts from, and options, written as `provider://target?option=value&…`.
///
/// Target and values may be percent-encoded. Options that every provider knows (`memory`, `cpu`, `timeout`, `lifetime`, `workdir`,
/// `network` …) set up its sandboxes, the others the provider.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProviderUri {
    /// The provider's name.
    pub provider: String,
    /// What stands between `://` and `?`: an image, a template or a folder.
    pub target: Option<String>,
    /// The options, in order.
    pub query: Vec<(String, String)>,
}

impl fmt::Debug for ProviderUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderUri")
            .field("provider", &self.provider)
            .field("target", &self.target)
            .field("query", &Names(self.query.iter().map(|(key, _)| key)))
            .finish()
    }
}

/// What may be shown of a URI: the values of its options may be keys and tokens.
pub(super) fn without_options(text: &str) -> &str {
    text.split_once('?').map_or(text, |(before, _)| before)
}

impl FromStr for ProviderUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |reason: &str| {
            Error::config(format!("`{}` is not a provider URI: {reason}", without_options(text)))
                .hint("write provider://target?option=value, as in docker://python:3.12-slim?memory=2GiB")
        };
        let (provider, rest) = text.split_once("://").ok_or_else(|| wrong("`://` is missing"))?;
        if provider.is_empty()
            || !provider.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        {
            return Err(wrong("a provider's name has lower-case letters, digits and hyphens"));
        }
        let (target, query) = rest.split_once('?').unwrap_or((rest, ""));
        let target = decode(target).ok_or_else(|| wrong("the target's percent-encoding is broken"))?;
        let mut options: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| wrong(&format!("the option `{pair}` has no value")))?;
            let broken = || wrong(&format!("the percent-encoding of the option `{key}` is broken"));
            let key = decode(key).ok_or_else(broken)?;
            let value = decode(value).ok_or_else(broken)?;
            if options.iter().any(|(known, _)| full_name(known) == full_name(&key)) {
                return Err(wrong(&format!("the option `{key}` is given twice")));
            }
            options.push((key, value));
        }
        Ok(Self {
            provider: provider.to_owned(),
            target: (!target.is_empty()).then_some(target),
            query: options,
        })
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_tags_ports_and_digests_stay_whole() {
        let uri: ProviderUri =
            "docker://registry:5000/team/py@sha256:ab?memory=2GiB&network=off".parse().unwrap();
        assert_eq!(uri.target.as_deref(), Some("registry:5000/team/py@sha256:ab"));
        assert_eq!(uri.query, [("memory".into(), "2GiB".into()), ("network".into(), "off".into())]);
    }

    #[test]
    fn nothing_behind_the_scheme_is_no_target() {
        let uri: ProviderUri = "local://".parse().unwrap();
        assert_eq!((uri.target, uri.query.len()), (None, 0));
    }

    #[test]
    fn faults_are_named() {
        for text in [
            "docker",
            "Docker://x",
            "://x",
            "docker://x?memory",
            "docker://x?a=%zz",
            "d://x?a=1&a=2",
            "d://x?memory=1GiB&memory_limit=2GiB",
            "d://%f",
        ] {
            let error = text.parse::<ProviderUri>().unwrap_err();
            assert!(error.to_string().contains(without_options(text)), "{error}");
        }
    }

    #[test]
    fn the_values_of_options_are_never_shown() {
        let uri: ProviderUri = "e2b://t?api_key=hunter2".parse().unwrap();
        assert!(!format!("{uri:?}").contains("hunter2"), "{uri:?}");
        for text in ["E2b://t?api_key=hunter2", "e2b://t?api_key=hunter2%zz", "e2b://t?a=hunter2&a=hunter2"] {
            let error = text.parse::<ProviderUri>().unwrap_err();
            assert!(!format!("{error:#}").contains("hunter2"), "{error:#}");
        }
    }
}
