//! What a sandbox shall be like, as a container that the engine can make.

mod container;
mod mounts;
mod places;
mod spec;
mod tmpfs;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use grainchain_core::config::parse_duration;
use grainchain_core::{ByteSize, ConfigOption, Error, ErrorKind, NetworkPolicy, Result, SandboxConfig};
use serde_json::Value;

pub(crate) use container::capability;
pub use container::{ContainerOptions, Pull, Ulimit};
pub(crate) use mounts::{Mount, Port};
pub(crate) use spec::{User, user_of};

use crate::config::{DEFAULT_IMAGE, DockerConfig, GuestKind};
use crate::engine::reference;

/// Where commands start when nothing else is asked for.
pub(crate) const WORKSPACE: &str = "/workspace";

/// The memory of a sandbox when nothing else is asked for.
const DEFAULT_MEMORY: ByteSize = ByteSize::gib(2);

/// How long a sandbox lives without any client when nothing else is asked for.
const DEFAULT_LEASE: Duration = Duration::from_secs(600);

/// The processes of a sandbox when nothing else is asked for.
const DEFAULT_PIDS: i64 = 512;

/// The options of [`SandboxConfig`] that are honoured.
pub(crate) const HONOURED: &[ConfigOption] = &[
    ConfigOption::Image,
    ConfigOption::Template,
    ConfigOption::Lifetime,
    ConfigOption::MemoryLimit,
    ConfigOption::CpuLimit,
    ConfigOption::EnvironmentVars,
    ConfigOption::WorkingDirectory,
    ConfigOption::KeepAlive,
    ConfigOption::Metadata,
    ConfigOption::NetworkOff,
    ConfigOption::NetworkOpen,
    ConfigOption::ProviderConfig,
];

/// What a container is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// An image, pulled when it is missing.
    Image(String),
    /// A template of ours, by id or name.
    Template(String),
    /// An image that is built when it is missing.
    Build(Box<crate::build::Recipe>),
}

/// A sandbox worked out: everything decided, nothing sent.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) source: Source,
    pub(crate) memory: Option<ByteSize>,
    pub(crate) cpus: Option<f64>,
    pub(crate) pids: Option<i64>,
    /// `none`, `bridge`, or the name of a network.
    pub(crate) network: String,
    pub(crate) working_directory: String,
    pub(crate) environment: BTreeMap<String, String>,
    /// How long it lives without any client.
    pub(crate) lease: Duration,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) ports: Vec<Port>,
    /// Where the image has volumes that nobody gave a name.
    pub(crate) declared: Vec<String>,
    pub(crate) options: ContainerOptions,
}

impl Plan {
    /// Works `wanted` out on top of the settings.
    ///
    /// # Errors
    ///
    /// `BadRequest` naming the option.
    pub(crate) fn new(config: &DockerConfig, wanted: &SandboxConfig) -> Result<Self> {
        let given: ContainerOptions = serde_json::from_value(Value::Object(wanted.provider_config.clone()))
            .map_err(|cause| {
            Error::bad_request(format!("provider_config: {cause}"))
                .hint("docs/providers/docker.md lists the options")
                .option("provider_config")
        })?;
        given.validate()?;
        let asked_network = given.network.clone();
        let options = given.over(&config.container);
        let source = source(config, wanted, &options)?;
        let network = network(wanted, asked_network, &options)?;
        let working_directory = working_directory(wanted.working_directory.as_deref())?;
        let mounts = mounts::mounts(&options)?;
        if let Some(mount) = mounts.iter().find(|mount| mount.target == "/") {
            return Err(Error::bad_request(format!("`{}` would hide the whole image", mount.target))
                .hint("choose a folder below it")
                .option("volumes"));
        }
        if config.guest == GuestKind::Engine {
            mounts::check_start(&working_directory, &options, &mounts)?;
        }
        let ports = mounts::ports(&options)?;
        if network == "none" && !ports.is_empty() {
            return Err(Error::bad_request("a sandbox without a network has no ports to publish")
                .hint("set network to open, or leave the ports out")
                .option("ports"));
        }
        let memory = match wanted.memory_limit.or(config.memory).unwrap_or(DEFAULT_MEMORY) {
            limit if limit.as_u64() == 0 => None,
            limit if limit < ByteSize::mib(6) => {
                return Err(Error::bad_request(format!(
                    "a memory of {limit} is below the engine's minimum of 6MiB"
                ))
                .hint("ask for 6MiB or more")
                .option("memory_limit"));
            }
            limit => Some(limit),
        };
        let cpus = wanted.cpu_limit.or(config.cpus);
        if cpus.is_some_and(|cpus| cpus < 0.01) {
            return Err(Error::bad_request("the engine grants no less than a hundredth of a processor")
                .hint("ask for 0.01 or more")
                .option("cpu_limit"));
        }
        let pids = match options.pids.unwrap_or(DEFAULT_PIDS) {
            0 => None,
            pids => Some(pids),
        };
        let lease = match &options.lease {
            Some(text) => parse_duration(text).map_err(|error| error.option("lease"))?,
            None => DEFAULT_LEASE,
        };
        let environment = wanted.environment_vars.clone();
        Ok(Self {
            source,
            memory,
            cpus,
            pids,
            network,
            working_directory,
            environment,
            lease,
            mounts,
            ports,
            declared: Vec::new(),
            options,
        })
    }
}

fn source(config: &DockerConfig, wanted: &SandboxConfig, options: &ContainerOptions) -> Result<Source> {
    let named = [
        wanted.image.is_some(),
        wanted.template.is_some(),
        wanted.provider_config.contains_key("dockerfile"),
    ];
    if named.iter().filter(|named| **named).count() > 1 {
        return Err(Error::bad_request("a sandbox starts from one thing alone")
            .hint("give either image, template or dockerfile")
            .option(if wanted.template.is_some() { "template" } else { "dockerfile" }));
    }
    if let Some(image) = &wanted.image {
        return Ok(Source::Image(reference(image)?));
    }
    if let Some(template) = &wanted.template {
        return Ok(Source::Template(template.clone()));
    }
    if let Some(recipe) = crate::build::Recipe::of_options(options)? {
        return Ok(Source::Build(Box::new(recipe)));
    }
    Ok(Source::Image(reference(config.image.as_deref().unwrap_or(DEFAULT_IMAGE))?))
}

/// The network's name. The one in `provider_config` says which network is meant by "open".
fn network(wanted: &SandboxConfig, asked: Option<String>, options: &ContainerOptions) -> Result<String> {
    let contradiction = |policy: &str, name: &str| {
        Error::bad_request(format!("the network is to be {policy} and `{name}` at once"))
            .hint("leave one of the two out")
            .option("network")
    };
    let configured = options.network.as_deref().unwrap_or("none");
    match (&wanted.network, asked) {
        (NetworkPolicy::Off, Some(name)) if name != "none" => Err(contradiction("off", &name)),
        (NetworkPolicy::Open, Some(name)) if name == "none" => Err(contradiction("open", &name)),
        (NetworkPolicy::Off, _) => Ok("none".to_owned()),
        (NetworkPolicy::Open, _) if configured == "none" => Ok("bridge".to_owned()),
        (NetworkPolicy::Open | NetworkPolicy::Default, _) => Ok(configured.to_owned()),
        // Nothing else is honoured, and what is not honoured was refused before.
        (_, _) => Err(Error::new(ErrorKind::Unsupported, "not supported here: `network = allow`")
            .hint("set network to off or open")
            .option("network")),
    }
}

/// Where commands start, as an absolute path without `.` and `..`. `~` is the workspace, as in the other providers.
fn working_directory(wanted: Option<&str>) -> Result<String> {
    let Some(wanted) = wanted else { return Ok(WORKSPACE.to_owned()) };
    let relative = match wanted.strip_prefix('~') {
        Some("") => "",
        Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/'),
        _ => wanted,
    };
    let is_the_kernels =
        |place: &String| ["/proc", "/sys", "/dev"].iter().any(|folder| Path::new(place).starts_with(folder));
    absolute(WORKSPACE, relative).filter(|place| !is_the_kernels(place)).ok_or_else(|| {
        Error::bad_request(format!("`{}` is no place to start in", wanted.escape_debug()))
            .hint("use an absolute path, or one below the workspace without `..`, and none of the kernel's folders")
            .option("working_directory")
    })
}

/// `path` seen from `base`, tidied; none when it leaves the root or holds what no path can.
pub(crate) fn absolute(base: &str, path: &str) -> Option<String> {
    if path.contains('\0') || path.starts_with('~') {
        return None;
    }
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{base}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(config: SandboxConfig) -> Result<Plan> {
        Plan::new(&DockerConfig::default(), &config)
    }

    #[test]
    fn without_wishes_a_sandbox_is_walled_in() {
        let plan = plan(SandboxConfig::default()).unwrap();
        assert_eq!(plan.source, Source::Image("python:3.12-slim".to_owned()));
        assert_eq!((plan.network.as_str(), plan.working_directory.as_str()), ("none", "/workspace"));
        assert_eq!((plan.memory, plan.pids), (Some(ByteSize::gib(2)), Some(512)));
        assert!(plan.mounts.is_empty() && plan.ports.is_empty());
    }

    #[test]
    fn an_unknown_option_is_refused_by_name() {
        let error = plan(SandboxConfig::default().provider_option("privileged", true)).unwrap_err();
        assert_eq!((error.kind(), error.failed_option()), (ErrorKind::BadRequest, Some("provider_config")));
        assert!(error.to_string().contains("`privileged`"), "{error}");
    }

    #[test]
    fn the_network_is_none_unless_somebody_opens_it() {
        let name = |config: SandboxConfig| plan(config).map(|plan| plan.network);
        let named = |name: &str| SandboxConfig::default().provider_option("network", name);
        assert_eq!(name(SandboxConfig::default()).unwrap(), "none");
        assert_eq!(name(SandboxConfig::default().network(NetworkPolicy::Open)).unwrap(), "bridge");
        assert_eq!(name(named("mine")).unwrap(), "mine");
        assert_eq!(name(named("mine").network(NetworkPolicy::Open)).unwrap(), "mine");
        assert_eq!(
            name(named("mine").network(NetworkPolicy::Off)).unwrap_err().failed_option(),
            Some("network")
        );
        assert_eq!(
            name(named("none").network(NetworkPolicy::Open)).unwrap_err().failed_option(),
            Some("network")
        );
        assert_eq!(name(named("host")).unwrap_err().failed_option(), Some("network"));
        assert_eq!(name(named("container:x")).unwrap_err().failed_option(), Some("network"));
    }

    #[test]
    fn a_configured_network_is_closed_by_off() {
        let mut config = DockerConfig::default();
        config.container.network = Some("mine".to_owned());
        let off = SandboxConfig::default().network(NetworkPolicy::Off);
        assert_eq!(Plan::new(&config, &off).unwrap().network, "none");
        assert_eq!(Plan::new(&config, &SandboxConfig::default()).unwrap().network, "mine");
    }

    #[test]
    fn limits_below_the_engines_minimum_are_refused_before_anything_is_sent() {
        let error = plan(SandboxConfig::default().memory_limit(ByteSize::mib(5))).unwrap_err();
        assert_eq!((error.kind(), error.failed_option()), (ErrorKind::BadRequest, Some("memory_limit")));
        let error = plan(SandboxConfig::default().cpu_limit(0.001)).unwrap_err();
        assert_eq!(error.failed_option(), Some("cpu_limit"));
    }

    #[test]
    fn a_sandbox_starts_from_one_thing_alone() {
        let error = plan(SandboxConfig::image("a").provider_option("dockerfile", "FROM b\n")).unwrap_err();
        assert_eq!(error.failed_option(), Some("dockerfile"));
    }

    #[test]
    fn ports_without_a_network_are_refused_and_not_ignored() {
        let config = SandboxConfig::default().provider_option("ports", json!(["8080:80"]));
        assert_eq!(plan(config.clone()).unwrap_err().failed_option(), Some("ports"));
        assert_eq!(plan(config.network(NetworkPolicy::Open)).unwrap().ports.len(), 1);
    }

    #[test]
    fn working_directories_are_tidied_and_never_leave_the_root() {
        for (wanted, place) in [
            ("~", "/workspace"),
            ("~/a", "/workspace/a"),
            ("a/b", "/workspace/a/b"),
            ("/srv//x/.", "/srv/x"),
            ("/a/../b", "/b"),
            ("/", "/"),
        ] {
            assert_eq!(working_directory(Some(wanted)).unwrap(), place);
        }
        for wanted in ["../../..", "/..", "~root", "a\0b", "/proc/1", "/sys", "/dev/shm"] {
            assert_eq!(
                working_directory(Some(wanted)).unwrap_err().failed_option(),
                Some("working_directory")
            );
        }
    }
}
