//! A session in a container: commands, code that remembers, a server reached without a network, a timeout that leaves nothing, a point to
//! go back to, copies.
//!
//! `cargo run --example docker_session [IMAGE]`, with an image that has Python; `python:3.12-slim` unless one is named.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::{Duration, Instant};

use grainchain::docker::{Docker, DockerConfig, Progress};
use grainchain::{ByteSize, Client, ErrorKind, Process, ProcessEvent, Result, Sandbox, SandboxConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SERVER: &str = "
import http.server
class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'hello from inside')
    def log_message(self, *_): pass
server = http.server.HTTPServer(('127.0.0.1', 8000), Hello)
print('listening', flush=True)
server.serve_forever()
";

#[tokio::main]
async fn main() -> Result<()> {
    let image = std::env::args().nth(1).unwrap_or_else(|| "python:3.12-slim".to_owned());
    let docker = Docker::with_progress(DockerConfig::default().image(image), |step: Progress| {
        println!("{:>13} {}", "", step.text)
    })?;
    let config = SandboxConfig::default()
        .memory_limit(ByteSize::mib(256))
        .cpu_limit(1.0)
        .lifetime(Duration::from_secs(600))
        .env("GREETING", "hello");
    let mut clock = Clock(Instant::now());
    Client::new(docker)
        .scope(config, async |sandbox| {
            clock.tell(&format!("made the sandbox {}", sandbox.id()));
            commands(&sandbox, &mut clock).await?;
            code(&sandbox, &mut clock).await?;
            server(&sandbox, &mut clock).await?;
            states(&sandbox, &mut clock).await
        })
        .await?;
    clock.tell("closed the sandbox; nothing of it is left at the engine");
    Ok(())
}

async fn commands(sandbox: &Sandbox, clock: &mut Clock) -> Result<()> {
    let output = sandbox.execute("echo \"$GREETING, $(id -u) in $PWD\"").await?;
    clock.tell(&format!("executed a line of shell: {}", output.stdout().trim()));
    let overdue = sandbox.execute("setsid sleep 1000 & sleep 1000").timeout(Duration::from_millis(200)).await;
    let told = overdue.is_err_and(|error| error.kind() == ErrorKind::Timeout);
    let left = sandbox.execute("cat /proc/[0-9]*/comm | grep -c sleep").await?;
    clock.tell(&format!("a timeout was told: {told}; sleepers that are left: {}", left.stdout().trim()));
    Ok(())
}

async fn code(sandbox: &Sandbox, clock: &mut Clock) -> Result<()> {
    sandbox.run_code("numbers = [2, 3, 5, 7, 11]").await?;
    clock.tell("started Python");
    let result = sandbox.run_code("sum(numbers)").await?;
    clock.tell(&format!("ran code that remembers: the sum is {}", result.text().unwrap_or("unknown")));
    Ok(())
}

async fn server(sandbox: &Sandbox, clock: &mut Clock) -> Result<()> {
    let mut server = sandbox.spawn(["python3", "-c", SERVER]).await?;
    wait_for_output(&mut server).await?;
    let url = sandbox.preview_url(8000).await?.url;
    let host = url.trim_start_matches("http://");
    let answer = ask(host).await.map_err(|error| grainchain::Error::io("ask the server", error))?;
    clock.tell(&format!(
        "asked a server at {url}, without a network: {}",
        answer.lines().last().unwrap_or_default()
    ));
    server.kill().await
}

async fn states(sandbox: &Sandbox, clock: &mut Clock) -> Result<()> {
    sandbox.upload_file("notes.txt", "kept").await?;
    let snapshot = sandbox.create_snapshot("with notes").await?;
    clock.tell(&format!("took {}", snapshot.id));
    sandbox.remove("notes.txt").await?;
    sandbox.restore_snapshot(&snapshot.id).await?;
    let notes = sandbox.download_file("notes.txt").await?;
    clock.tell(&format!("went back: the notes are {:?}", String::from_utf8_lossy(&notes)));
    let copies = sandbox.fork(2).await?;
    for copy in &copies {
        let notes = copy.execute("cat notes.txt").await?;
        clock.tell(&format!("a copy has the notes too: {}", notes.stdout()));
        copy.close().await?;
    }
    Ok(())
}

async fn wait_for_output(process: &mut Process) -> Result<()> {
    while let Some(event) = process.next().await? {
        if matches!(event, ProcessEvent::Stdout(_)) {
            break;
        }
    }
    Ok(())
}

async fn ask(host: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(host).await?;
    stream.write_all(format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

struct Clock(Instant);

impl Clock {
    fn tell(&mut self, what: &str) {
        println!("{:>8.1} ms  {what}", self.0.elapsed().as_secs_f64() * 1000.0);
        self.0 = Instant::now();
    }
}
