//! The main job: make a sandbox, put a script in, stream a command, run code that remembers, go back to a snapshot, take a result
//! out, and say how long each step took.
//!
//! `cargo run --example quickstart`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Instant;

use grainchain::{Error, Process, ProcessEvent, Result, Sandbox, SandboxConfig};

const SCRIPT: &str = r#"
echo "counting in $PWD"
for i in 1 2 3; do echo "step $i"; sleep 0.1; done
echo "a word of warning" >&2
echo "done" > result.txt
"#;

#[tokio::main]
async fn main() -> Result<()> {
    let settings = grainchain::Settings::load()?;
    println!("provider: {} ({})", settings.default_provider, settings.chosen_by);

    let client = grainchain::registry().client(&settings)?;
    let begun = Instant::now();
    let mut clock = Clock(begun);
    // The scope closes the sandbox whatever happens inside: success, error, panic or the drop of its future.
    client
        .scope(SandboxConfig::default().env("GREETING", "hello"), async |sandbox| {
            tour(sandbox, &mut clock).await
        })
        .await?;
    clock.tell("closed the sandbox; its files, snapshots and processes are gone");
    println!("{:>8.1} ms  in all", begun.elapsed().as_secs_f64() * 1000.0);
    Ok(())
}

async fn tour(sandbox: Sandbox, clock: &mut Clock) -> Result<()> {
    clock.tell(&format!("made the sandbox {}", sandbox.id()));

    sandbox.upload_file("work/count.sh", SCRIPT).await?;
    clock.tell("uploaded a script");

    let process = sandbox.spawn(["sh", "count.sh"]).working_directory("work").await?;
    let status = show(process).await?;
    clock.tell(&format!("streamed a command: {status}"));

    let output = sandbox.execute("echo $GREETING, $(uname -s)").await?;
    clock.tell(&format!("executed a line of shell: {}", output.stdout().trim()));

    sandbox.run_code("import statistics\nnumbers = [2, 3, 5, 7, 11]").await?;
    clock.tell("started Python");
    let result = sandbox.run_code("statistics.mean(numbers)").await?;
    clock.tell(&format!("ran code that remembers: the mean is {}", result.text().unwrap_or("unknown")));

    let snapshot = sandbox.create_snapshot("before the accident").await?;
    clock.tell(&format!("took {}", snapshot.id));
    sandbox.execute("rm -rf work && echo gone").await?;
    let lost = !sandbox.exists("work/result.txt").await?;
    clock.tell(&format!("had an accident; the result is lost: {lost}"));
    sandbox.restore_snapshot(&snapshot.id).await?;
    clock.tell("went back to the snapshot");

    let result = sandbox.download_file("work/result.txt").await?;
    clock.tell(&format!("downloaded the result: {}", String::from_utf8_lossy(&result).trim()));
    Ok(())
}

/// Prints what a process writes, as it comes.
async fn show(mut process: Process) -> Result<String> {
    while let Some(event) = process.next().await? {
        match event {
            ProcessEvent::Stdout(bytes) => quote('|', &bytes),
            ProcessEvent::Stderr(bytes) => quote('!', &bytes),
            _ => {}
        }
    }
    process
        .status()
        .map(|status| status.to_string())
        .ok_or_else(|| Error::unexpected("the command left no status"))
}

fn quote(mark: char, bytes: &[u8]) {
    for line in String::from_utf8_lossy(bytes).lines() {
        println!("{:>13} {line}", mark);
    }
}

struct Clock(Instant);

impl Clock {
    fn tell(&mut self, what: &str) {
        println!("{:>8.1} ms  {what}", self.0.elapsed().as_secs_f64() * 1000.0);
        self.0 = Instant::now();
    }
}
