//! Makes a sandbox: image, container, working directory, start. Nothing is left of one that could not be made or that nobody waits for.

use std::sync::Arc;
use std::time::SystemTime;

use grainchain_core::types::id::SandboxId;
use grainchain_core::{CreateRequest, Error, ErrorKind, Result};
use tar::{EntryType, Header};

use crate::asleep;
use crate::config::config_folder;
use crate::engine::{ContainerState, Engine, Image};
use crate::guest::{Inside, Orders, is_for, new_token};
use crate::labels::{Identity, Shown, container_name};
use crate::options::{Plan, Source, User, user_of};
use crate::provider::Shared;
use crate::replace;

/// The most of `/etc/passwd` that is looked at.
const PASSWD: usize = 1 << 20;

/// A sandbox that was made, and its inside where it has a helper.
pub(crate) type Made = (Identity, Option<Arc<Inside>>);

/// Makes the sandbox that `request` asks for, or finds the one that the same request made before.
pub(crate) async fn make(
    shared: &Shared,
    request: CreateRequest,
    is_unwanted: impl Fn() -> bool + Send + Sync,
) -> Result<Made> {
    let plan = Plan::new(&shared.config, &request.config)?;
    let engine = &shared.engine;
    let image = image(shared, &plan).await?;
    let plan = plan.with_volumes_of(&image);
    if let Some(helper) = &shared.helper {
        check_machine(shared).await?;
        helper.ensure(engine, &image.id).await?;
    }
    let id = id_of(&request.key);
    let created_at = SystemTime::now();
    let lifetime = request.config.lifetime;
    let identity = Identity {
        id: id.clone(),
        owner: request.owner,
        key: request.key,
        created_at,
        expires_at: lifetime.and_then(|lifetime| created_at.checked_add(lifetime)),
        metadata: request.config.metadata,
        config: Shown {
            image: match &plan.source {
                Source::Image(reference) => Some(reference.clone()),
                _ => image.tags.first().cloned(),
            },
            template: request.config.template,
            working_directory: plan.working_directory.clone(),
            memory_bytes: plan.memory.map(|memory| memory.as_u64()),
            cpus: plan.cpus,
            keep_alive: request.config.keep_alive || !request.config.auto_cleanup,
            outside: plan.outside(shared.config.guest),
            apart: if shared.helper.is_some() { plan.apart() } else { Vec::new() },
            is_hidden: plan.is_hidden(),
            lease: Some(plan.lease),
        },
        token: shared.helper.as_ref().map(|_| new_token()),
    };
    let spec = match (&shared.helper, &identity.token) {
        (Some(helper), Some(token)) => {
            let capabilities = plan.options.cap_add.clone().unwrap_or_default();
            let orders = Orders::new(&identity, token, user_of(&plan, &image).spelt(), &capabilities);
            plan.spec_with_helper(&image, &identity.labels(), helper.mount(true), &orders)?
        }
        _ => plan.spec(&image, lifetime, &identity.labels())?,
    };
    let name = container_name(&id);
    let new_volumes = missing_volumes(engine, &plan).await?;
    if plan.options.disk.is_some() {
        has_quotas(engine).await?;
    }
    let made = engine.create_told(&name, plan.options.platform.as_deref(), &spec).await;
    let container = match made {
        Ok((container, warnings)) => match warnings.iter().find_map(|warning| discarded(warning)) {
            None => container,
            Some(refusal) => {
                tidy(engine, Some(&container), &new_volumes).await;
                return Err(refusal);
            }
        },
        Err(error) if error.kind() == ErrorKind::Conflict => {
            return adopt(engine, &name, &identity, error).await.map(|own| (own, None));
        }
        Err(error) => {
            tidy(engine, None, &new_volumes).await;
            return Err(explained(error, &plan));
        }
    };
    // Whoever puts it to sleep makes the image before the name is free.
    let earlier = sleeping(engine, &identity).await;
    if !matches!(earlier, Ok(None)) {
        tidy(engine, Some(&container), &new_volumes).await;
    }
    if let Some(own) = earlier? {
        return Ok((own, None));
    }
    let ready = async {
        if identity.token.is_none() {
            has_sleep(engine, &name).await?;
            prepare(engine, &name, &plan, &image).await?;
        }
        if is_unwanted() {
            return Err(Error::new(ErrorKind::Conflict, "nobody waits for the sandbox any more"));
        }
        replace::start(engine, &container, &identity, &shared.stills).await
    };
    match ready.await {
        Ok(inside) => Ok((identity, inside)),
        Err(error) => {
            tidy(engine, Some(&name), &new_volumes).await;
            Err(explained(error, &plan))
        }
    }
}

/// Refuses a limit on the disk where the engine would take it and not keep it.
async fn has_quotas(engine: &Engine) -> Result<()> {
    let (_, info) = engine.describe().await?;
    let status = info.driver_status.into_iter().flatten().flatten();
    if !status.into_iter().any(|word| word.starts_with("io.containerd.snapshotter")) {
        return Ok(());
    }
    let remedy = "leave it out, or use an engine with overlay2 on xfs with project quotas";
    Err(Error::unsupported("a limit on the disk with containerd's image store", remedy).option("disk"))
}

/// The refusal for a limit that the engine leaves out, if `warning` says that.
fn discarded(warning: &str) -> Option<Error> {
    let said = warning.to_lowercase();
    if !said.contains("discarded") {
        return None;
    }
    let options = [("pids", "pids"), ("memory limit", "memory_limit"), ("cpu", "cpu_limit")];
    let (_, option) = options.into_iter().find(|(word, _)| said.contains(word))?;
    let what = format!("the engine cannot keep the limit `{option}`: {}", warning.escape_debug());
    let hint = "mend the engine's control groups, or set `memory = 0`, `pids = 0` for no limit";
    Some(
        Error::new(ErrorKind::Unsupported, what)
            .hint(hint)
            .option(option)
            .effect(grainchain_core::Effect::None),
    )
}

/// Refuses engines on other machines than the helper's.
async fn check_machine(shared: &Shared) -> Result<()> {
    let architecture = shared
        .architecture
        .get_or_try_init(|| async {
            let (_, info) = shared.engine.describe().await?;
            Ok::<_, Error>(info.architecture.unwrap_or_default())
        })
        .await?;
    if is_for(architecture) {
        return Ok(());
    }
    let message = format!("a helper on an engine for {}", architecture.escape_debug());
    Err(Error::unsupported(message, "set guest = \"engine\" in [providers.docker]").option("guest"))
}

/// The same key makes the same name, which the engine gives away once.
fn id_of(key: &str) -> SandboxId {
    SandboxId::new(format!("sb_{}", &crate::hash::hex(key.as_bytes())[..26]))
}

async fn image(shared: &Shared, plan: &Plan) -> Result<Image> {
    let engine = &shared.engine;
    match &plan.source {
        Source::Image(reference) => {
            let platform = plan.options.platform.as_deref();
            let policy = plan.options.pull.unwrap_or_default();
            shared.pulls.ensure(engine, reference, platform, policy, config_folder(), &shared.watcher).await
        }
        Source::Template(wanted) => crate::templates::find(engine, wanted).await,
        Source::Build(recipe) => recipe.ensure(engine, &shared.watcher).await,
    }
}

/// `found`, if the request of `identity` made it.
fn same(found: Option<Identity>, identity: &Identity) -> Option<Identity> {
    found.filter(|own| !own.key.is_empty() && own.key == identity.key)
}

/// The sandbox that the request of `identity` made before and that is asleep. One whose lifetime is over is gone.
async fn sleeping(engine: &Engine, identity: &Identity) -> Result<Option<Identity>> {
    let Some(image) = asleep::find(engine, &container_name(&identity.id)).await? else { return Ok(None) };
    if asleep::is_over(&image, SystemTime::now()) {
        crate::snapshots::remove_all(engine, &identity.id).await?;
        return Ok(None);
    }
    same(Identity::of(&image.labels), identity).ok_or_else(taken).map(Some)
}

fn taken() -> Error {
    Error::new(ErrorKind::Conflict, "another sandbox that is stopped has the id of this one")
        .hint("close it, or create this one again")
}

/// The sandbox that the same request made before, whose answer was lost.
async fn adopt(engine: &Engine, name: &str, identity: &Identity, conflict: Error) -> Result<Identity> {
    let Some(found) = engine.inspect(name).await? else { return Err(conflict) };
    let Some(own) = same(Identity::of(&found.labels), identity) else { return Err(conflict) };
    if found.state == ContainerState::Created {
        // The first request may be about to do this; the engine does it once.
        engine.start(name).await?;
    }
    Ok(own)
}

/// The volumes of `plan` that the engine would make on the way.
async fn missing_volumes(engine: &Engine, plan: &Plan) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for mount in plan.mounts.iter().filter(|mount| !mount.is_bind()) {
        if !engine.has_volume(&mount.source).await? {
            missing.push(mount.source.clone());
        }
    }
    Ok(missing)
}

/// Removes what a sandbox left that could not be made. The first fault is the one to tell; what cannot be removed now is found by
/// `sweep`.
async fn tidy(engine: &Engine, container: Option<&str>, volumes: &[String]) {
    if let Some(name) = container
        && let Err(error) = engine.remove(name).await
    {
        tracing::debug!(%error, "a container that could not be started could not be removed either");
    }
    for volume in volumes {
        if let Err(error) = engine.remove_volume(volume).await {
            tracing::debug!(%error, "a volume of a sandbox that could not be made could not be removed");
        }
    }
}

/// Refuses an image without the program that keeps its sandboxes up: they would vanish at once, and the engine would not say why.
async fn has_sleep(engine: &Engine, name: &str) -> Result<()> {
    for place in ["/bin/sleep", "/usr/bin/sleep", "/usr/local/bin/sleep"] {
        if engine.exists(name, place).await? {
            return Ok(());
        }
    }
    Err(Error::bad_request(
        "the image has no `sleep`, which keeps a sandbox up that the engine's own exec serves",
    )
    .hint("choose another image")
    .option("image"))
}

/// Makes the working directory, for the user that commands run as. One that the image has stays as it is.
async fn prepare(engine: &Engine, name: &str, plan: &Plan, image: &Image) -> Result<()> {
    let place = plan.working_directory.as_str();
    let is_in_memory = plan.options.read_only.unwrap_or(false)
        || plan.options.tmpfs.iter().flatten().any(|(path, _)| path == place)
        || plan.mounts.iter().any(|mount| mount.target == place);
    if is_in_memory {
        return Ok(());
    }
    if engine.is_a_file(name, place).await? {
        return Err(Error::bad_request(format!(
            "the working directory `{}` is a file",
            place.escape_debug()
        ))
        .hint("name a folder that is there, or one where folders can be made")
        .option("working_directory"));
    }
    if engine.exists(name, place).await? {
        return Ok(());
    }
    let (uid, gid) = match user_of(plan, image) {
        User::Number { uid, gid } => (uid, gid),
        User::Name(user) => {
            let passwd = engine.get_archive(name, "/etc/passwd", PASSWD).await?;
            passwd.and_then(|tar| number_of(&tar, &user)).ok_or_else(|| {
                Error::not_found(format!("the image has no user `{}`", user.escape_debug()))
                    .hint("name another one, or a number")
                    .option("user")
            })?
        }
    };
    engine.put_archive(name, "/", folder(place, uid, gid)?.into()).await
}

/// A tar with nothing in it but the folder `place`, and those above it that the engine makes if they are missing.
fn folder(place: &str, uid: u32, gid: u32) -> Result<Vec<u8>> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    header.set_mode(0o755);
    header.set_uid(uid.into());
    header.set_gid(gid.into());
    header.set_size(0);
    let mut tar = tar::Builder::new(Vec::new());
    let relative = format!("{}/", place.trim_start_matches('/'));
    tar.append_data(&mut header, relative, std::io::empty())
        .and_then(|()| tar.into_inner())
        .map_err(|error| Error::io("describe the working directory", error).option("working_directory"))
}

/// User and group of `user` in a tar of `/etc/passwd`.
fn number_of(tar: &[u8], user: &str) -> Option<(u32, u32)> {
    use std::io::Read;
    let mut archive = tar::Archive::new(tar);
    let mut text = String::new();
    archive.entries().ok()?.next()?.ok()?.read_to_string(&mut text).ok()?;
    let (user, group) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
    let line = text.lines().find(|line| line.split(':').next() == Some(user))?;
    let mut fields = line.split(':').skip(2);
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((uid, group.and_then(|group| group.parse().ok()).unwrap_or(gid)))
}

/// Names the option where the engine's words alone do not tell.
fn explained(error: Error, plan: &Plan) -> Error {
    let said = error.message().to_lowercase();
    let (kind, message, option, hint) =
        if said.contains("network") && (said.contains("not found") || said.contains("no such network")) {
            let message = format!("the engine has no network `{}`", plan.network);
            (ErrorKind::NotFound, message, "network", "make it first, or use none or bridge")
        } else if said.contains("shim") && plan.options.runtime.is_some() && said.contains("no such file") {
            let message = format!(
                "the engine's runtime `{}` is not installed",
                plan.options.runtime.as_deref().unwrap_or_default()
            );
            (ErrorKind::BadRequest, message, "runtime", "install it on the engine's machine, or leave it out")
        } else {
            return error;
        };
    Error::new(kind, message).option(option).hint(hint).effect(grainchain_core::Effect::None).caused_by(error)
}

/// Ends the sandbox of `identity`, made for somebody who does not wait for it any more.
pub(crate) async fn unmake(shared: &Shared, identity: &Identity) {
    if let Err(error) = shared.engine.remove(&container_name(&identity.id)).await {
        tracing::debug!(%error, "a sandbox that nobody waits for could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwd(text: &str) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_size(text.len() as u64);
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_data(&mut header, "passwd", text.as_bytes()).unwrap();
        tar.into_inner().unwrap()
    }

    #[test]
    fn a_users_number_is_read_from_the_image() {
        let tar = passwd("root:x:0:0::/root:/bin/sh\nnode:x:1000:1001::/home/node:/bin/sh\n");
        assert_eq!(number_of(&tar, "node"), Some((1000, 1001)));
        assert_eq!(number_of(&tar, "node:7"), Some((1000, 7)));
        assert_eq!(number_of(&tar, "nod"), None);
        assert_eq!(number_of(b"no tar", "node"), None);
    }

    #[test]
    fn a_limit_that_the_engine_leaves_out_is_refused_by_name() {
        let option = |warning: &str| {
            discarded(warning).map(|error| error.failed_option().unwrap_or_default().to_owned())
        };
        let lost = |what: &str| {
            format!("Your kernel does not support {what} capabilities or the cgroup is not mounted.")
        };
        let memory = format!("{} Limitation discarded.", lost("memory limit"));
        assert_eq!(option(&memory).as_deref(), Some("memory_limit"));
        let pids = format!("{} PIDs limit discarded.", lost("PIDs limit"));
        assert_eq!(option(&pids).as_deref(), Some("pids"));
        // There may be no swap, and then nothing is lost.
        assert_eq!(option(&format!("{} Memory limited without swap.", lost("swap limit"))), None);
        assert_eq!(option("Published ports are discarded when using host network mode"), None);
    }

    #[test]
    fn the_same_key_means_the_same_sandbox_and_another_key_another_one() {
        assert_eq!(id_of("a"), id_of("a"));
        assert_ne!(id_of("a"), id_of("b"));
        assert_eq!(id_of("a").as_str().len(), 29);
    }
}
