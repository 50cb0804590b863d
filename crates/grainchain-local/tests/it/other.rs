//! Another program: this one once more, doing what it is told through its standard input.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use grainchain_core::{Client, Error, GcOptions, ListFilter, Sandbox, SandboxConfig};

use crate::world::{client, run};

const ROOT: &str = "GRAINCHAIN_TEST_ROOT";
/// What its answers begin with; the test runner's own lines do not.
const ANSWER: &str = "@";

pub(crate) struct Other {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Other {
    pub(crate) fn start(root: &Path) -> Self {
        Self::begin(root, None)
    }

    /// One without the rights of the superuser.
    pub(crate) fn start_as_nobody(root: &Path) -> Self {
        Self::begin(root, Some(65534))
    }

    fn begin(root: &Path, user: Option<u32>) -> Self {
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["--exact", "other::serve", "--ignored", "--nocapture", "--quiet"])
            .env(ROOT, root)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// Tells it to do something and returns its answer.
    pub(crate) fn try_ask(&mut self, words: &str) -> Result<String, String> {
        self.tell(words);
        self.answer()
    }

    pub(crate) fn tell(&mut self, words: &str) {
        writeln!(self.input, "{words}").unwrap();
    }

    pub(crate) fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the other program has ended");
            if let Some(answer) = line.trim_end().strip_prefix(ANSWER) {
                let (kind, words) = answer.split_once(' ').unwrap_or((answer, ""));
                return if kind == "ok" { Ok(words.to_owned()) } else { Err(words.to_owned()) };
            }
        }
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, words: &str) -> String {
        self.try_ask(words).unwrap_or_else(|error| panic!("{words}: {error}"))
    }

    /// Kills it, so that it can clean up nothing.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the other tests of this file"]
async fn serve() {
    let root = std::env::var_os(ROOT).expect("only the other tests start this one");
    let client = client(Path::new(&root));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { return };
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = told.recv().await {
        let answer = match act(&client, &line).await {
            Ok(words) => format!("{ANSWER}ok {words}"),
            Err(error) => format!("{ANSWER}error {}: {error}", error.kind()),
        };
        writeln!(std::io::stdout(), "{answer}").unwrap();
    }
}

async fn act(client: &Client, line: &str) -> Result<String, Error> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (id, argument) = rest.split_once(' ').unwrap_or((rest, ""));
    let sandbox = async || -> Result<Sandbox, Error> { client.connect(id).await };
    match verb {
        "create" => Ok(client.create(SandboxConfig::default()).await?.id().to_string()),
        "create-kept" => Ok(client.create(SandboxConfig::default().keep_alive()).await?.id().to_string()),
        "connect" => sandbox().await.map(|sandbox| sandbox.id().to_string()),
        "list" => {
            let mut ids: Vec<_> = client
                .list(ListFilter::default())
                .await?
                .into_iter()
                .map(|info| info.id.to_string())
                .collect();
            ids.sort();
            Ok(ids.join(" "))
        }
        "status" => Ok(sandbox().await?.status().await?.to_string()),
        "run" => Ok(sandbox().await?.execute(argument).await?.stdout().trim_end().to_owned()),
        "lifetime" => {
            let seconds = argument.parse().ok().map(Duration::from_secs);
            sandbox().await?.set_lifetime(seconds).await.map(|()| String::new())
        }
        "pause" => sandbox().await?.pause().await.map(|()| String::new()),
        "resume" => sandbox().await?.resume().await.map(|()| String::new()),
        "snapshot" => Ok(sandbox().await?.create_snapshot("other").await?.id.to_string()),
        "close" => sandbox().await?.close().await.map(|()| String::new()),
        "remove" => client.remove(&id.into()).await.map(|()| String::new()),
        "gc" => Ok(client.gc(GcOptions::default()).await?.entries.len().to_string()),
        "churn" => {
            for _ in 0..id.parse().expect("a number") {
                let sandbox = client.create(SandboxConfig::default()).await?;
                run(&sandbox, "echo here > file && cat file").await;
                sandbox.close().await?;
            }
            Ok(String::new())
        }
        _ => panic!("nobody knows how to {verb}"),
    }
}
