//! How an interpreter is started with its driver: the program's names, its arguments and its environment.

/// The channel's descriptors as a driver finds them. Drivers move them out of the way as far as their language can.
pub(crate) const REQUEST_FD: u8 = 3;
/// See [`REQUEST_FD`].
pub(crate) const RESPONSE_FD: u8 = 4;

/// A language that has a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Language {
    Python,
    JavaScript,
    Bash,
}

impl Language {
    /// The language's name as users write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::Bash => "bash",
        }
    }

    /// The programs to look for on the sandbox's `PATH`, best first.
    pub(crate) const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["python3", "python"],
            Self::JavaScript => &["node", "nodejs"],
            Self::Bash => &["bash"],
        }
    }

    /// The driver's source.
    pub(crate) const fn driver(self) -> &'static str {
        match self {
            Self::Python => include_str!("drivers/python.py"),
            Self::JavaScript => include_str!("drivers/javascript.js"),
            Self::Bash => include_str!("drivers/bash.sh"),
        }
    }

    /// The arguments after the program, for a driver that must not send frames above `frame_cap` bytes.
    pub(crate) fn arguments(self, frame_cap: usize) -> Vec<String> {
        let options: &[&str] = match self {
            Self::Python => &["-X", "utf8", "-c"],
            Self::JavaScript => &["-e"],
            Self::Bash => &["--norc", "--noprofile", "-c"],
        };
        let separator: &[&str] = match self {
            Self::Python => &[],
            Self::JavaScript => &["--"],
            Self::Bash => &["bash"],
        };
        let mut arguments: Vec<String> = options.iter().map(ToString::to_string).collect();
        arguments.push(self.driver().to_owned());
        arguments.extend(separator.iter().map(ToString::to_string));
        arguments.extend([REQUEST_FD.to_string(), RESPONSE_FD.to_string(), frame_cap.to_string()]);
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_is_far_below_what_linux_takes_as_one_argument() {
        for language in [Language::Python, Language::JavaScript, Language::Bash] {
            assert!(language.driver().len() < 64 * 1024, "{} is too long", language.name());
        }
    }
}
