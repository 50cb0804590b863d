//! What interrupted operations left: containers that never ran or were replaced, and snapshots of sandboxes that are gone.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use grainchain_core::{DryRun, Result};

use crate::engine::{Container, ContainerState, Engine};
use crate::fork::{FORK, release};
use crate::labels::SANDBOX;
use crate::replace::{LAST, NEXT};
use crate::snapshots::{SNAPSHOT, remove_image};

/// What is younger may still be at work.
const YOUNG: Duration = Duration::from_secs(600);

/// Why a container is not needed, if it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It never ran, and whoever made it is not about to start it.
    NeverRan,
    /// Another one has its place.
    Replaced,
    /// It was to be replaced, and that was cut off: its place is empty.
    Displaced,
}

/// Removes what nobody needs, and names it; displaced containers get their place back.
pub(crate) async fn sweep(engine: &Engine, dry_run: DryRun) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let containers = engine.containers(&[SANDBOX.to_owned()]).await?;
    let names: HashSet<&str> = containers.iter().map(|container| container.name.as_str()).collect();
    for container in &containers {
        let Some(fault) = fault(container, &names, SystemTime::now()) else { continue };
        found.push(format!("container {}", container.name));
        if dry_run == DryRun::Yes {
            continue;
        }
        match (fault, container.name.strip_suffix(LAST)) {
            (Fault::Displaced, Some(place)) => engine.rename(&container.name, place).await?,
            _ => drop(engine.remove(&container.name).await?),
        }
    }
    let living: HashSet<_> =
        containers.iter().filter_map(|container| container.labels.get(SANDBOX)).collect();
    for image in engine.images(&[SNAPSHOT.to_owned()]).await? {
        if image.labels.get(FORK).is_some_and(|base| !base.is_empty()) {
            continue;
        }
        let is_orphan = image.labels.get(SANDBOX).is_none_or(|id| !living.contains(id));
        if is_orphan && !image.tags.is_empty() {
            found.push(format!("snapshot {}", image.tags.first().unwrap_or(&image.id)));
            if dry_run == DryRun::No {
                remove_image(engine, &image).await?;
            }
        }
    }
    let used: HashSet<_> = containers.iter().filter_map(|container| container.labels.get(FORK)).collect();
    for image in engine.images(&[FORK.to_owned()]).await? {
        let Some(base) =
            image.labels.get(FORK).filter(|base| image.tags.contains(base) && !used.contains(base))
        else {
            continue;
        };
        found.push(format!("image {base}"));
        if dry_run == DryRun::No {
            release(engine, base).await?;
        }
    }
    Ok(found)
}

fn fault(container: &Container, names: &HashSet<&str>, now: SystemTime) -> Option<Fault> {
    let age = container.created.and_then(|seconds| {
        let made = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))?;
        now.duration_since(made).ok()
    });
    // One whose age nobody knows is left alone.
    if age.is_none_or(|age| age < YOUNG) {
        return None;
    }
    if let Some(place) = container.name.strip_suffix(LAST) {
        return Some(if names.contains(place) { Fault::Replaced } else { Fault::Displaced });
    }
    if container.name.ends_with(NEXT) || container.state == ContainerState::Created {
        return Some(Fault::NeverRan);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(name: &str, state: ContainerState, created: Option<i64>, others: &[&str]) -> Option<Fault> {
        let container =
            Container { name: name.into(), state, labels: Default::default(), reason: None, created };
        let names = others.iter().copied().chain([name]).collect();
        fault(&container, &names, SystemTime::UNIX_EPOCH + Duration::from_secs(10_000))
    }

    #[test]
    fn what_runs_or_may_still_be_at_work_is_left_alone() {
        assert_eq!(judged("a", ContainerState::Running, Some(0), &[]), None);
        assert_eq!(judged("a", ContainerState::Paused, Some(0), &[]), None);
        assert_eq!(judged("a", ContainerState::Created, Some(9_900), &[]), None);
        assert_eq!(judged("a-next", ContainerState::Created, Some(9_900), &[]), None);
        assert_eq!(judged("a-last", ContainerState::Running, None, &["a"]), None);
    }

    #[test]
    fn what_never_ran_or_was_replaced_is_found_and_what_lost_its_place_gets_it_back() {
        assert_eq!(judged("a", ContainerState::Created, Some(0), &[]), Some(Fault::NeverRan));
        assert_eq!(judged("a-next", ContainerState::Created, Some(0), &["a"]), Some(Fault::NeverRan));
        assert_eq!(judged("a-last", ContainerState::Running, Some(0), &["a"]), Some(Fault::Replaced));
        assert_eq!(judged("a-last", ContainerState::Running, Some(0), &[]), Some(Fault::Displaced));
    }
}
