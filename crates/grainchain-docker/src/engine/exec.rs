//! The engine's own exec: made, started with its streams, looked at.

use std::collections::BTreeMap;

use grainchain_core::Result;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::containers::escape;
use super::wire::Hijacked;
use super::{CONTROL, Engine, json_request, within};

/// What an exec runs and how.
#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ExecStart {
    /// The program and its arguments.
    pub(crate) cmd: Vec<String>,
    /// `NAME=value`, on top of the container's.
    pub(crate) env: Vec<String>,
    /// Where it starts.
    pub(crate) working_dir: String,
    /// As whom; the container's user when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// Whether it has an input.
    pub(crate) attach_stdin: bool,
    /// Whether its output is taken.
    pub(crate) attach_stdout: bool,
    /// Whether its errors are taken.
    pub(crate) attach_stderr: bool,
}

/// How an exec is.
#[derive(Debug, Deserialize)]
pub(crate) struct ExecState {
    /// Whether it still runs.
    #[serde(rename = "Running")]
    pub(crate) running: bool,
    /// Its exit code, once it has ended.
    #[serde(rename = "ExitCode")]
    pub(crate) exit_code: Option<i32>,
    /// Its number on the engine's machine, once it has been started.
    #[serde(rename = "Pid")]
    pub(crate) pid: i64,
}

#[derive(Deserialize)]
struct Made {
    #[serde(rename = "Id")]
    id: String,
}

impl ExecStart {
    /// Runs `cmd` in `working_dir` with these variables and both outputs taken.
    pub(crate) fn new(cmd: Vec<String>, environment: &BTreeMap<String, String>, working_dir: String) -> Self {
        Self {
            cmd,
            env: environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            working_dir,
            user: None,
            attach_stdin: false,
            attach_stdout: true,
            attach_stderr: true,
        }
    }
}

impl Engine {
    /// `POST /containers/{name}/exec`: prepares `start` and answers with its id. 404 when the container is gone, 409 when it is
    /// paused or does not run.
    pub(crate) async fn exec_create(&self, name: &str, start: &ExecStart) -> Result<String> {
        let path = format!("/containers/{}/exec", escape(name));
        let made: Made = self.call("prepare the command", Method::POST, &path, Some(start)).await?;
        Ok(made.id)
    }

    /// `POST /exec/{id}/start` with an upgrade: starts it and takes its streams. That it could not be started is told within them.
    pub(crate) async fn exec_start(&self, id: &str) -> Result<Hijacked> {
        let body = serde_json::json!({ "Detach": false, "Tty": false });
        let path = format!("/exec/{}/start", escape(id));
        within("start the command", CONTROL, async {
            self.wire.hijack("start the command", json_request(Method::POST, &path, Some(&body))?).await
        })
        .await
    }

    /// `GET /exec/{id}/json`
    pub(crate) async fn exec_inspect(&self, id: &str) -> Result<ExecState> {
        let path = format!("/exec/{}/json", escape(id));
        self.call("look at the command", Method::GET, &path, None::<&Value>).await
    }

    /// `POST /containers/{name}/attach?stream=1&…` with an upgrade: the streams of the container's first process. Before the start,
    /// so that nothing is missed.
    pub(crate) async fn attach(&self, name: &str) -> Result<Hijacked> {
        let path = format!("/containers/{}/attach?stream=1&stdin=1&stdout=1&stderr=1", escape(name));
        within("attach to the container", CONTROL, async {
            self.wire
                .hijack("attach to the container", json_request(Method::POST, &path, None::<&Value>)?)
                .await
        })
        .await
    }
}
