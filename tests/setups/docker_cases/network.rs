//! Without a network: nothing goes out, and what listens inside is reached by its owner alone.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use grainchain_core::{ErrorKind, NetworkPolicy, Process, Sandbox};
use grainchain_testkit::{Outcome, fails, until};

use super::support::{EVERYBODY, equal, nothing_left, refused, require, run_as, secs, sh, sh_as};

/// Places that a sandbox must not reach: the engine's bridge, a cloud's metadata, a name server, a private network.
const PLACES: [(&str, u16); 4] =
    [("172.17.0.1", 2375), ("169.254.169.254", 80), ("1.1.1.1", 53), ("10.0.0.1", 80)];

/// What reaches `place` at `port`, with what either image has.
fn reach(place: &str, port: u16) -> String {
    format!(
        "if command -v nc >/dev/null; then nc -w 5 {place} {port} </dev/null; else bash -c 'exec 3<>/dev/tcp/{place}/{port}'; fi"
    )
}

/// A server in `sandbox` that answers with `text`, at port 8080.
async fn serve(sandbox: &Sandbox, text: &str) -> Outcome<Process> {
    let line = format!(
        "mkdir -p /tmp/www && echo '{text}' > /tmp/www/index.html && if command -v httpd >/dev/null; then exec httpd -f -p 8080 -h /tmp/www; else exec python3 -m http.server 8080 -d /tmp/www; fi"
    );
    let process = sandbox.spawn(line.as_str()).await?;
    until("the server listens", async || {
        // 1F90 is the port, 0A what listens.
        Ok(sh(sandbox, "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || :").await?.lines().any(|line| {
            line.split_whitespace().nth(1).is_some_and(|address| address.ends_with(":1F90"))
                && line.split_whitespace().nth(3) == Some("0A")
        }))
    })
    .await?;
    Ok(process)
}

/// What answers at the address `url`.
async fn fetch(url: &str) -> Outcome<io::Result<String>> {
    let host = url.strip_prefix("http://").ok_or_else(|| format!("a strange address: {url}"))?.to_owned();
    let talk = async {
        let mut stream = TcpStream::connect(&host).await?;
        stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    Ok(timeout(secs(30), talk).await.map_err(|_| "whoever follows the address hears nothing")?)
}

cases! { docker_network:
    fn there_is_no_interface_but_the_loopback(cx) {
        for config in [cx.config(), cx.config().network(NetworkPolicy::Off)] {
            let sandbox = cx.create(config).await?;
            equal("interfaces", sh(&sandbox, "ls /sys/class/net").await?.as_str(), "lo\n")?;
            equal("routes", sh(&sandbox, "tail -n +2 /proc/net/route").await?.as_str(), "")?;
            sandbox.close().await?;
        }
    }

    fn no_address_outside_is_reachable(cx) {
        let sandbox = cx.sandbox().await?;
        for user in EVERYBODY {
            for (place, port) in PLACES {
                let output = run_as(&sandbox, user, &reach(place, port)).await?;
                require(!output.success(), format!("{user} reached {place}: {}", output.combined()))?;
                require(output.stderr().contains("unreachable"), format!("{place} failed for another reason: {}", output.combined()))?;
            }
        }
    }

    fn raw_sockets_are_refused(cx) {
        let python = |family: &str| format!("python3 -c 'import socket; socket.socket({family}, socket.SOCK_RAW, 1)'");
        let either = |family: &str, busybox: &str| format!("if command -v python3 >/dev/null; then {}; else {busybox}; fi", python(family));
        let (raw, packets) = (either("socket.AF_INET", "traceroute -I 127.0.0.1"), either("socket.AF_PACKET", "arping -c 1 -I lo 127.0.0.1"));
        refused(&cx.sandbox().await?, &[&raw, &packets]).await?;
    }

    fn interfaces_cannot_be_made_or_changed(cx) {
        let sandbox = cx.sandbox().await?;
        let python = "python3 -c 'import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack(\"16sH14x\", b\"lo\", 0))'";
        let line = format!("if command -v python3 >/dev/null; then {python}; else ifconfig lo down; fi");
        refused(&sandbox, &[&line]).await?;
        require(sh(&sandbox, "cat /proc/net/dev").await?.contains("lo:"), "the loopback is gone")?;
    }

    fn names_are_not_resolved(cx) tags [Heavy] {
        let sandbox = cx.sandbox().await?;
        for user in EVERYBODY {
            let line = "if command -v getent >/dev/null; then getent hosts example.com; else nslookup example.com; fi";
            let output = sandbox.execute(line).user(user).timeout(secs(100)).await?;
            require(!output.success() && !output.stdout().contains("Address 1: 9"), format!("a name was resolved: {}", output.combined()))?;
        }
    }

    fn networks_of_the_machine_and_of_others_are_refused(cx) {
        for name in ["host", "container:x", "container:"] {
            let error = fails(cx.create(cx.config().provider_option("network", name)).await, &[ErrorKind::BadRequest])?;
            equal("the option", error.failed_option(), Some("network"))?;
        }
        nothing_left(&cx).await?;
    }

    fn a_server_is_reached_by_commands_of_its_own_sandbox_alone(cx) needs [Processes] {
        let (one, other) = (cx.sandbox().await?, cx.create(cx.config()).await?);
        let server = serve(&one, "secret").await?;
        sh(&one, &reach("127.0.0.1", 8080)).await?;
        let output = other.execute(reach("127.0.0.1", 8080).as_str()).timeout(secs(40)).await?;
        require(!output.success() && output.stderr().contains("refused"), format!("the other sandbox got through: {}", output.combined()))?;
        server.kill().await?;
    }

    fn what_one_sandbox_calls_a_socket_is_not_seen_in_another(cx) needs [Processes] with [Python] {
        let (one, other) = (cx.sandbox().await?, cx.create(cx.config()).await?);
        let server = one.spawn(["python3", "-c", "import socket, time\ns = socket.socket(socket.AF_UNIX)\ns.bind('\\0between')\ns.listen()\ntime.sleep(300)"]).await?;
        until("the socket is there", async || Ok(sh(&one, "cat /proc/net/unix").await?.contains("@between"))).await?;
        require(!sh(&other, "cat /proc/net/unix").await?.contains("@between"), "the other sandbox sees it")?;
        server.kill().await?;
    }

    fn a_way_in_works_without_any_network(cx) needs [Ports, Processes] {
        let sandbox = cx.create(cx.config().network(NetworkPolicy::Off)).await?;
        let server = serve(&sandbox, "from inside").await?;
        let answer = fetch(&sandbox.preview_url(8080).await?.url).await??;
        require(answer.contains("from inside"), format!("answered {answer:?}"))?;
        server.kill().await?;
    }

    fn a_way_in_is_open_to_this_machine_alone(cx) needs [Ports] {
        let url = cx.sandbox().await?.preview_url(8080).await?.url;
        require(url.starts_with("http://127.0.0.1:"), format!("it is open at {url}"))?;
    }

    fn a_way_in_leads_to_no_port_of_the_machine(cx) needs [Ports, Processes] {
        // Somebody listens on this machine, and nobody inside.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let url = cx.sandbox().await?.preview_url(port).await?.url;
        let answer = fetch(&url).await?;
        require(!matches!(&answer, Ok(text) if !text.is_empty()), format!("answered {answer:?}"))?;
        require(timeout(secs(0), listener.accept()).await.is_err(), "it leads to a port of the machine")?;
    }

    fn a_way_in_is_closed_with_its_sandbox(cx) needs [Ports, Processes] {
        let sandbox = cx.sandbox().await?;
        let _server = serve(&sandbox, "from inside").await?;
        let url = sandbox.preview_url(8080).await?.url;
        require(fetch(&url).await??.contains("from inside"), "it was never open")?;
        sandbox.close().await?;
        until("nothing answers there", async || Ok(!matches!(fetch(&url).await?, Ok(text) if !text.is_empty()))).await?;
    }

    fn an_open_network_is_no_more_than_the_engines_bridge(cx) {
        let sandbox = cx.create(cx.config().network(NetworkPolicy::Open)).await?;
        equal("interfaces", sh_as(&sandbox, "0:0", "ls /sys/class/net").await?.split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"])?;
        let mine = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
        require(sh(&sandbox, "cat /proc/sys/kernel/hostname").await? != mine, "it has the machine's name")?;
    }
}
