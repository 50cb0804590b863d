//! What interrupted operations left: containers that never ran or were replaced, and snapshots of sandboxes that are gone. Sandboxes
//! whose lifetime has ended in their sleep, too: no process of theirs can see to that.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use grainchain_core::{DryRun, Result};

use crate::asleep;
use crate::engine::{Container, ContainerState, Engine, Image, age};
use crate::fork::{FORK, release};
use crate::guest::{FILLER, HELPER};
use crate::labels::{SANDBOX, container_name};
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
    for filler in engine.containers(&[HELPER.to_owned()]).await? {
        if !is_filler(&filler, SystemTime::now()) {
            continue;
        }
        found.push(format!("container {}", filler.name));
        if dry_run == DryRun::No {
            engine.remove(&filler.name).await?;
        }
    }
    let (needless, asleep): (Vec<_>, Vec<_>) = asleep::all(engine)
        .await?
        .into_iter()
        .partition(|image| is_needless(image, &containers, SystemTime::now()));
    for image in needless {
        found.push(format!("image {}", image.tags.first().unwrap_or(&image.id)));
        if dry_run == DryRun::No {
            remove_image(engine, &image).await?;
        }
    }
    let all_labels =
        || containers.iter().map(|found| &found.labels).chain(asleep.iter().map(|image| &image.labels));
    let living: HashSet<_> = all_labels().filter_map(|labels| labels.get(SANDBOX)).collect();
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
    let used: HashSet<_> = all_labels().filter_map(|labels| labels.get(FORK)).collect();
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

/// Whether `container` was to fill the helper's volume, and that was cut off.
fn is_filler(container: &Container, now: SystemTime) -> bool {
    let age = container.created.and_then(|created| age(created, now));
    container.name.starts_with(FILLER) && age.is_some_and(|age| age >= YOUNG)
}

/// Whether nobody needs `image`, which is or was that of a sandbox asleep.
fn is_needless(image: &Image, containers: &[Container], now: SystemTime) -> bool {
    let is_old =
        |created: Option<i64>| created.and_then(|created| age(created, now)).is_some_and(|age| age >= YOUNG);
    match asleep::sandbox_of(image) {
        Some(id) => {
            let name = container_name(&id);
            match containers.iter().find(|container| container.name == name && asleep::is_up(container)) {
                // It was put to sleep or woken up, and that was cut off.
                Some(container) => is_old(container.created) && is_old(Some(image.created)),
                None => asleep::is_over(image, now),
            }
        }
        // A sandbox that was woken up stood on it.
        None => {
            !containers.iter().any(|container| container.labels.get(SANDBOX) == image.labels.get(SANDBOX))
        }
    }
}

fn fault(container: &Container, names: &HashSet<&str>, now: SystemTime) -> Option<Fault> {
    let age = container.created.and_then(|created| age(created, now));
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
    use std::collections::HashMap;

    use super::*;

    fn judged(name: &str, state: ContainerState, created: Option<i64>, others: &[&str]) -> Option<Fault> {
        let container =
            Container { name: name.into(), state, labels: Default::default(), reason: None, created };
        let names = others.iter().copied().chain([name]).collect();
        fault(&container, &names, SystemTime::UNIX_EPOCH + Duration::from_secs(10_000))
    }

    /// Whether the image of `sb_1` is needless beside its container of this state and age, where there is one. Now is 10 000.
    fn needless(tag: &str, made: i64, expires_ms: &str, container: Option<(ContainerState, i64)>) -> bool {
        let labels: HashMap<_, _> = [
            (SANDBOX, "sb_1"),
            ("grainchain.created", "1"),
            ("grainchain.expires", expires_ms),
            ("grainchain.config", r#"{"working_directory":"/","keep_alive":false}"#),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let containers = container.map(|(state, created)| Container {
            name: "grainchain-sb_1".into(),
            state,
            labels: labels.clone(),
            reason: None,
            created: Some(created),
        });
        let image = Image {
            id: "sha256:1".into(),
            tags: vec![tag.into()],
            labels,
            created: made,
            ..Image::default()
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        is_needless(&image, containers.as_slice(), now)
    }

    #[test]
    fn an_image_that_a_sandbox_sleeps_in_is_needed_until_its_lifetime_is_over() {
        let name = "grainchain/asleep:sb_1";
        assert!(!needless(name, 0, "", None));
        assert!(!needless(name, 0, "10001000", None));
        assert!(needless(name, 0, "9999000", None));
        // A wake-up is at work, or was cut off.
        assert!(!needless(name, 0, "", Some((ContainerState::Created, 0))));
    }

    #[test]
    fn what_a_terminate_or_a_wake_up_left_is_found_when_it_is_old() {
        let (name, up) = ("grainchain/asleep:sb_1", ContainerState::Running);
        assert!(needless(name, 0, "", Some((up, 0))));
        assert!(!needless(name, 9_900, "", Some((up, 0))), "a terminate is at work");
        assert!(!needless(name, 0, "", Some((up, 9_900))), "a wake-up is at work");
        assert!(!needless("", 0, "", Some((up, 0))), "its container stands on it");
        assert!(needless("", 0, "", None));
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
