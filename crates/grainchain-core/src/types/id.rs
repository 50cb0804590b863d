//! Identifiers as types, so that arguments cannot be swapped.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[doc = $doc:literal])+ $name:ident) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The id as the provider spells it.
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self::new(id)
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id)
            }
        }
    };
}

id!(
    /// Names a sandbox at its provider.
    SandboxId
);
id!(
    /// Names a snapshot.
    SnapshotId
);
id!(
    /// Names a process within its sandbox.
    ProcessId
);
id!(
    /// Names a code context within its sandbox.
    ContextId
);
id!(
    /// Names a template at its provider.
    TemplateId
);
id!(
    /// Names a volume at its provider.
    VolumeId
);

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A fresh random name: `prefix`, an underscore and 26 characters that hold 128 random bits.
///
/// # Panics
///
/// When the operating system has no randomness to give, which no system we run on does.
pub fn random_id(prefix: &str) -> String {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the operating system provides randomness");
    let mut rest = u128::from_le_bytes(bytes);
    let mut id = String::with_capacity(prefix.len() + 27);
    id.push_str(prefix);
    id.push('_');
    for _ in 0..26 {
        id.push(char::from(ALPHABET[(rest & 31) as usize]));
        rest >>= 5;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_never_collide_in_a_thousand() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| random_id("sb")).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 29 && id.starts_with("sb_")));
    }
}
