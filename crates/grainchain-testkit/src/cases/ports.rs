//! Ways in.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::processes::read_until;
use super::support::secs;
use crate::case::cases;

cases! { ports:
    fn a_server_in_the_sandbox_is_reached_from_outside(cx) needs [Ports, Processes] with [Python] {
        let sandbox = cx.sandbox().await?;
        let server = "import http.server, socketserver\nclass H(http.server.BaseHTTPRequestHandler):\n    def do_GET(self):\n        self.send_response(200)\n        self.end_headers()\n        self.wfile.write(b'from inside')\n    def log_message(self, *a): pass\ns = socketserver.TCPServer(('0.0.0.0', 0), H)\nprint('port', s.server_address[1], '.', flush=True)\ns.serve_forever()";
        let mut process = sandbox.spawn(["python3", "-c", server]).await?;
        let seen = read_until(&mut process, " .\n").await?;
        let Some(port) = seen.split_whitespace().nth(1).and_then(|word| word.parse::<u16>().ok()) else {
            return Err(format!("the server did not start: {seen:?}").into());
        };
        let preview = sandbox.preview_url(port).await?;
        same!(preview.port, port);
        let Some(rest) = preview.url.strip_prefix("http://") else { return Ok(()) };
        let host = rest.split('/').next().unwrap_or(rest);
        let talk = async {
            let mut stream = TcpStream::connect(host).await?;
            stream.write_all(format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let answer = tokio::time::timeout(secs(20), talk).await.map_err(|_| "the server does not answer")??;
        check!(answer.ends_with("from inside"), "answered {answer:?}");
        process.kill().await?;
    }

    fn an_address_carries_no_credentials(cx) needs [Ports] {
        let preview = cx.sandbox().await?.preview_url(8080).await?;
        check!(!preview.url.contains('@') && !preview.url.contains("token="), "{}", preview.url);
        check!(format!("{preview:?}").contains("8080"), "does not show the port");
    }

    fn closing_a_way_in_twice_is_no_error(cx) needs [Ports] {
        let sandbox = cx.sandbox().await?;
        sandbox.preview_url(8081).await?;
        sandbox.close_port(8081).await?;
        sandbox.close_port(8081).await?;
    }
}
