//! Code in a live interpreter, beside the plainest loop an interpreter can run.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use grainchain::{Client, Error, Result, SandboxConfig};
use grainchain_tests::report::{Report, Runs};

const LOOP: &str = "
import sys
for line in sys.stdin.buffer:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
";

pub(crate) async fn round_trip(client: &Client, report: &mut Report) -> Result<()> {
    let sandbox = client.create(SandboxConfig::default()).await?;
    // The same interpreter that the sandbox finds.
    let executable = sandbox.run_code("import sys; sys.executable").await?;
    let executable = executable.text().unwrap_or("python3").trim_matches('\'').to_owned();
    let failed = |error| Error::io("talk to the bare loop", error);
    let mut child = Command::new(executable)
        .args(["-c", LOOP])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let (mut stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut stdout = BufReader::new(stdout.ok_or_else(|| Error::unexpected("no pipe"))?);
    let (mut ours, mut reference) = (Runs::default(), Runs::default());
    let mut line = String::new();
    for round in 0..5500 {
        let begun = Instant::now();
        if let Some(stdin) = &mut stdin {
            stdin.write_all(b"1+1\n").map_err(failed)?;
        }
        line.clear();
        stdout.read_line(&mut line).map_err(failed)?;
        let bare = begun.elapsed();

        let begun = Instant::now();
        let result = sandbox.run_code("1+1").await?;
        let full = begun.elapsed();
        assert_eq!(result.text(), Some("2"));
        if round >= 500 {
            reference.add(bare);
            ours.add(full);
        }
    }
    drop(stdin);
    child.wait().map_err(failed)?;
    report.ratio(
        "`run_code(\"1+1\")` in a live context p50",
        &ours,
        &reference,
        2.0,
        "<= 2x of a bare pipe round trip",
    );
    sandbox.close().await
}
