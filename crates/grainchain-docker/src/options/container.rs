//! The options of a container, by their names in `[providers.docker]` and in `provider_config`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use grainchain_core::{ByteSize, Error, Result};
use grainchain_guest::helper::is_capability;
use serde::{Deserialize, Deserializer};

/// When images are pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Pull {
    /// When the engine does not have them.
    #[default]
    Missing,
    /// Before every sandbox, so that a moved tag is noticed.
    Always,
    /// Never: one that is missing is an error.
    Never,
}

/// A limit of each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Ulimit {
    /// What holds unless a process raises it.
    pub soft: i64,
    /// What it can be raised to.
    pub hard: i64,
}

/// The options of a container that no other provider has. Everything has a default; docs/providers/docker.md is the table.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ContainerOptions {
    /// `none` (the default), `bridge`, or the name of a network that is there. Those of the engine's machine and of other
    /// containers are refused.
    pub network: Option<String>,
    /// As whom commands run: `uid`, `uid:gid`, or a name of the image. By default the image's user, or `1000:1000` where that is root.
    #[serde(deserialize_with = "text_or_number")]
    pub user: Option<String>,
    /// Whether the image cannot be changed; the workspace and `/tmp` then are in memory. No by default.
    pub read_only: Option<bool>,
    /// How many processes and threads there may be: 512 by default, 0 for no limit.
    pub pids: Option<i64>,
    /// What isolates: `runc`, `runsc`, `kata`, or another one that the engine knows; the engine's own by default.
    pub runtime: Option<String>,
    /// The platform, as in `linux/arm64`; the engine's own by default.
    pub platform: Option<String>,
    /// How large the container's files may become. Refused by engines whose storage has no quotas.
    pub disk: Option<ByteSize>,
    /// The size of `/dev/shm`: 64 MiB by default.
    pub shm_size: Option<ByteSize>,
    /// Limits of each process, such as `nofile`.
    pub ulimits: Option<BTreeMap<String, Ulimit>>,
    /// `SOURCE:/TARGET` or `SOURCE:/TARGET:ro`, where the source is an absolute path of the engine's machine or a volume's name.
    pub volumes: Option<Vec<String>>,
    /// Folders in memory with the size of each.
    pub tmpfs: Option<BTreeMap<String, ByteSize>>,
    /// `PORT:PORT` or `ADDRESS:PORT:PORT`, with `/udp` where it is not TCP. On 127.0.0.1 unless an address is given.
    pub ports: Option<Vec<String>>,
    /// `all`, or how many GPUs; none by default.
    #[serde(deserialize_with = "text_or_number")]
    pub gpus: Option<String>,
    /// Further names of addresses, as in `/etc/hosts`.
    pub extra_hosts: Option<BTreeMap<String, String>>,
    /// Name servers; the engine's by default.
    pub dns: Option<Vec<String>>,
    /// Labels of the container, beside the sandbox's metadata.
    pub labels: Option<BTreeMap<String, String>>,
    /// Capabilities given back after all were dropped, such as `NET_BIND_SERVICE`. None by default.
    pub cap_add: Option<Vec<String>>,
    /// `default`, `unconfined`, or the text of a profile.
    pub seccomp: Option<String>,
    /// Whether programs may gain privileges, as `sudo` does. No by default.
    pub new_privileges: Option<bool>,
    /// How long a sandbox lives without any client, as in `90s`: ten minutes by default. Not told to sandboxes that are kept alive, nor
    /// to those whose guest is the engine's own exec.
    pub lease: Option<String>,
    /// When images are pulled: when they are missing.
    pub pull: Option<Pull>,
    /// The path of a Dockerfile on this machine, or its text where it has more than one line: the image is built when it is missing.
    pub dockerfile: Option<String>,
    /// The folder of this machine that `COPY` reads from; the Dockerfile's own by default, nothing for a text.
    pub context: Option<PathBuf>,
    /// Values of the Dockerfile's `ARG`s.
    pub build_args: Option<BTreeMap<String, String>>,
    /// The stage to stop at; the last by default.
    pub target: Option<String>,
}

fn text_or_number<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Number(u64),
        Text(String),
    }
    Ok(Option::<Form>::deserialize(deserializer)?.map(|form| match form {
        Form::Number(number) => number.to_string(),
        Form::Text(text) => text,
    }))
}

impl ContainerOptions {
    /// These options, and those of `base` that are not set here.
    pub(crate) fn over(self, base: &Self) -> Self {
        let base = base.clone();
        let builds = self.dockerfile.is_some();
        // What belongs to one Dockerfile does not belong to another.
        let built = if builds { Self::default() } else { base.clone() };
        Self {
            network: self.network.or(base.network),
            user: self.user.or(base.user),
            read_only: self.read_only.or(base.read_only),
            pids: self.pids.or(base.pids),
            runtime: self.runtime.or(base.runtime),
            platform: self.platform.or(base.platform),
            disk: self.disk.or(base.disk),
            shm_size: self.shm_size.or(base.shm_size),
            ulimits: self.ulimits.or(base.ulimits),
            volumes: self.volumes.or(base.volumes),
            tmpfs: self.tmpfs.or(base.tmpfs),
            ports: self.ports.or(base.ports),
            gpus: self.gpus.or(base.gpus),
            extra_hosts: self.extra_hosts.or(base.extra_hosts),
            dns: self.dns.or(base.dns),
            labels: self.labels.or(base.labels),
            cap_add: self.cap_add.or(base.cap_add),
            seccomp: self.seccomp.or(base.seccomp),
            new_privileges: self.new_privileges.or(base.new_privileges),
            lease: self.lease.or(base.lease),
            pull: self.pull.or(base.pull),
            dockerfile: self.dockerfile.or(built.dockerfile),
            context: self.context.or(built.context),
            build_args: self.build_args.or(built.build_args),
            target: self.target.or(built.target),
        }
    }

    /// Refuses what can be seen to be wrong without asking the engine.
    ///
    /// # Errors
    ///
    /// `BadRequest` naming the option.
    pub(crate) fn validate(&self) -> Result<()> {
        let wrong = |option: &str, reason: String, remedy: &str| {
            Err(Error::bad_request(reason).hint(remedy).option(option))
        };
        if let Some(name) = self.network.as_deref() {
            if name == "host" || name.starts_with("container:") {
                return wrong(
                    "network",
                    format!("the network `{name}` is not the sandbox's own"),
                    "use none, bridge, or a network made for sandboxes",
                );
            }
            if !is_name(name) {
                return wrong(
                    "network",
                    format!("`{}` is no name of a network", name.escape_debug()),
                    "use none, bridge, or the name of a network",
                );
            }
        }
        if self.pids.is_some_and(|pids| pids < 0) {
            return wrong("pids", "there cannot be fewer than no processes".to_owned(), "use 0 for no limit");
        }
        for (option, text) in [("runtime", &self.runtime), ("user", &self.user), ("platform", &self.platform)]
        {
            if text.as_deref().is_some_and(|text| {
                text.is_empty() || text.contains(|letter: char| letter.is_control() || letter == ' ')
            }) {
                return wrong(
                    option,
                    "the value is empty or holds a blank".to_owned(),
                    "name one, or leave the option out",
                );
            }
        }
        if let Some(gpus) = self.gpus.as_deref().filter(|gpus| *gpus != "all" && gpus.parse::<u32>().is_err())
        {
            return wrong("gpus", format!("`{gpus}` is no number of GPUs"), "write all or a number");
        }
        for name in self.cap_add.iter().flatten() {
            if !is_capability(&capability(name)) {
                return wrong(
                    "cap_add",
                    format!("there is no capability `{}`", name.escape_debug()),
                    "name each one, as in NET_BIND_SERVICE",
                );
            }
        }
        let contradiction =
            self.ulimits.iter().flatten().find(|(_, limit)| limit.hard >= 0 && limit.soft > limit.hard);
        if let Some((name, limit)) = contradiction {
            return wrong(
                "ulimits",
                format!("the soft limit {} of `{name}` is above the hard one, {}", limit.soft, limit.hard),
                "raise the hard limit, or lower the soft one",
            );
        }
        if let Some(profile) = self.seccomp.as_deref()
            && !["default", "unconfined"].contains(&profile)
            && serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(profile).is_err()
        {
            return wrong(
                "seccomp",
                "the profile is no JSON".to_owned(),
                "write default, unconfined, or the text of a profile: the engine cannot read your files",
            );
        }
        for label in self.labels.iter().flatten().map(|(name, _)| name) {
            if label.starts_with(crate::labels::PREFIX) {
                return wrong(
                    "labels",
                    format!("`{label}` is a label of Grainchain's own"),
                    "use another name",
                );
            }
        }
        if self.dockerfile.is_none() {
            let orphan = [
                ("context", self.context.is_some()),
                ("build_args", self.build_args.is_some()),
                ("target", self.target.is_some()),
            ];
            if let Some((option, _)) = orphan.into_iter().find(|(_, set)| *set) {
                return wrong(
                    option,
                    "it belongs to a Dockerfile, and there is none".to_owned(),
                    "set dockerfile as well",
                );
            }
        }
        Ok(())
    }
}

/// The name of a capability as the kernel spells it, without `CAP_` in front.
pub(crate) fn capability(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    name.strip_prefix("CAP_").map_or_else(|| name.clone(), str::to_owned)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> ContainerOptions {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_asked_for_wins_over_what_is_configured() {
        let base = read(json!({ "pids": 10, "user": "5", "runtime": "runsc" }));
        let both = read(json!({ "pids": 20 })).over(&base);
        assert_eq!(
            (both.pids, both.user.as_deref(), both.runtime.as_deref()),
            (Some(20), Some("5"), Some("runsc"))
        );
    }

    #[test]
    fn a_dockerfile_does_not_take_over_another_ones_arguments() {
        let base = read(json!({ "dockerfile": "a", "target": "x", "build_args": { "A": "1" } }));
        let other = read(json!({ "dockerfile": "b" })).over(&base);
        assert_eq!((other.target, other.build_args), (None, None));
    }

    #[test]
    fn users_and_gpus_may_be_numbers() {
        let options = read(json!({ "user": 1000, "gpus": 2 }));
        assert_eq!((options.user.as_deref(), options.gpus.as_deref()), (Some("1000"), Some("2")));
    }

    #[test]
    fn every_wrong_option_is_refused_by_its_own_name() {
        for (option, value) in [
            ("network", json!("host")),
            ("network", json!("a b")),
            ("pids", json!(-1)),
            ("runtime", json!("")),
            ("user", json!("a b")),
            ("gpus", json!("some")),
            ("cap_add", json!(["ALL"])),
            ("cap_add", json!(["NOT_THERE"])),
            ("ulimits", json!({ "nofile": { "soft": 2, "hard": 1 } })),
            ("seccomp", json!("/etc/profile.json")),
            ("labels", json!({ "grainchain.owner": "me" })),
            ("target", json!("stage")),
        ] {
            let error = read(json!({ option: value })).validate().unwrap_err();
            assert_eq!(error.failed_option(), Some(option), "{error}");
            assert!(error.remedy().is_some());
        }
    }
}
