//! Options that several commands share.

use std::time::Duration;

use grainchain::config::parse_duration;
use grainchain::{ByteSize, Error, ErrorKind, NetworkPolicy, Operation, ProviderInfo, Result, SandboxConfig};

use crate::exit::{Failure, is_out_of_time};

/// What a new sandbox shall be like.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sandbox")]
pub(crate) struct SandboxArgs {
    /// The image to start from, where sandboxes are containers
    #[arg(short = 'I', long)]
    image: Option<String>,
    /// The provider's template to start from
    #[arg(long)]
    template: Option<String>,
    /// Set a variable; `K` alone passes ours on. Repeatable
    #[arg(short, long, value_name = "K=V", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Where commands start
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// How much memory it may use, as in 512MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<ByteSize>,
    /// How many processors it may use, as in 0.5
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cpu: Option<f64>,
    /// What its network may reach: `off`, `open`, or names and ranges separated by commas
    #[arg(long, value_name = "POLICY", value_parser = network)]
    network: Option<NetworkPolicy>,
    /// How long it lives, as in 30m; `none` for until it is closed
    #[arg(long, value_name = "TIME", value_parser = limit, allow_negative_numbers = true)]
    lifetime: Option<Limit>,
    /// Add a label. Repeatable
    #[arg(short, long, value_name = "K=V", value_parser = pair)]
    label: Vec<(String, String)>,
}

impl SandboxArgs {
    /// Puts what was said over the configured defaults.
    pub(crate) fn apply(self, mut config: SandboxConfig) -> SandboxConfig {
        // An image said here replaces a configured template, and the other way round: both together mean nothing.
        if self.image.is_some() {
            (config.image, config.template) = (self.image, None);
        }
        if self.template.is_some() {
            config.template = self.template;
        }
        config.environment_vars.extend(self.env);
        config.working_directory = self.workdir.or(config.working_directory);
        config.memory_limit = self.memory.or(config.memory_limit);
        config.cpu_limit = self.cpu.or(config.cpu_limit);
        config.network = self.network.unwrap_or(config.network);
        if let Some(Limit(lifetime)) = self.lifetime {
            config.lifetime = lifetime;
        }
        config.metadata.extend(self.label);
        config
    }
}

/// A limit on time; none lifts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<Duration>);

impl Limit {
    /// The timeout to give to a command: `Duration::MAX` for never.
    pub(crate) fn timeout(self) -> Duration {
        self.0.unwrap_or(Duration::MAX)
    }
}

/// Reads `90`, `5m` or `none`.
pub(crate) fn limit(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("zero leaves no time for anything; write `none` for no limit".to_owned()),
        Ok(duration) => Ok(Limit(Some(duration))),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads `KEY=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// Reads `KEY=VALUE`, or a `KEY` whose value is our own.
pub(crate) fn variable(text: &str) -> Result<(String, String), String> {
    if text.contains('=') {
        return pair(text);
    }
    own_variable(text).map(|value| (text.to_owned(), value))
}

#[expect(clippy::disallowed_methods, reason = "the user names the variable that is passed on")]
fn own_variable(name: &str) -> Result<String, String> {
    use std::env::VarError;
    std::env::var(name).map_err(|error| match error {
        VarError::NotPresent => "it is not set here; write KEY=VALUE or set it".to_owned(),
        VarError::NotUnicode(_) => "its value here is not UTF-8".to_owned(),
    })
}

/// Names our option where a program's or code's time ran out: the library speaks of its own.
pub(crate) fn explain_timeout(failure: Failure) -> Failure {
    let explain = |error: Error| match error.failed_operation() {
        Some(Operation::Spawn | Operation::Execute | Operation::RunCode) if is_out_of_time(&error) => {
            error.hint("allow it more with --timeout, or `--timeout none` for as long as it takes")
        }
        // What ran out was the time of one of our own requests.
        _ => error,
    };
    match failure {
        Failure::Error(error) => Failure::Error(explain(error)),
        Failure::Start(error) => Failure::Start(explain(error)),
        other => other,
    }
}

/// Names what can be done here where the provider refused how a sandbox shall be: the library speaks of its own functions.
pub(crate) fn explain_refusal(error: Error, provider: &ProviderInfo) -> Error {
    match (error.kind(), error.failed_option()) {
        (ErrorKind::Unsupported, Some("network")) => {
            let options = provider.options.iter().map(ToString::to_string);
            let words: Vec<_> = options
                .filter_map(|option| {
                    option.strip_prefix("network = ").map(|word| format!("`--network {word}`"))
                })
                .collect();
            if words.is_empty() {
                return error.hint(format!("leave --network out: {} cannot limit it", provider.name));
            }
            error.hint(format!(
                "{} tells no names and ranges apart; write {}",
                provider.name,
                words.join(" or ")
            ))
        }
        (ErrorKind::NotFound, Some("template")) => {
            error.hint("programs build templates with the library; `--image` starts from an image")
        }
        _ => error,
    }
}

fn size(text: &str) -> Result<ByteSize, Error> {
    text.parse()
}

fn network(text: &str) -> Result<NetworkPolicy, String> {
    match text {
        "default" => Ok(NetworkPolicy::Default),
        "off" => Ok(NetworkPolicy::Off),
        "open" => Ok(NetworkPolicy::Open),
        list if !list.is_empty() => Ok(NetworkPolicy::Allow(list.split(',').map(str::to_owned).collect())),
        _ => Err("write off, open, or names and ranges separated by commas".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_know_none_and_refuse_zero() {
        assert_eq!(limit("none").unwrap().timeout(), Duration::MAX);
        assert_eq!(limit("5m").unwrap().timeout(), Duration::from_secs(300));
        assert!(limit("0").is_err());
        assert!(limit("soon").unwrap_err().contains("soon"));
    }

    #[test]
    fn a_variable_may_hold_equal_signs_and_must_have_a_name() {
        assert_eq!(variable("A=b=c").unwrap(), ("A".into(), "b=c".into()));
        assert_eq!(variable("A=").unwrap(), ("A".into(), String::new()));
        assert!(variable("=b").is_err());
        assert!(variable("SURELY_NOT_SET_ANYWHERE").is_err());
    }

    #[test]
    fn what_is_said_wins_over_what_is_configured() {
        let configured = SandboxConfig::template("t").env("A", "1").env("B", "1").cpu_limit(2.0);
        let args = SandboxArgs {
            image: Some("i".into()),
            template: None,
            env: vec![("B".into(), "2".into())],
            workdir: None,
            memory: None,
            cpu: None,
            network: None,
            lifetime: Some(Limit(None)),
            label: Vec::new(),
        };
        let config = args.apply(configured);
        assert_eq!((config.image.as_deref(), config.template), (Some("i"), None));
        assert_eq!(
            (config.environment_vars["A"].as_str(), config.environment_vars["B"].as_str()),
            ("1", "2")
        );
        assert_eq!((config.cpu_limit, config.lifetime), (Some(2.0), None));
    }
}
