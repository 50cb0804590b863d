//! The reference: the Engine API as it is, asked for what our library does, by hand.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use grainchain::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use crate::http::{Connection, Head};

/// The label of everything that a benchmark makes; its value names the run.
pub(crate) const LABEL: &str = "grainchain-bench";

/// As whom commands run, as in our sandboxes.
const USER: &str = "1000:1000";

/// How long a container lives that nobody removes.
const LIFETIME: &str = "3600";

/// What of our sandboxes' walls the reference's containers must have too: whatever the engine tells of one of ours.
const WALLS: &[&str] = &[
    "AutoRemove",
    "CapDrop",
    "IpcMode",
    "LogConfig",
    "Memory",
    "MemorySwap",
    "NanoCpus",
    "NetworkMode",
    "PidsLimit",
    "ReadonlyRootfs",
    "SecurityOpt",
];

/// The engine, without our library.
#[derive(Debug)]
pub(crate) struct Raw {
    socket: PathBuf,
    prefix: String,
    run: String,
    walls: Value,
    idle: Mutex<Vec<Connection>>,
}

impl Raw {
    /// The engine behind `socket`, and its version in words.
    pub(crate) async fn at(socket: PathBuf, run: String) -> Result<(Self, String)> {
        let idle = Mutex::default();
        let mut raw = Self { socket, prefix: String::new(), run, walls: json!({ "Init": true }), idle };
        let version: Value = raw.json("GET", "/version", None).await?;
        let text = |key: &str| version[key].as_str().unwrap_or("unknown").to_owned();
        raw.prefix = format!("/v{}", text("ApiVersion"));
        Ok((raw, format!("{}, API {}", text("Version"), text("ApiVersion"))))
    }

    /// Walls its containers in like the container `name`, which is one of ours.
    pub(crate) async fn like(&mut self, name: &str) -> Result<()> {
        let inspected = self.json("GET", &format!("/containers/{name}/json"), None).await?;
        for wall in WALLS {
            match &inspected["HostConfig"][*wall] {
                Value::Null => {}
                value => self.walls[*wall] = value.clone(),
            }
        }
        Ok(())
    }

    /// What is walled in how, in one line.
    pub(crate) fn walls(&self) -> String {
        self.walls.to_string()
    }

    async fn connection(&self) -> Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(connection) => Ok(connection),
            None => Connection::open(&self.socket).await,
        }
    }

    /// Takes the rest of an answer, and the connection if it goes on.
    async fn take(
        &self,
        mut connection: Connection,
        head: Head,
        what: &str,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<()> {
        let mut refusal = Vec::new();
        if head.status < 400 {
            connection.body(head, take).await?;
        } else {
            connection.body(head, &mut |bytes| refusal.extend_from_slice(bytes)).await?;
        }
        if head.goes_on {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        if head.status < 400 {
            return Ok(());
        }
        let kind = match head.status {
            404 => ErrorKind::NotFound,
            409 => ErrorKind::Conflict,
            _ => ErrorKind::Server,
        };
        let said = String::from_utf8_lossy(&refusal).trim().to_owned();
        Err(Error::new(kind, format!("raw {what}: {} {said}", head.status)).status(head.status))
    }

    async fn bytes(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Vec<u8>> {
        let line = format!("{method} {}{path}", self.prefix);
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut connection = self.connection().await?;
        let headers: &[_] = if body.is_empty() { &[] } else { &[("Content-Type", "application/json")] };
        connection.send(&line, headers, body.len() as u64, body.as_bytes()).await?;
        let head = connection.head().await?;
        let mut answer = Vec::new();
        self.take(connection, head, &line, &mut |bytes| answer.extend_from_slice(bytes)).await?;
        Ok(answer)
    }

    async fn json(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.bytes(method, path, body).await?;
        serde_json::from_slice(&answer)
            .map_err(|error| Error::new(ErrorKind::Server, "the raw answer is no JSON").caused_by(error))
    }

    /// Makes a container of `image` that sleeps, and starts it.
    pub(crate) async fn run(&self, image: &str) -> Result<String> {
        let spec = json!({
            "Image": image,
            "Entrypoint": ["sleep"],
            "Cmd": [LIFETIME],
            "User": USER,
            "WorkingDir": "/",
            "Labels": { LABEL: self.run },
            "Healthcheck": { "Test": ["NONE"] },
            "HostConfig": self.walls,
        });
        let made = self.json("POST", "/containers/create", Some(&spec)).await?;
        let id = text(&made, "Id")?;
        self.bytes("POST", &format!("/containers/{id}/start"), None).await?;
        Ok(id)
    }

    pub(crate) async fn remove(&self, container: &str) -> Result<()> {
        self.bytes("DELETE", &format!("/containers/{container}?force=1&v=1"), None).await.map(drop)
    }

    /// Runs `argv` to its end, which must be a good one, and answers its output.
    pub(crate) async fn exec(&self, container: &str, argv: &[&str]) -> Result<Vec<u8>> {
        let spec = json!({ "AttachStdout": true, "AttachStderr": true, "User": USER, "Cmd": argv });
        let made = self.json("POST", &format!("/containers/{container}/exec"), Some(&spec)).await?;
        let id = text(&made, "Id")?;
        let line = format!("POST {}/exec/{id}/start", self.prefix);
        let body = json!({ "Detach": false, "Tty": false }).to_string();
        let headers = [("Content-Type", "application/json"), ("Connection", "Upgrade"), ("Upgrade", "tcp")];
        let mut connection = self.connection().await?;
        connection.send(&line, &headers, body.len() as u64, body.as_bytes()).await?;
        let head = connection.head().await?;
        if head.status >= 400 {
            self.take(connection, head, &line, &mut |_| {}).await?;
            return Err(Error::unexpected("a refused command was no error"));
        }
        let output = connection.frames().await?;
        let state = self.json("GET", &format!("/exec/{id}/json"), None).await?;
        if state["ExitCode"] == json!(0) {
            return Ok(output);
        }
        let said = String::from_utf8_lossy(&output).trim().to_owned();
        Err(Error::unexpected(format!("a raw command ended with {}: {said}", state["ExitCode"])))
    }

    /// Unpacks a tar of `length` bytes, which come in `blocks`, in `/tmp`.
    pub(crate) async fn put<'a>(
        &self,
        container: &str,
        length: u64,
        blocks: impl Iterator<Item = &'a [u8]> + Send,
    ) -> Result<()> {
        let line = format!("PUT {}/containers/{container}/archive?path=/tmp", self.prefix);
        let mut connection = self.connection().await?;
        connection.send(&line, &[("Content-Type", "application/x-tar")], length, &[]).await?;
        for block in blocks {
            if connection.write(block).await.is_err() {
                // Why it was not taken stands in the answer.
                break;
            }
        }
        let head = connection.head().await?;
        self.take(connection, head, &line, &mut |_| {}).await
    }

    /// Gives the tar of `name` in `/tmp` to `take`.
    pub(crate) async fn get(
        &self,
        container: &str,
        name: &str,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<()> {
        let line = format!("GET {}/containers/{container}/archive?path=/tmp/{name}", self.prefix);
        let mut connection = self.connection().await?;
        connection.send(&line, &[], 0, &[]).await?;
        let head = connection.head().await?;
        self.take(connection, head, &line, take).await
    }

    /// Makes an image of a container.
    pub(crate) async fn commit(&self, container: &str) -> Result<String> {
        let path = format!("/commit?container={container}&pause=1");
        text(&self.json("POST", &path, Some(&json!({}))).await?, "Id")
    }

    pub(crate) async fn has_image(&self, image: &str) -> Result<bool> {
        match self.bytes("GET", &format!("/images/{image}/json"), None).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn remove_image(&self, image: &str) -> Result<()> {
        self.bytes("DELETE", &format!("/images/{image}?force=1"), None).await.map(drop)
    }

    /// The lines of `ps` for the container's processes.
    pub(crate) async fn processes(&self, container: &str) -> Result<Vec<String>> {
        let answer = self.json("GET", &format!("/containers/{container}/top"), None).await?;
        Ok(answer["Processes"].as_array().into_iter().flatten().map(Value::to_string).collect())
    }

    /// The ids of this run's containers, ours among them.
    pub(crate) async fn containers(&self) -> Result<Vec<String>> {
        self.labelled("/containers/json?all=1").await
    }

    /// The ids of this run's images: what its containers were committed to.
    pub(crate) async fn images(&self) -> Result<Vec<String>> {
        self.labelled("/images/json?all=0").await
    }

    async fn labelled(&self, path: &str) -> Result<Vec<String>> {
        let filter = json!({ "label": [format!("{LABEL}={}", self.run)] }).to_string();
        let filter: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let listed = self.json("GET", &format!("{path}&filters={filter}"), None).await?;
        listed.as_array().into_iter().flatten().map(|one| text(one, "Id")).collect()
    }
}

fn text(answer: &Value, key: &str) -> Result<String> {
    let text = answer[key].as_str().map(str::to_owned);
    text.ok_or_else(|| Error::new(ErrorKind::Server, format!("the raw answer has no {key}")))
}
