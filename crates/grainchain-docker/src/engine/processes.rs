//! The engine's processes as this machine knows them.

use std::sync::atomic::Ordering;

use bollard::query_parameters::InspectContainerOptions;
use grainchain_core::Result;

use super::{CONTROL, Engine, ask};

impl Engine {
    /// The number that the first process of the container `name` has on this machine; none where it runs on another one, or in another
    /// view of this one, and where it stands still and would answer nobody.
    pub(crate) async fn process_here(&self, name: &str) -> Result<Option<u32>> {
        if !self.is_here.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let call = self.docker.inspect_container(name, None::<InspectContainerOptions>);
        let found = ask("look at the container", CONTROL, call).await?;
        let running = found.state.filter(|state| state.paused != Some(true));
        let number = running.and_then(|state| u32::try_from(state.pid?).ok()).filter(|number| *number > 0);
        let (Some(id), Some(number)) = (found.id, number) else { return Ok(None) };
        let groups = std::fs::read_to_string(format!("/proc/{number}/cgroup")).unwrap_or_default();
        Ok(is_of(&groups, &id).then_some(number))
    }
}

/// Whether a process in these control groups, one to a line, is of the container `id`: whatever manages groups calls one after it.
fn is_of(groups: &str, id: &str) -> bool {
    id.len() == 64 && groups.lines().any(|line| line.contains(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_groups_of_a_container_say_that_a_process_is_its_own() {
        let id = "0123456789abcdef".repeat(4);
        let of = |groups: &str| is_of(groups, &id);
        assert!(of(&format!("13:pids:/docker/{id}\n12:memory:/docker/{id}\n")));
        assert!(of(&format!("0::/system.slice/docker-{id}.scope\n")));
        assert!(!of(&format!("0::/docker/{}\n", "f".repeat(64))));
        assert!(!of("0::/\n") && !of(""));
        assert!(!is_of("0::/init.scope\n", ""));
    }
}
