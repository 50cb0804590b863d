//! One behaviour as data.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use grainchain_core::ConfigOption;
use grainchain_core::{Capability, Language};

use crate::check::Outcome;
use crate::context::Context;

/// Something that must be installed in the sandbox for a case to make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tool {
    /// `python3`
    Python,
    /// `node`
    Node,
    /// `bash`
    Bash,
}

impl Tool {
    /// The command's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python3",
            Self::Node => "node",
            Self::Bash => "bash",
        }
    }

    /// The language that `run_code` speaks with it.
    pub const fn language(self) -> Language {
        match self {
            Self::Python => Language::Python,
            Self::Node => Language::JavaScript,
            Self::Bash => Language::Bash,
        }
    }
}

/// What is special about a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tag {
    /// It moves or makes much data: it gets 300 s instead of 60.
    Heavy,
    /// It runs as another user, which the sandbox must be able to do.
    Users,
}

/// One behaviour that users rely on.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Case {
    /// The family and a sentence: `exec::a_nonzero_exit_is_a_result`.
    pub name: &'static str,
    /// It runs only where all of these are declared.
    pub needs: &'static [Capability],
    /// It runs only where all of these options of `create` are honoured.
    pub honours: &'static [ConfigOption],
    /// It runs only where none of these is declared: using them must answer `Unsupported`.
    pub lacks: &'static [Capability],
    /// It runs only where none of these options of `create` is honoured.
    pub refuses: &'static [ConfigOption],
    /// What must be installed in the sandbox.
    pub tools: &'static [Tool],
    /// What is special about it.
    pub tags: &'static [Tag],
    /// The behaviour itself.
    pub run: fn(Context) -> BoxFuture<'static, Outcome>,
}

impl Case {
    /// A case of one's own, for what only one provider can be asked.
    pub const fn new(name: &'static str, run: fn(Context) -> BoxFuture<'static, Outcome>) -> Self {
        Self { name, needs: &[], honours: &[], lacks: &[], refuses: &[], tools: &[], tags: &[], run }
    }

    /// Runs it only where all of these are declared.
    #[must_use]
    pub const fn needs(mut self, needs: &'static [Capability]) -> Self {
        self.needs = needs;
        self
    }

    /// Runs it only where none of these is declared.
    #[must_use]
    pub const fn lacks(mut self, lacks: &'static [Capability]) -> Self {
        self.lacks = lacks;
        self
    }

    /// Says what must be installed in the sandbox.
    #[must_use]
    pub const fn tools(mut self, tools: &'static [Tool]) -> Self {
        self.tools = tools;
        self
    }

    /// Says what is special about it.
    #[must_use]
    pub const fn tags(mut self, tags: &'static [Tag]) -> Self {
        self.tags = tags;
        self
    }

    /// How long it may take before it counts as hanging.
    pub fn watchdog(&self) -> Duration {
        Duration::from_secs(if self.tags.contains(&Tag::Heavy) { 300 } else { 60 })
    }

    /// The part of the name before the colons.
    pub fn family(&self) -> &'static str {
        self.name.split("::").next().unwrap_or(self.name)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Declares the cases of one family.
///
/// After the arguments stand, each optional and in this order: `needs [capabilities]`, `honours [options]`, `lacks [capabilities]`,
/// `refuses [options]`, `with [tools]`, `tags [tags]`.
macro_rules! cases {
    ($family:ident: $(
        fn $name:ident($cx:ident)
        $(needs [$($need:ident),+])?
        $(honours [$($honour:ident),+])?
        $(lacks [$($lack:ident),+])?
        $(refuses [$($refuse:ident),+])?
        $(with [$($tool:ident),+])?
        $(tags [$($tag:ident),+])?
        $body:block
    )+) => {
        pub(super) const CASES: &[$crate::Case] = &[$(
            $crate::Case {
                name: concat!(stringify!($family), "::", stringify!($name)),
                needs: &[$($(grainchain_core::Capability::$need),+)?],
                honours: &[$($(grainchain_core::ConfigOption::$honour),+)?],
                lacks: &[$($(grainchain_core::Capability::$lack),+)?],
                refuses: &[$($(grainchain_core::ConfigOption::$refuse),+)?],
                tools: &[$($($crate::Tool::$tool),+)?],
                tags: &[$($($crate::Tag::$tag),+)?],
                run: |$cx| Box::pin(async move {
                    $body
                    Ok(())
                }),
            },
        )+];
    };
}
pub(crate) use cases;
