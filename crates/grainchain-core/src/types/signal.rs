//! Signals by number, with their usual names.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::error::Error;

/// A Unix signal, as Linux numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(i32);

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

impl Signal {
    /// Hang-up.
    pub const HUP: Self = Self(1);
    /// Interrupt, as Ctrl-C sends it.
    pub const INT: Self = Self(2);
    /// Quit with a core dump.
    pub const QUIT: Self = Self(3);
    /// Kill; cannot be caught.
    pub const KILL: Self = Self(9);
    /// First user-defined signal.
    pub const USR1: Self = Self(10);
    /// Second user-defined signal.
    pub const USR2: Self = Self(12);
    /// Polite request to end.
    pub const TERM: Self = Self(15);
    /// Continue after a stop.
    pub const CONT: Self = Self(18);
    /// Stop; cannot be caught.
    pub const STOP: Self = Self(19);

    /// The signal of `number`, from 1 to 64.
    ///
    /// # Errors
    ///
    /// `BadRequest` for any other number.
    pub fn new(number: i32) -> Result<Self, Error> {
        if (1..=64).contains(&number) {
            Ok(Self(number))
        } else {
            Err(Error::bad_request(format!("there is no signal {number}"))
                .hint("signals are numbered from 1 to 64"))
        }
    }

    /// The signal's number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match usize::try_from(self.0 - 1).ok().and_then(|index| NAMES.get(index)) {
            Some(name) => write!(f, "SIG{name}"),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl FromStr for Signal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Ok(number) = text.parse() {
            return Self::new(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let index = NAMES.iter().position(|known| *known == name);
        match index.and_then(|index| i32::try_from(index + 1).ok()) {
            Some(number) => Ok(Self(number)),
            None => Err(Error::bad_request(format!("there is no signal `{text}`"))
                .hint("use a name such as TERM or a number")),
        }
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for number in 1..=31 {
            let signal = Signal::new(number).unwrap();
            assert_eq!(signal.to_string().parse::<Signal>().unwrap(), signal);
        }
        assert_eq!("kill".parse::<Signal>().unwrap(), Signal::KILL);
        assert_eq!("15".parse::<Signal>().unwrap(), Signal::TERM);
        assert!("NOPE".parse::<Signal>().is_err());
        assert!(Signal::new(0).is_err());
    }
}
