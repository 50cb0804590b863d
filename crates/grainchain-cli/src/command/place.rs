//! `ID:path`: a place in a sandbox.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A path in a sandbox, written `ID:path`; without a path, the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) path: String,
}

impl Place {
    /// The path to ask about: the working directory when none was written.
    pub(crate) fn path_or_here(&self) -> &str {
        if self.path.is_empty() { "." } else { &self.path }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, path) = text.split_once(':').unwrap_or((text, ""));
        if id.is_empty() || id.contains('/') {
            return Err("write ID:path, as in sb_abc:notes/today.txt".to_owned());
        }
        Ok(Self { id: id.to_owned(), path: path.to_owned() })
    }
}

/// One side of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Our stdin or stdout.
    Stream,
    /// A path of this machine.
    Host(PathBuf),
    /// A path in a sandbox.
    Sandbox(Place),
}

impl FromStr for Side {
    type Err = String;

    /// What has a colon before any slash is in a sandbox: `./a:b` is a file of this machine.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the path is empty".to_owned());
        }
        if text == "-" {
            return Ok(Self::Stream);
        }
        match text.split_once(':') {
            Some((id, _)) if !id.is_empty() && !id.contains('/') => Ok(Self::Sandbox(text.parse()?)),
            _ => Ok(Self::Host(PathBuf::from(text))),
        }
    }
}

impl TryFrom<OsString> for Side {
    type Error = String;

    fn try_from(text: OsString) -> Result<Self, String> {
        match text.into_string() {
            Ok(text) => text.parse(),
            // Paths in sandboxes are text; those of this machine may be anything.
            Err(bytes) => Ok(Self::Host(PathBuf::from(bytes))),
        }
    }
}

/// The last name of a path that names something: none for ``, `/`, `.`, `..` and what ends in them.
pub(crate) fn last_name(path: &str) -> Option<&str> {
    let name = path.trim_end_matches('/').rsplit('/').next()?;
    (!matches!(name, "" | "." | "..")).then_some(name)
}

/// As [`last_name`], for a path of this machine.
pub(crate) fn last_host_name(path: &Path) -> Option<&str> {
    // `Path` drops a final dot, which means "what is in it" here.
    last_name(path.to_str()?)
}

/// `name` below `directory`.
pub(crate) fn below(directory: &str, name: &str) -> String {
    match directory {
        "" => name.to_owned(),
        directory => format!("{}/{name}", directory.trim_end_matches('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_before_any_slash_means_a_sandbox() {
        let sandbox = |id: &str, path: &str| Side::Sandbox(Place { id: id.into(), path: path.into() });
        assert_eq!("sb_1:/a:b".parse(), Ok(sandbox("sb_1", "/a:b")));
        assert_eq!("sb_1:".parse(), Ok(sandbox("sb_1", "")));
        assert_eq!("./a:b".parse(), Ok(Side::Host("./a:b".into())));
        assert_eq!(":b".parse(), Ok(Side::Host(":b".into())));
        assert_eq!("-".parse(), Ok(Side::Stream));
        assert!("".parse::<Side>().is_err());
    }

    #[test]
    fn a_path_that_ends_in_dots_has_no_last_name() {
        for path in ["", "/", ".", "..", "a/..", "a/.", "a/../"] {
            assert_eq!(last_name(path), None, "{path}");
        }
        assert_eq!(last_name("/a/b/"), Some("b"));
        assert_eq!(last_host_name(Path::new("a/.")), None);
    }

    #[test]
    fn below_the_root_is_one_slash() {
        assert_eq!(
            (below("/", "a"), below("", "a"), below("x/", "a")),
            ("/a".into(), "a".into(), "x/a".into())
        );
    }
}
