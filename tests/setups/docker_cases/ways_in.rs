//! What ways in carry: any bytes, unchanged, both ways at the same time, and each way's end by itself.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use grainchain_core::{Process, Sandbox};
use grainchain_testkit::{Failure, Outcome, until};

use super::support::{equal, require, secs, sh};

/// The port that the servers here listen on, and how the kernel spells it.
const PORT: (u16, &str) = (8090, ":1F9A");

/// Gives each connection to the command line in its argument, as `nc -e` does.
const SERVER: &str = "import socketserver, subprocess, sys\nclass Each(socketserver.BaseRequestHandler):\n    def handle(self): subprocess.run(['sh', '-c', sys.argv[2]], stdin=self.request, stdout=self.request)\nsocketserver.ThreadingTCPServer.allow_reuse_address = True\nsocketserver.ThreadingTCPServer(('127.0.0.1', int(sys.argv[1])), Each).serve_forever()\n";

/// Agrees to leave HTTP, and gives everything back from then on.
const UPGRADE: &str = r"while IFS= read -r line && [ ${#line} -gt 1 ]; do :; done; printf 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'; exec cat";

const ASK: &[u8] = b"GET /chat HTTP/1.1\r\nHost: sandbox\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n";

const AGREED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// What a client of HTTP/2 begins with: the preface, its settings, one header of an unknown kind, and a ping.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64\x00\x00\x04\xfa\x00\x00\x00\x00\x01\xff\x00\r\n\x00\x00\x08\x06\x00\x00\x00\x00\x00\xde\xad\xbe\xef\x00\xff\x0d\x0a";

/// A server in `sandbox` that gives each connection to `line`, and a connection to it from outside.
async fn connect(sandbox: &Sandbox, line: &str) -> Outcome<(Process, TcpStream)> {
    let (port, spelt) = PORT;
    let start = "if command -v nc >/dev/null; then exec nc -ll -p $0 -e sh -c \"$1\"; else exec python3 -c \"$2\" $0 \"$1\"; fi";
    let process = sandbox.spawn(["sh", "-c", start, &port.to_string(), line, SERVER]).await?;
    until("the server listens", async || {
        Ok(sh(sandbox, "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || :").await?.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|address| address.ends_with(spelt)) && fields.nth(1) == Some("0A")
        }))
    })
    .await?;
    let url = sandbox.preview_url(port).await?.url;
    let address = url.strip_prefix("http://").ok_or_else(|| format!("a strange address: {url}"))?;
    Ok((process, TcpStream::connect(address).await?))
}

/// The same bytes every time, and no pattern in them.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[7]
    };
    (0..length).map(|_| step()).collect()
}

/// Whatever `talk` says, if it comes to an end.
async fn within<T>(talk: impl Future<Output = io::Result<T>>) -> Outcome<T> {
    Ok(timeout(secs(30), talk).await.map_err(|_| Failure::new("the connection stands still"))??)
}

/// Sends `bytes` and holds the same to come back while it does, with the way in still open afterwards.
async fn comes_back(stream: &mut TcpStream, bytes: &[u8]) -> Outcome {
    let mut back = vec![0; bytes.len()];
    let (mut reading, mut writing) = stream.split();
    within(async { tokio::try_join!(writing.write_all(bytes), reading.read_exact(&mut back)) }).await?;
    let differs = back.iter().zip(bytes).position(|(is, should_be)| is != should_be);
    equal("the first byte that came back as another one", differs, None::<usize>)
}

cases! { docker_ways_in:
    fn an_upgrade_is_agreed_on_and_bytes_pass_both_ways_at_the_same_time(cx) needs [Ports, Processes] {
        let sandbox = cx.sandbox().await?;
        let (server, mut stream) = connect(&sandbox, UPGRADE).await?;
        let mut answer = vec![0; AGREED.len()];
        within(async { stream.write_all(ASK).await?; stream.read_exact(&mut answer).await }).await?;
        equal("the answer", String::from_utf8_lossy(&answer), String::from_utf8_lossy(AGREED))?;
        // In turns, and then more than anything on the way holds.
        for message in [&b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"[..], b"\x89\x00", b"\0", b"\r\n\r\n"] {
            comes_back(&mut stream, message).await?;
        }
        comes_back(&mut stream, &noise(1 << 20)).await?;
        comes_back(&mut stream, b"\x88\x82\x00\x00\x00\x00\x03\xe8").await?;
        server.kill().await?;
    }

    fn frames_of_http_2_pass_unchanged(cx) needs [Ports, Processes] {
        let sandbox = cx.sandbox().await?;
        let (server, mut stream) = connect(&sandbox, "exec cat").await?;
        comes_back(&mut stream, PREFACE).await?;
        // A frame as long as the settings allow, of every byte that there is.
        let mut frame = vec![0, 0x40, 0, 0, 0, 0, 0, 0, 1];
        frame.extend((0..0x4000).map(|place: usize| place.to_le_bytes()[0]));
        comes_back(&mut stream, &frame).await?;
        server.kill().await?;
    }

    fn whoever_has_finished_writing_is_still_answered(cx) needs [Ports, Processes] {
        let sandbox = cx.sandbox().await?;
        let (server, mut stream) = connect(&sandbox, "sum=$(sha256sum); echo \"after the end: $sum\"; head -c 300000 /dev/zero").await?;
        let sent = noise(1 << 20);
        let mut answer = Vec::new();
        within(async {
            stream.write_all(&sent).await?;
            stream.shutdown().await?;
            stream.read_to_end(&mut answer).await
        }).await?;
        sandbox.upload_file("sent", sent).await?;
        let sum = sh(&sandbox, "sha256sum < sent").await?;
        let said = format!("after the end: {sum}");
        require(answer.starts_with(said.as_bytes()), format!("answered {:?}", String::from_utf8_lossy(&answer[..answer.len().min(200)])))?;
        equal("the length of the answer", answer.len(), said.len() + 300_000)?;
        server.kill().await?;
    }

    fn a_server_that_has_finished_is_told_at_once_and_others_go_on(cx) needs [Ports, Processes] {
        let sandbox = cx.sandbox().await?;
        let (server, mut stream) = connect(&sandbox, "read -r line; [ \"$line\" = stay ] && exec cat; echo bye").await?;
        let address = stream.peer_addr()?;
        within(stream.write_all(b"stay\n")).await?;
        comes_back(&mut stream, b"here").await?;
        let mut other = TcpStream::connect(address).await?;
        let mut answer = String::new();
        // Its own way is still open: the end comes from the server.
        within(async { other.write_all(b"go\n").await?; other.read_to_string(&mut answer).await }).await?;
        equal("the answer", answer.as_str(), "bye\n")?;
        comes_back(&mut stream, b"still here").await?;
        server.kill().await?;
    }
}
