//! Containers: made, looked at, changed and removed.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use bollard::models::{
    ContainerConfig, ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary,
    ContainerSummaryStateEnum,
};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder, StartContainerOptions,
    WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;
use grainchain_core::{Error, ErrorKind, Result};
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::{CONTROL, Engine, SLOW, ask, within};
use crate::error;

/// How long it is waited to be told of a removal before it is looked whether it is done.
const TOLD: Duration = Duration::from_secs(2);

/// What the engine says a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContainerState {
    /// Made, or about to run again.
    Created,
    /// It runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its first process has ended.
    Exited,
    /// It is being removed.
    Removing,
    /// It could not be removed.
    Dead,
    /// A word that we do not know.
    Unknown,
}

/// A container as a list or a look shows it.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    /// Its name, without the slash in front.
    pub(crate) name: String,
    /// What it is doing.
    pub(crate) state: ContainerState,
    /// Its labels.
    pub(crate) labels: HashMap<String, String>,
    /// Why it ended, where the engine knows.
    pub(crate) reason: Option<String>,
    /// When it was made, in seconds since 1970; only from a list.
    pub(crate) created: Option<i64>,
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Warnings", default)]
    warnings: Option<Vec<String>>,
}

impl Engine {
    /// `POST /containers/create?name=`: makes a container from `spec` and answers with the engine's own id for it
    /// ([reference](https://docs.docker.com/reference/api/engine/), read 2026-01). 404 when the image is not there, 409 when the
    /// name is taken.
    pub(crate) async fn create(&self, name: &str, platform: Option<&str>, spec: &Value) -> Result<String> {
        Ok(self.create_told(name, platform, spec).await?.0)
    }

    /// The same, with what the engine says that it leaves out.
    pub(crate) async fn create_told(
        &self,
        name: &str,
        platform: Option<&str>,
        spec: &Value,
    ) -> Result<(String, Vec<String>)> {
        let mut path = format!("/containers/create?name={}", escape(name));
        if let Some(platform) = platform {
            path.push_str(&format!("&platform={}", escape(platform)));
        }
        let created: Created = self.call("create the container", Method::POST, &path, Some(spec)).await?;
        let warnings = created.warnings.unwrap_or_default();
        for warning in &warnings {
            tracing::warn!(%warning, "the engine makes a container, with a reservation");
        }
        Ok((created.id, warnings))
    }

    /// `POST /containers/{name}/start`: no error when it runs already (304).
    pub(crate) async fn start(&self, name: &str) -> Result<()> {
        let call = self.docker.start_container(name, None::<StartContainerOptions>);
        ask("start the container", SLOW, call).await
    }

    /// `GET /containers/{name}/json`: none when there is no such container.
    pub(crate) async fn inspect(&self, name: &str) -> Result<Option<Container>> {
        let call = self.docker.inspect_container(name, None::<InspectContainerOptions>);
        let found = absent(ask("look at the container", CONTROL, call).await)?;
        Ok(found.map(Container::of_inspect))
    }

    /// `GET /containers/{name}/json` as the engine spells it, to make another one like it.
    pub(crate) async fn inspect_raw(&self, name: &str) -> Result<Value> {
        let path = format!("/containers/{}/json", escape(name));
        self.call("look at the container", Method::GET, &path, None::<&Value>).await
    }

    /// `GET /containers/json?all=1&filters=`: the containers that carry all of `labels`, each `name` or `name=value`.
    pub(crate) async fn containers(&self, labels: &[String]) -> Result<Vec<Container>> {
        let filters = HashMap::from([("label", labels.to_vec())]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let listed = ask("list the containers", CONTROL, self.docker.list_containers(Some(options))).await?;
        Ok(listed.into_iter().map(Container::of_summary).collect())
    }

    /// `DELETE /containers/{name}?force=1&v=1`, waiting for a removal that is under way. Whether there was anything to remove.
    pub(crate) async fn remove(&self, name: &str) -> Result<bool> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let removed =
            ask("remove the container", SLOW, self.docker.remove_container(name, Some(options))).await;
        match removed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            // Somebody else removes it, or it ended by itself just now.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                self.removed(name).await?;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// `POST /containers/{name}/wait?condition=removed`: returns when it is gone.
    pub(crate) async fn removed(&self, name: &str) -> Result<()> {
        within("wait for the end of the container", CONTROL, async {
            loop {
                // Where several remove one container at once, the engine may not tell all who wait.
                if let Ok(told) = tokio::time::timeout(TOLD, self.told_of_removal(name)).await {
                    return told;
                }
                if self.inspect(name).await?.is_none() {
                    return Ok(());
                }
            }
        })
        .await
    }

    async fn told_of_removal(&self, name: &str) -> Result<()> {
        let options = WaitContainerOptionsBuilder::default().condition("removed").build();
        let mut answers = self.docker.wait_container(name, Some(options));
        match answers.next().await {
            // An exit code other than zero, which is told as an error.
            None | Some(Ok(_) | Err(bollard::errors::Error::DockerContainerWaitError { .. })) => Ok(()),
            Some(Err(cause)) => match error::of("wait for the end of the container", cause) {
                error if error.kind() == ErrorKind::NotFound => Ok(()),
                error => Err(error),
            },
        }
    }

    /// `POST /containers/{name}/pause`
    pub(crate) async fn pause(&self, name: &str) -> Result<()> {
        ask("pause the container", CONTROL, self.docker.pause_container(name)).await
    }

    /// `POST /containers/{name}/unpause`
    pub(crate) async fn unpause(&self, name: &str) -> Result<()> {
        ask("resume the container", CONTROL, self.docker.unpause_container(name)).await
    }

    /// `POST /containers/{name}/rename?name=`
    pub(crate) async fn rename(&self, name: &str, to: &str) -> Result<()> {
        let options = RenameContainerOptionsBuilder::default().name(to).build();
        ask("rename the container", CONTROL, self.docker.rename_container(name, options)).await
    }

    /// `POST /commit?container=&repo=&tag=&pause=1`: makes an image of the container's files, with `labels` on top of its own.
    pub(crate) async fn commit(
        &self,
        name: &str,
        repo: &str,
        tag: &str,
        labels: HashMap<String, String>,
    ) -> Result<()> {
        let options =
            CommitContainerOptionsBuilder::default().container(name).repo(repo).tag(tag).pause(true).build();
        let config = ContainerConfig { labels: Some(labels), ..ContainerConfig::default() };
        ask("commit the container", SLOW, self.docker.commit_container(options, config)).await.map(drop)
    }
}

/// None in place of `NotFound`.
pub(super) fn absent<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Container {
    fn of_inspect(found: ContainerInspectResponse) -> Self {
        use ContainerStateStatusEnum as Theirs;
        let state = found.state.unwrap_or_default();
        let reason = match (state.oom_killed, state.error.as_deref().filter(|text| !text.is_empty())) {
            (Some(true), _) => Some("it ran out of memory".to_owned()),
            (_, text) => text.map(str::to_owned),
        };
        Self {
            name: found.name.unwrap_or_default().trim_start_matches('/').to_owned(),
            state: match state.status {
                Some(Theirs::CREATED | Theirs::RESTARTING) => ContainerState::Created,
                Some(Theirs::RUNNING) => ContainerState::Running,
                Some(Theirs::PAUSED) => ContainerState::Paused,
                Some(Theirs::EXITED) => ContainerState::Exited,
                Some(Theirs::REMOVING) => ContainerState::Removing,
                Some(Theirs::DEAD) => ContainerState::Dead,
                _ => ContainerState::Unknown,
            },
            labels: found.config.and_then(|config| config.labels).unwrap_or_default(),
            reason,
            created: None,
        }
    }

    fn of_summary(found: ContainerSummary) -> Self {
        use ContainerSummaryStateEnum as Theirs;
        let names = found.names.unwrap_or_default();
        Self {
            name: names.first().map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default(),
            state: match found.state {
                Some(Theirs::CREATED | Theirs::RESTARTING) => ContainerState::Created,
                Some(Theirs::RUNNING) => ContainerState::Running,
                Some(Theirs::PAUSED) => ContainerState::Paused,
                Some(Theirs::EXITED) => ContainerState::Exited,
                Some(Theirs::REMOVING) => ContainerState::Removing,
                Some(Theirs::DEAD) => ContainerState::Dead,
                _ => ContainerState::Unknown,
            },
            labels: found.labels.unwrap_or_default(),
            reason: None,
            created: found.created,
        }
    }
}

/// The age at `now` of what was made at `created`, in seconds since 1970.
pub(crate) fn age(created: i64, now: SystemTime) -> Option<Duration> {
    let made = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(created).ok()?))?;
    now.duration_since(made).ok()
}

/// `text` as a part of an address.
pub(super) fn escape(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            write!(escaped, "%{byte:02X}").ok();
        }
        escaped
    })
}

/// The error for a container that is there no more.
pub(crate) fn gone() -> Error {
    Error::not_found("the sandbox is closed").hint("create a new one")
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_cannot_change_the_address() {
        assert_eq!(super::escape("a/../b?x=1&y#z %é"), "a%2F..%2Fb%3Fx%3D1%26y%23z%20%25%C3%A9");
    }
}
