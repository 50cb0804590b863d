//! Folders in memory, as the engine wants to be told of them.

use std::collections::BTreeMap;

use grainchain_core::{Error, Result};
use serde_json::{Value, json};

use super::{Plan, User};

impl Plan {
    /// Refuses a folder in memory at `path` that would be full only when nothing is left to run in: whatever wants to run is killed then.
    fn fits(&self, path: &str) -> Result<()> {
        let size =
            self.options.tmpfs.iter().flatten().find_map(|(place, size)| (place == path).then_some(*size));
        let (Some(size), Some(memory)) = (size, self.memory) else { return Ok(()) };
        if size < memory {
            return Ok(());
        }
        let message = format!(
            "the folder `{}` may take {size} of the sandbox's {memory} of memory",
            path.escape_debug()
        );
        Err(Error::bad_request(message)
            .hint("make it smaller, or give the sandbox more memory")
            .option("tmpfs"))
    }

    /// Folders in memory: those asked for and, where the image cannot be changed, the places that commands write to.
    pub(super) fn tmpfs(&self, user: &User) -> Result<Value> {
        let mut folders: BTreeMap<&str, String> = BTreeMap::new();
        let asked = self.options.tmpfs.iter().flatten();
        let sized = asked.map(|(path, size)| (path.as_str(), format!(",size={}", size.as_u64())));
        // Full, both leave something to run in. A limit of the engine's own would be half of its machine.
        let part =
            |of: u64| self.memory.map(|memory| format!(",size={}", memory.as_u64() / of)).unwrap_or_default();
        let own = [("/tmp", part(4)), (self.working_directory.as_str(), part(2))];
        let own = own.into_iter().filter(|_| self.options.read_only.unwrap_or(false));
        for (path, size) in own.chain(sized) {
            if !path.starts_with('/') || path == "/" {
                return Err(Error::bad_request(format!(
                    "`{}` is no folder for a tmpfs",
                    path.escape_debug()
                ))
                .hint("name an absolute path below the root")
                .option("tmpfs"));
            }
            if self.mounts.iter().any(|mount| mount.target == path) {
                continue;
            }
            self.fits(path)?;
            let User::Number { uid, gid } = user else {
                return Err(Error::bad_request("folders in memory need an owner by number")
                    .hint("set user to UID:GID, as in 1000:1000")
                    .option("user"));
            };
            // Without `exec` nothing built there could run.
            folders.insert(path, format!("rw,exec,nosuid,nodev,uid={uid},gid={gid}{size}"));
        }
        Ok(json!(folders))
    }
}

#[cfg(test)]
mod tests {
    use grainchain_core::{ByteSize, SandboxConfig};

    use super::*;
    use crate::config::DockerConfig;

    fn tmpfs(config: &SandboxConfig) -> Result<Value> {
        Plan::new(&DockerConfig::default(), config)?.tmpfs(&User::Number { uid: 1000, gid: 1000 })
    }

    #[test]
    fn a_read_only_image_leaves_the_workspace_and_tmp_writable_for_the_user() {
        let tmpfs = tmpfs(&SandboxConfig::default().provider_option("read_only", true)).unwrap();
        assert_eq!(tmpfs["/workspace"], "rw,exec,nosuid,nodev,uid=1000,gid=1000,size=1073741824");
        assert_eq!(tmpfs["/tmp"], "rw,exec,nosuid,nodev,uid=1000,gid=1000,size=536870912");
        assert_eq!(tmpfs.as_object().unwrap().len(), 2);
    }

    #[test]
    fn a_folder_in_memory_leaves_some_to_run_in() {
        let made = |size: &str, memory: Option<ByteSize>| {
            let mut config = SandboxConfig::default().provider_option("tmpfs", json!({ "/scratch": size }));
            config.memory_limit = memory;
            tmpfs(&config)
        };
        assert!(made("1GiB", None).is_ok() && made("64MiB", Some(ByteSize::mib(65))).is_ok());
        for (size, memory) in [("2GiB", None), ("64MiB", Some(ByteSize::mib(64)))] {
            let error = made(size, memory).unwrap_err();
            assert_eq!((error.failed_option(), error.remedy().is_some()), (Some("tmpfs"), true));
        }
    }
}
