//! As much HTTP/1.1 over a Unix socket as the reference needs, with nothing between it and the engine.

use std::path::Path;

use grainchain::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// Why the bytes of an answer end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// So many were announced.
    Known(u64),
    /// The last chunk is empty.
    Chunked,
    /// The connection ends, as it does after an upgrade.
    Closed,
}

/// The beginning of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    end: End,
    /// Whether another request may follow on the connection.
    pub(crate) goes_on: bool,
}

/// One connection to the engine, for one request after the other.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<UnixStream>,
}

fn failed(what: &str) -> impl FnOnce(std::io::Error) -> Error + '_ {
    move |error| Error::io(format_args!("{what} of the raw engine"), error)
}

fn garbled() -> Error {
    Error::new(ErrorKind::Server, "the raw engine's answer is no HTTP")
}

impl Connection {
    pub(crate) async fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).await.map_err(failed("open the socket"))?;
        Ok(Self { stream: BufReader::with_capacity(CHUNK, stream) })
    }

    /// Sends the beginning of a request and `body`; [`write`](Self::write) may send more of it.
    pub(crate) async fn send(
        &mut self,
        line: &str,
        headers: &[(&str, &str)],
        length: u64,
        body: &[u8],
    ) -> Result<()> {
        let mut bytes = format!("{line} HTTP/1.1\r\nHost: engine\r\nContent-Length: {length}\r\n");
        for (name, value) in headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str("\r\n");
        let mut bytes = bytes.into_bytes();
        // In one write, where it is small.
        bytes.extend_from_slice(body);
        self.write(&bytes).await
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).await.map_err(failed("write a request"))
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.map_err(failed("read an answer"))?;
        if line.ends_with('\n') { Ok(line.trim_end().to_owned()) } else { Err(garbled()) }
    }

    /// The beginning of the answer.
    pub(crate) async fn head(&mut self) -> Result<Head> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(garbled)?;
        // Answers without content have no length either.
        let mut head = Head { status, end: End::Closed, goes_on: true };
        if matches!(status, 204 | 304) {
            head.end = End::Known(0);
        }
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else {
                if line.is_empty() {
                    break;
                }
                return Err(garbled());
            };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.end = End::Known(value.parse().map_err(|_| garbled())?),
                "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => head.end = End::Chunked,
                "connection" if value.eq_ignore_ascii_case("close") => head.goes_on = false,
                _ => {}
            }
        }
        head.goes_on &= head.end != End::Closed;
        Ok(head)
    }

    /// Gives all bytes after `head` to `take`.
    pub(crate) async fn body(&mut self, head: Head, take: &mut (dyn FnMut(&[u8]) + Send)) -> Result<()> {
        match head.end {
            End::Known(length) => self.exactly(length, take).await,
            End::Closed => self.exactly(u64::MAX, take).await,
            End::Chunked => loop {
                let line = self.line().await?;
                let size = line.split(';').next().unwrap_or_default();
                let size = u64::from_str_radix(size.trim(), 16).map_err(|_| garbled())?;
                self.exactly(size, take).await?;
                // Behind each chunk, and behind the last one, is an empty line.
                self.line().await?;
                if size == 0 {
                    return Ok(());
                }
            },
        }
    }

    /// Gives the next `length` bytes to `take`; all that come when that is the most there can be.
    async fn exactly(&mut self, length: u64, take: &mut (dyn FnMut(&[u8]) + Send)) -> Result<()> {
        let mut left = length;
        while left > 0 {
            let bytes = self.stream.fill_buf().await.map_err(failed("read an answer"))?;
            if bytes.is_empty() {
                return if length == u64::MAX { Ok(()) } else { Err(garbled()) };
            }
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            take(&bytes[..count]);
            self.stream.consume(count);
            left -= count as u64;
        }
        Ok(())
    }

    /// What stands in an upgraded connection up to its end: the payloads of the engine's frames, both streams alike.
    pub(crate) async fn frames(&mut self) -> Result<Vec<u8>> {
        let mut output = Vec::new();
        loop {
            let mut header = [0; 8];
            match self.stream.read_exact(&mut header).await {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(output),
                Err(error) => return Err(failed("read a command's output")(error)),
            }
            let [_, _, _, _, length @ ..] = header;
            self.exactly(u32::from_be_bytes(length).into(), &mut |bytes| output.extend_from_slice(bytes))
                .await?;
        }
    }
}
