//! What a container's labels tell about its sandbox: written when it is made, the only thing that other programs can read.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use grainchain_core::{ByteSize, Lease, SandboxId, SandboxInfo, SandboxStatus};
use serde::{Deserialize, Serialize};

use crate::NAME;
use crate::engine::{Container, ContainerState};
use crate::kept::KEPT;

/// What all labels of ours begin with.
pub(crate) const PREFIX: &str = "grainchain.";

/// The sandbox's id.
pub(crate) const SANDBOX: &str = "grainchain.sandbox";
const OWNER: &str = "grainchain.owner";
/// The key of the `create` that made it.
const KEY: &str = "grainchain.key";
const CREATED: &str = "grainchain.created";
const EXPIRES: &str = "grainchain.expires";
const CONFIG: &str = "grainchain.config";
/// What the clients of the sandbox's helper must know; none where there is no helper. Whoever may read it may use the engine, and with
/// it the whole machine.
pub(crate) const TOKEN: &str = "grainchain.token";
/// When this container was made, which a restore replaces.
pub(crate) const BORN: &str = "grainchain.born";
/// The snapshot that it was restored from.
pub(crate) const RESTORED: &str = "grainchain.restored";
/// The network of a sandbox that was replaced while its network was closed.
pub(crate) const NETWORK: &str = "grainchain.network";
const METADATA: &str = "grainchain.metadata.";

/// What is known of a sandbox from its creation on.
#[derive(Clone, PartialEq)]
pub(crate) struct Identity {
    pub(crate) id: SandboxId,
    pub(crate) owner: String,
    pub(crate) key: String,
    pub(crate) created_at: SystemTime,
    pub(crate) expires_at: Option<SystemTime>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) config: Shown,
    /// What the clients of its helper must know; none where there is no helper.
    pub(crate) token: Option<String>,
}

/// What `info` shows of a sandbox's configuration. Holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shown {
    pub(crate) image: Option<String>,
    pub(crate) template: Option<String>,
    pub(crate) working_directory: String,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) cpus: Option<f64>,
    pub(crate) keep_alive: bool,
    /// Places whose content no image holds.
    #[serde(default)]
    pub(crate) outside: Vec<String>,
    /// Folders that no commit holds, which the helper keeps beside an image.
    #[serde(default)]
    pub(crate) apart: Vec<String>,
    /// Its runtime may keep what it writes where no commit finds it.
    #[serde(default)]
    pub(crate) is_hidden: bool,
    /// How long it lives without a client, where that can be told.
    #[serde(default)]
    pub(crate) lease: Option<Duration>,
}

impl Shown {
    /// Whether an image of the container, and what is kept beside it, holds what lies in the working directory.
    pub(crate) fn is_kept_by_images(&self) -> bool {
        let place = self.working_directory.as_str();
        !self.is_hidden
            && !self.outside.iter().any(|outside| {
                place
                    .strip_prefix(outside.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("id", &self.id).field("config", &self.config).finish_non_exhaustive()
    }
}

impl Identity {
    /// As the labels of a container.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            (SANDBOX.to_owned(), self.id.to_string()),
            (OWNER.to_owned(), self.owner.clone()),
            (KEY.to_owned(), self.key.clone()),
            (CREATED.to_owned(), milliseconds(self.created_at).to_string()),
            (BORN.to_owned(), nanoseconds(SystemTime::now()).to_string()),
            (CONFIG.to_owned(), serde_json::to_string(&self.config).unwrap_or_default()),
            // An image of ours would hand down its own.
            (RESTORED.to_owned(), String::new()),
            (NETWORK.to_owned(), String::new()),
            (KEPT.to_owned(), String::new()),
            (TOKEN.to_owned(), self.token.clone().unwrap_or_default()),
            self.end(),
        ]);
        labels.extend(self.metadata.iter().map(|(name, value)| (format!("{METADATA}{name}"), value.clone())));
        labels
    }

    /// The label that tells when it ends.
    pub(crate) fn end(&self) -> (String, String) {
        (EXPIRES.to_owned(), self.expires_at.map(|at| milliseconds(at).to_string()).unwrap_or_default())
    }

    /// From the labels of a container; none when they are not ours or not whole.
    pub(crate) fn of(labels: &HashMap<String, String>) -> Option<Self> {
        let text = |name: &str| labels.get(name).filter(|text| !text.is_empty());
        let metadata = labels
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(METADATA)?.to_owned(), value.clone())));
        Some(Self {
            id: SandboxId::new(text(SANDBOX)?.as_str()),
            owner: text(OWNER).cloned().unwrap_or_default(),
            key: text(KEY).cloned().unwrap_or_default(),
            created_at: time(text(CREATED)?)?,
            expires_at: match text(EXPIRES) {
                Some(text) => Some(time(text)?),
                None => None,
            },
            metadata: metadata.collect(),
            config: serde_json::from_str(text(CONFIG)?).ok()?,
            token: text(TOKEN).cloned(),
        })
    }

    /// As `info` shows it in `state`.
    pub(crate) fn info(&self, state: ContainerState, reason: Option<String>) -> SandboxInfo {
        let mut info = SandboxInfo::new(self.id.clone(), NAME, status(state));
        info.reason = reason.filter(|_| info.status == SandboxStatus::Error);
        info.created_at = Some(self.created_at);
        // Where there is a helper, one that lives on after its time has been given more.
        let may_live_on = self.token.is_some() && state == ContainerState::Running;
        info.expires_at = self.expires_at.filter(|at| !may_live_on || *at > SystemTime::now());
        info.image = self.config.image.clone();
        info.template = self.config.template.clone();
        info.working_directory = Some(self.config.working_directory.clone());
        info.memory_limit = self.config.memory_bytes.map(ByteSize::bytes);
        info.cpu_limit = self.config.cpus;
        // The engine does not know its clients: nobody can tell whether this one still lives.
        info.lease = Some(Lease::new(self.owner.clone(), None));
        info.keep_alive = self.config.keep_alive;
        info.key = Some(self.key.clone()).filter(|key| !key.is_empty());
        info.metadata = self.metadata.clone();
        info
    }
}

/// The container of the sandbox `id`.
pub(crate) fn container_name(id: &SandboxId) -> String {
    format!("grainchain-{id}")
}

/// The sandbox whose container is called `name`.
pub(crate) fn id_of(name: &str) -> Option<SandboxId> {
    name.strip_prefix("grainchain-").map(SandboxId::new)
}

/// Whether an engine could have a container of the sandbox `id`.
pub(crate) fn is_possible(id: &SandboxId) -> bool {
    let id = id.as_str();
    !id.is_empty()
        && id.len() <= 128
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// What a sandbox's container shows. None for containers that are none of ours, or that a restore is about to replace or has
/// replaced.
pub(crate) fn info_of(container: &Container) -> Option<SandboxInfo> {
    let id = SandboxId::new(container.labels.get(SANDBOX)?.as_str());
    if container.name != container_name(&id) {
        return None;
    }
    Some(match Identity::of(&container.labels) {
        Some(identity) => identity.info(container.state, container.reason.clone()),
        None => broken(id),
    })
}

/// What is shown of a sandbox whose labels cannot be read.
pub(crate) fn broken(id: SandboxId) -> SandboxInfo {
    let mut info = SandboxInfo::new(id, NAME, SandboxStatus::Error);
    info.reason = Some("its labels are not as Grainchain writes them".to_owned());
    info
}

fn status(state: ContainerState) -> SandboxStatus {
    match state {
        ContainerState::Created => SandboxStatus::Creating,
        ContainerState::Running => SandboxStatus::Running,
        ContainerState::Paused => SandboxStatus::Paused,
        ContainerState::Exited | ContainerState::Removing => SandboxStatus::Stopped,
        ContainerState::Dead => SandboxStatus::Error,
        ContainerState::Unknown => SandboxStatus::Unknown,
    }
}

fn milliseconds(time: SystemTime) -> u128 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// `time` since 1970 in nanoseconds, as labels spell it.
pub(crate) fn nanoseconds(time: SystemTime) -> u128 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos()
}

fn time(text: &str) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(text.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            id: "sb_1".into(),
            owner: "me".into(),
            key: "key".into(),
            created_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_234_567),
            expires_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(9999)),
            metadata: BTreeMap::from([("ugly".to_owned(), "a='b' \"c\"\n日本".to_owned())]),
            config: Shown { working_directory: "/workspace".into(), cpus: Some(0.5), ..Shown::default() },
            token: Some("secret".into()),
        }
    }

    fn container(name: &str, labels: BTreeMap<String, String>) -> Container {
        Container {
            name: name.into(),
            state: ContainerState::Running,
            labels: labels.into_iter().collect(),
            reason: None,
            created: None,
        }
    }

    #[test]
    fn an_identity_survives_being_written_as_labels() {
        let labels: HashMap<_, _> = identity().labels().into_iter().collect();
        assert_eq!(Identity::of(&labels), Some(identity()));
        let mut endless = identity();
        endless.expires_at = None;
        assert_eq!(Identity::of(&endless.labels().into_iter().collect()), Some(endless));
    }

    #[test]
    fn a_working_directory_below_a_volume_is_held_by_no_image() {
        let kept = |outside: &str| {
            Shown {
                working_directory: "/data/here".into(),
                outside: vec![outside.into()],
                ..Shown::default()
            }
            .is_kept_by_images()
        };
        assert!(kept("/cache") && kept("/dat") && kept("/data/here/below"));
        assert!(!kept("/data") && !kept("/data/here"));
    }

    #[test]
    fn a_container_that_is_being_replaced_is_no_second_sandbox() {
        assert!(info_of(&container("grainchain-sb_1", identity().labels())).is_some());
        assert!(info_of(&container("grainchain-sb_1-new", identity().labels())).is_none());
        assert!(info_of(&container("somebody", BTreeMap::new())).is_none());
    }

    #[test]
    fn a_sandbox_whose_labels_are_broken_is_shown_as_broken_and_not_hidden() {
        let labels = BTreeMap::from([(SANDBOX.to_owned(), "sb_1".to_owned())]);
        let info = info_of(&container("grainchain-sb_1", labels)).unwrap();
        assert_eq!(info.status, SandboxStatus::Error);
        assert!(info.reason.is_some());
    }

    #[test]
    fn ids_that_no_container_can_have_are_never_asked_for() {
        for id in ["", ".", "..", "../x", "a/b", "a\0b", "*", "%2e", &"x".repeat(5000)] {
            assert!(!is_possible(&id.into()), "{id}");
        }
        assert!(is_possible(&"sb_abc-1".into()));
    }
}
