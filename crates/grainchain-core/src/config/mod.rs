//! `grainchain.toml`, the environment and provider URIs: the only readers of the environment in this crate.

mod defaults;
mod duration;
mod expand;
mod file;
mod provider_settings;
mod settings;
mod uri;

pub use defaults::apply_uri_option;
pub(crate) use defaults::goes_first;
pub use duration::{format_duration, parse_duration};
pub use provider_settings::ProviderSettings;
pub use settings::Settings;
pub use uri::ProviderUri;

/// Looks a variable up: the process's environment, or a test's.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A variable of this process; none when it is unset, empty or not UTF-8.
#[expect(clippy::disallowed_methods, reason = "the single home of reading the environment")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
