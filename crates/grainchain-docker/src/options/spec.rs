//! The plan of a sandbox as the engine wants to be told.

use std::collections::BTreeMap;
use std::time::Duration;

use grainchain_core::Result;
use serde_json::{Map, Value, json};

use super::{Mount, Plan};
use crate::engine::Image;
use crate::guest::{CAPABILITIES, KEEPING, Orders, PROGRAM};

/// Who commands run as where the image wants root.
const NOBODY_IN_PARTICULAR: u32 = 1000;

/// Longer than any sandbox lives: every `sleep` takes a number, few take `infinity`.
const FOREVER: u64 = i32::MAX as u64;

/// As whom commands run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// A user and a group by number.
    Number {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// A user, and perhaps a group, that the image's own files explain.
    Name(String),
}

impl User {
    fn parse(text: &str) -> Self {
        let number = |text: &str| text.parse::<u32>().ok();
        match text.split_once(':') {
            Some((user, group)) => match (number(user), number(group)) {
                (Some(uid), Some(gid)) => Self::Number { uid, gid },
                _ => Self::Name(text.to_owned()),
            },
            None => match number(text) {
                // The engine would choose root's group.
                Some(uid) => Self::Number { uid, gid: uid },
                None if text == "root" => Self::Number { uid: 0, gid: 0 },
                None => Self::Name(text.to_owned()),
            },
        }
    }

    /// As the engine wants to be told.
    pub(crate) fn spelt(&self) -> String {
        match self {
            Self::Number { uid, gid } => format!("{uid}:{gid}"),
            Self::Name(name) => name.clone(),
        }
    }
}

/// As whom commands run in a sandbox of `plan` from `image`: never root unless somebody asked for it.
pub(crate) fn user_of(plan: &Plan, image: &Image) -> User {
    let asked = plan.options.user.as_deref();
    match asked.unwrap_or(&image.user) {
        text if asked.is_some() => User::parse(text),
        "" => User::Number { uid: NOBODY_IN_PARTICULAR, gid: NOBODY_IN_PARTICULAR },
        text => match User::parse(text) {
            User::Number { uid: 0, .. } => {
                User::Number { uid: NOBODY_IN_PARTICULAR, gid: NOBODY_IN_PARTICULAR }
            }
            user => user,
        },
    }
}

/// Adds `value` to a list.
fn push(list: &mut Value, value: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(value);
    }
}

impl Plan {
    /// The body of the container's creation, with the engine's own exec as the guest: the first process sleeps until the lifetime is
    /// over, and with it the container vanishes.
    ///
    /// # Errors
    ///
    /// `BadRequest` when the options contradict each other.
    pub(crate) fn spec(
        &self,
        image: &Image,
        lifetime: Option<Duration>,
        labels: &BTreeMap<String, String>,
    ) -> Result<Value> {
        let seconds = lifetime.map_or(FOREVER, |lifetime| {
            lifetime.as_secs().saturating_add(u64::from(lifetime.subsec_nanos() > 0)).min(FOREVER)
        });
        let mut spec = self.common(image, labels)?;
        spec["Entrypoint"] = json!(["sleep"]);
        spec["Cmd"] = json!([seconds.to_string()]);
        spec["User"] = json!(user_of(self, image).spelt());
        // It reaps.
        spec["HostConfig"]["Init"] = json!(true);
        Ok(spec)
    }

    /// The body of the container's creation with a helper as the first process: root with what it needs to give all of that up, and
    /// with streams for whoever makes the container.
    ///
    /// # Errors
    ///
    /// As [`spec`](Self::spec).
    pub(crate) fn spec_with_helper(
        &self,
        image: &Image,
        labels: &BTreeMap<String, String>,
        mount: Value,
        orders: &Orders,
    ) -> Result<Value> {
        let mut spec = self.common(image, labels)?;
        spec["Entrypoint"] = json!([PROGRAM]);
        spec["Cmd"] = json!([]);
        spec["User"] = json!("0:0");
        push(&mut spec["Env"], json!(orders.variable()?));
        for name in ["OpenStdin", "StdinOnce", "AttachStdin", "AttachStdout", "AttachStderr"] {
            spec[name] = json!(true);
        }
        let host = &mut spec["HostConfig"];
        push(&mut host["Mounts"], mount);
        for place in &self.declared {
            // Asked for, so that another container can be made with the same, and empty.
            push(&mut host["Mounts"], json!({ "Type": "volume", "Target": place }));
        }
        let keeping = KEEPING.into_iter().filter(|_| !self.apart().is_empty());
        for capability in CAPABILITIES.into_iter().chain(keeping) {
            push(&mut host["CapAdd"], json!(capability));
        }
        Ok(spec)
    }

    fn common(&self, image: &Image, labels: &BTreeMap<String, String>) -> Result<Value> {
        let user = user_of(self, image);
        let mut environment = self.environment.clone();
        environment.entry("HOME".to_owned()).or_insert_with(|| self.working_directory.clone());
        let environment: Vec<_> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut all_labels = self.options.labels.clone().unwrap_or_default();
        all_labels.extend(labels.clone());
        let exposed: Map<_, _> = self.ports.iter().map(|port| (port.inside.clone(), json!({}))).collect();
        Ok(json!({
            "Image": image.id,
            // The engine would make the working directory, as root's. Every command is told where to start.
            "WorkingDir": "/",
            "Env": environment,
            "Labels": all_labels,
            // The image's own would run beside the sandbox's commands.
            "Healthcheck": { "Test": ["NONE"] },
            "ExposedPorts": exposed,
            "HostConfig": self.host_config(&user)?,
        }))
    }

    fn host_config(&self, user: &User) -> Result<Value> {
        let options = &self.options;
        let mut security = vec![];
        if !options.new_privileges.unwrap_or(false) {
            security.push("no-new-privileges".to_owned());
        }
        if let Some(profile) = options.seccomp.as_deref().filter(|profile| *profile != "default") {
            security.push(format!("seccomp={profile}"));
        }
        let mut host = json!({
            // Whatever ends it, nothing is left.
            "AutoRemove": true,
            "LogConfig": { "Type": "none" },
            "NetworkMode": self.network,
            "CapDrop": ["ALL"],
            "CapAdd": options.cap_add.clone().unwrap_or_default(),
            "SecurityOpt": security,
            "IpcMode": "private",
            "ReadonlyRootfs": options.read_only.unwrap_or(false),
            "Mounts": self.mounts.iter().map(Mount::spec).collect::<Vec<_>>(),
            "Tmpfs": self.tmpfs(user)?,
        });
        let mut set = |name: &str, value: Value| host[name] = value;
        if let Some(memory) = self.memory {
            set("Memory", json!(memory.as_u64()));
            // As much again would be swap otherwise.
            set("MemorySwap", json!(memory.as_u64()));
        }
        if let Some(cpus) = self.cpus {
            set("NanoCpus", json!((cpus * 1e9).round() as u64));
        }
        if let Some(pids) = self.pids {
            set("PidsLimit", json!(pids));
        }
        if let Some(runtime) = &options.runtime {
            set("Runtime", json!(runtime));
        }
        if let Some(disk) = options.disk {
            set("StorageOpt", json!({ "size": disk.as_u64().to_string() }));
        }
        if let Some(size) = options.shm_size {
            set("ShmSize", json!(size.as_u64()));
        }
        if let Some(limits) = &options.ulimits {
            let limits = limits
                .iter()
                .map(|(name, limit)| json!({ "Name": name, "Soft": limit.soft, "Hard": limit.hard }));
            set("Ulimits", limits.collect());
        }
        if let Some(hosts) = &options.extra_hosts {
            set(
                "ExtraHosts",
                hosts.iter().map(|(name, address)| json!(format!("{name}:{address}"))).collect(),
            );
        }
        if let Some(servers) = &options.dns {
            set("Dns", json!(servers));
        }
        if let Some(gpus) = &options.gpus {
            let count = gpus.parse::<i64>().unwrap_or(-1);
            set("DeviceRequests", json!([{ "Count": count, "Capabilities": [["gpu"]] }]));
        }
        if !self.ports.is_empty() {
            let mut bindings = Map::new();
            for port in &self.ports {
                let binding = json!({ "HostIp": port.address, "HostPort": port.outside.to_string() });
                match bindings.get_mut(&port.inside).and_then(Value::as_array_mut) {
                    Some(others) => others.push(binding),
                    None => drop(bindings.insert(port.inside.clone(), json!([binding]))),
                }
            }
            set("PortBindings", Value::Object(bindings));
        }
        Ok(host)
    }
}

#[cfg(test)]
mod tests {
    use grainchain_core::{ByteSize, NetworkPolicy, SandboxConfig};

    use super::*;
    use crate::config::DockerConfig;
    use crate::labels::{Identity, Shown};

    fn image(user: &str) -> Image {
        Image { id: "sha256:1".into(), user: user.into(), ..Image::default() }
    }

    fn spec(config: SandboxConfig) -> Value {
        let plan = Plan::new(&DockerConfig::default(), &config).unwrap();
        plan.spec(&image(""), config.lifetime, &BTreeMap::new()).unwrap()
    }

    #[test]
    fn without_wishes_nothing_is_granted() {
        let spec = spec(SandboxConfig::default());
        let host = &spec["HostConfig"];
        assert_eq!(spec["User"], "1000:1000");
        assert_eq!(host["NetworkMode"], "none");
        assert_eq!((&host["CapDrop"], &host["CapAdd"]), (&json!(["ALL"]), &json!([])));
        assert_eq!(host["SecurityOpt"], json!(["no-new-privileges"]));
        assert_eq!((&host["Memory"], &host["MemorySwap"]), (&json!(2_u64 << 30), &json!(2_u64 << 30)));
        assert_eq!((&host["PidsLimit"], &host["AutoRemove"]), (&json!(512), &json!(true)));
        assert_eq!(host["LogConfig"]["Type"], "none");
        assert_eq!(host["Mounts"], json!([]));
        assert!(host.get("Privileged").is_none() && host.get("PidMode").is_none());
    }

    #[test]
    fn every_default_can_be_loosened_by_its_name() {
        let spec = spec(
            SandboxConfig::default()
                .network(NetworkPolicy::Open)
                .memory_limit(ByteSize::mib(256))
                .cpu_limit(0.5)
                .provider_option("user", "root")
                .provider_option("pids", 0)
                .provider_option("cap_add", json!(["NET_BIND_SERVICE"]))
                .provider_option("new_privileges", true)
                .provider_option("seccomp", "unconfined")
                .provider_option("volumes", json!(["/srv:/srv:ro"]))
                .provider_option("ports", json!(["8080:80"])),
        );
        let host = &spec["HostConfig"];
        assert_eq!((&spec["User"], &host["NetworkMode"]), (&json!("0:0"), &json!("bridge")));
        assert_eq!((&host["Memory"], &host["NanoCpus"]), (&json!(256 << 20), &json!(500_000_000)));
        assert!(host.get("PidsLimit").is_none());
        assert_eq!(
            (&host["CapAdd"], &host["SecurityOpt"]),
            (&json!(["NET_BIND_SERVICE"]), &json!(["seccomp=unconfined"]))
        );
        assert_eq!(
            host["Mounts"][0],
            json!({ "Type": "bind", "Source": "/srv", "Target": "/srv", "ReadOnly": true })
        );
        assert_eq!(
            host["PortBindings"],
            json!({ "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "8080" }] })
        );
    }

    #[test]
    fn nobody_is_root_unless_asked_to_be() {
        let user = |asked: Option<&str>, of_image: &str| {
            let mut config = SandboxConfig::default();
            if let Some(asked) = asked {
                config = config.provider_option("user", asked);
            }
            user_of(&Plan::new(&DockerConfig::default(), &config).unwrap(), &image(of_image)).spelt()
        };
        assert_eq!(user(None, ""), "1000:1000");
        assert_eq!(user(None, "root"), "1000:1000");
        assert_eq!(user(None, "0:5"), "1000:1000");
        assert_eq!(user(None, "node"), "node");
        assert_eq!(user(None, "33"), "33:33");
        assert_eq!(user(Some("root"), "node"), "0:0");
        assert_eq!(user(Some("7:8"), ""), "7:8");
    }

    #[test]
    fn the_first_process_sleeps_as_long_as_the_sandbox_lives() {
        let seconds =
            |lifetime: Option<Duration>| spec(SandboxConfig::default().lifetime(lifetime))["Cmd"][0].clone();
        assert_eq!(seconds(Some(Duration::from_millis(2500))), "3");
        assert_eq!(seconds(None), i32::MAX.to_string());
        assert_eq!(seconds(Some(Duration::MAX)), i32::MAX.to_string());
    }

    #[test]
    fn a_helper_is_root_with_what_it_needs_to_give_that_up_and_commands_are_not() {
        let config = SandboxConfig::default().provider_option("cap_add", json!(["NET_BIND_SERVICE"]));
        let plan = Plan::new(&DockerConfig::default(), &config).unwrap();
        let identity = Identity {
            id: "sb_1".into(),
            owner: String::new(),
            key: String::new(),
            created_at: std::time::SystemTime::UNIX_EPOCH,
            expires_at: None,
            metadata: BTreeMap::new(),
            config: Shown { working_directory: "/workspace".into(), ..Shown::default() },
            token: Some("secret".into()),
        };
        let asked = plan.options.cap_add.clone().unwrap();
        let orders = Orders::new(&identity, "secret", user_of(&plan, &image("")).spelt(), &asked);
        let mount = json!({ "Target": "/.grainchain", "ReadOnly": true });
        let spec = plan.spec_with_helper(&image(""), &BTreeMap::new(), mount.clone(), &orders).unwrap();
        let host = &spec["HostConfig"];
        assert_eq!((&spec["Entrypoint"], &spec["User"]), (&json!(["/.grainchain/helper"]), &json!("0:0")));
        assert_eq!((&host["CapDrop"], &host["Mounts"]), (&json!(["ALL"]), &json!([mount])));
        assert_eq!(
            host["CapAdd"],
            json!(["NET_BIND_SERVICE", "CHOWN", "SETPCAP", "SETUID", "SETGID", "KILL"])
        );
        assert_eq!((&spec["OpenStdin"], &spec["StdinOnce"]), (&json!(true), &json!(true)));
        // What keeps it up is no program of the image's, and it reaps itself.
        assert!(host.get("Init").is_none());
        let told = spec["Env"]
            .as_array()
            .unwrap()
            .iter()
            .find_map(|one| one.as_str()?.strip_prefix("GRAINCHAIN_BOOT="));
        let told: Value = serde_json::from_str(told.unwrap()).unwrap();
        assert_eq!((&told["user"], &told["token"]), (&json!("1000:1000"), &json!("secret")));
        assert_eq!((&told["capabilities"], &told["lifetime"]), (&json!(["NET_BIND_SERVICE"]), &Value::Null));
    }
}
