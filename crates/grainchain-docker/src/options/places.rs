//! Which places of a sandbox lie where, as far as an image of it is concerned.

use super::Plan;
use crate::config::GuestKind;
use crate::engine::Image;

/// Runtimes that let a container write to the engine's own storage.
const OPEN_RUNTIMES: [&str; 8] = [
    "runc",
    "io.containerd.runc.v2",
    "crun",
    "youki",
    "nvidia",
    "kata",
    "kata-runtime",
    "io.containerd.kata.v2",
];

impl Plan {
    /// The plan with the volumes that `image` declares.
    pub(crate) fn with_volumes_of(mut self, image: &Image) -> Self {
        let in_memory = self.in_memory();
        let is_free = |place: &&String| {
            place.starts_with('/')
                && !in_memory.contains(place)
                && self.mounts.iter().all(|mount| mount.target != **place)
        };
        self.declared = image.volumes.iter().filter(is_free).cloned().collect();
        self
    }

    /// Whether its runtime may keep what is written where no commit finds it, as that of gVisor does.
    pub(crate) fn is_hidden(&self) -> bool {
        self.options.runtime.as_deref().is_some_and(|runtime| !OPEN_RUNTIMES.contains(&runtime))
    }

    /// Folders that no commit holds and nobody shares: those in memory, and volumes that the image declares. Outer ones first.
    pub(crate) fn apart(&self) -> Vec<String> {
        let mut places = self.in_memory();
        places.extend(self.declared.iter().cloned());
        places.sort();
        places
    }

    /// Places whose content no snapshot holds: volumes, which others may share, and without a helper all folders apart.
    pub(crate) fn outside(&self, guest: GuestKind) -> Vec<String> {
        let mut places: Vec<String> = self.mounts.iter().map(|mount| mount.target.clone()).collect();
        if guest == GuestKind::Engine {
            places.extend(self.apart());
        }
        places.sort();
        places.dedup();
        places
    }

    /// Folders in memory: those asked for and, where the image cannot be changed, the places that commands write to. Outer ones first.
    pub(crate) fn in_memory(&self) -> Vec<String> {
        let mut places: Vec<String> =
            self.options.tmpfs.iter().flatten().map(|(path, _)| path.clone()).collect();
        if self.options.read_only.unwrap_or(false) {
            places.extend(["/tmp".to_owned(), self.working_directory.clone()]);
        }
        places.retain(|place| self.mounts.iter().all(|mount| mount.target != *place));
        places.sort();
        places.dedup();
        places
    }
}

#[cfg(test)]
mod tests {
    use grainchain_core::{Result, SandboxConfig};
    use serde_json::json;

    use super::*;
    use crate::config::DockerConfig;

    fn plan(config: SandboxConfig) -> Result<Plan> {
        Plan::new(&DockerConfig::default(), &config)
    }

    #[test]
    fn what_no_snapshot_holds_is_known() {
        let outside = |config: SandboxConfig| plan(config).unwrap().outside(GuestKind::Engine);
        assert!(outside(SandboxConfig::default()).is_empty());
        let config = SandboxConfig::default().provider_option("read_only", true);
        assert_eq!(outside(config), ["/tmp", "/workspace"]);
        let config = SandboxConfig::default()
            .provider_option("volumes", json!(["cache:/cache"]))
            .provider_option("tmpfs", json!({ "/scratch": "1MiB" }));
        assert_eq!(outside(config.clone()), ["/cache", "/scratch"]);
        let with_helper = plan(config).unwrap();
        assert_eq!(with_helper.outside(GuestKind::Helper), ["/cache"]);
        assert_eq!(with_helper.in_memory(), ["/scratch"]);
        let config = SandboxConfig::default()
            .provider_option("read_only", true)
            .provider_option("volumes", json!(["own:/workspace"]));
        assert_eq!(plan(config).unwrap().in_memory(), ["/tmp"]);
    }

    #[test]
    fn volumes_that_an_image_declares_are_kept_apart_unless_something_else_is_there() {
        let image = Image {
            volumes: ["/data", "/cache", "/scratch", "odd"].map(str::to_owned).to_vec(),
            ..Image::default()
        };
        let config = SandboxConfig::default()
            .provider_option("volumes", json!(["cache:/cache"]))
            .provider_option("tmpfs", json!({ "/scratch": "1MiB" }));
        let plan = plan(config).unwrap().with_volumes_of(&image);
        assert_eq!(
            (plan.declared.clone(), plan.apart()),
            (vec!["/data".to_owned()], vec!["/data".to_owned(), "/scratch".to_owned()])
        );
        assert_eq!(plan.outside(GuestKind::Helper), ["/cache"]);
        assert_eq!(plan.outside(GuestKind::Engine), ["/cache", "/data", "/scratch"]);
    }

    #[test]
    fn what_a_runtime_of_another_kind_writes_may_be_hidden() {
        let is_hidden = |runtime: Option<&str>| {
            let config = SandboxConfig::default();
            plan(runtime.map_or(config.clone(), |runtime| config.provider_option("runtime", runtime)))
                .unwrap()
                .is_hidden()
        };
        assert!(!is_hidden(None) && !is_hidden(Some("runc")) && !is_hidden(Some("kata")));
        assert!(is_hidden(Some("runsc")) && is_hidden(Some("mine")));
    }
}
