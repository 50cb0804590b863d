//! An engine that is reached through `ssh`: through a program of that name that stands first in the PATH of a client of its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};
use std::time::Duration;

use grainchain_core::SandboxConfig;
use grainchain_docker::GuestKind;
use libtest_mimic::Failed;
use tempfile::TempDir;
use tokio::process::Command;

use crate::world::{Outcome, Test, World, sh, socket, test};

/// The argument that makes such a client of this program.
const CLIENT: &str = "--client-through-ssh";

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test("ssh::it_carries_sandboxes_from_their_beginning_to_their_end", it_carries_sandboxes),
        test("ssh::what_it_complains_of_is_the_reason", what_it_complains_of_is_the_reason),
        test(
            "ssh::one_that_says_nothing_or_is_not_there_is_named",
            one_that_says_nothing_or_is_not_there_is_named,
        ),
    ]
}

/// Whether this program was started as a client.
pub(crate) fn is_a_client() -> bool {
    std::env::args().any(|argument| argument == CLIENT)
}

/// What this program does as a client: a sandbox of each kind, made, used and closed.
#[expect(clippy::print_stdout, reason = "so it tells whoever started it")]
pub(crate) async fn be_a_client() -> Outcome {
    for guest in [GuestKind::Engine, GuestKind::Helper] {
        let world = World::new(|config| {
            let mut config = config.guest(guest);
            config.host = Some("ssh://me@far.test:2222".to_owned());
            config
        })?;
        let sandbox = match world.create(SandboxConfig::default()).await {
            Ok(sandbox) => sandbox,
            Err(error) => {
                println!("{:?}\n{error}\n{}", error.kind(), error.remedy().unwrap_or_default());
                return Ok(());
            }
        };
        let input = grainchain_core::Command::shell("wc -c").stdin(vec![b'x'; 300_000]);
        let counted = sandbox.execute(input).await?;
        println!("{}{}", sh(&sandbox, "id -u").await?, counted.stdout().trim());
        sandbox.close().await?;
        println!("{:?}", world.left().await?);
    }
    Ok(())
}

/// Runs a client whose `ssh` is this script, or that has none.
async fn client(script: Option<&str>) -> Result<(Output, TempDir), Failed> {
    let folder = tempfile::tempdir()?;
    if let Some(script) = script {
        let place = folder.path().join("ssh");
        fs::write(&place, format!("#!/bin/sh\n{script}\n"))?;
        fs::set_permissions(&place, Permissions::from_mode(0o755))?;
    }
    let usual = std::env::var_os("PATH").filter(|_| script.is_some()).unwrap_or_default();
    let places = [folder.path().to_owned()].into_iter().chain(std::env::split_paths(&usual));
    let running = Command::new(std::env::current_exe()?)
        .arg(CLIENT)
        .env("PATH", std::env::join_paths(places)?)
        .env("SAID", folder.path().join("said"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(120), running)
        .await
        .map_err(|_| Failed::from("the client does not end"))??;
    Ok((output, folder))
}

/// What the client has printed.
fn printed(output: &Output) -> Result<String, Failed> {
    if output.stdout.is_empty() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn it_carries_sandboxes(_: World) -> Outcome {
    let engine = socket().await?.ok_or("the engine that answers is behind no socket")?;
    let script = format!(
        "echo \"$@\" >> \"$SAID\"\necho a banner >&2\nexec docker --host unix://{engine} system dial-stdio"
    );
    let (output, folder) = client(Some(&script)).await?;
    assert_eq!(
        printed(&output)?,
        "1000\n300000\n[]\n".repeat(2),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = fs::read_to_string(folder.path().join("said"))?;
    let asked = "-T -o BatchMode=yes -o ConnectTimeout=15 -p 2222 -- me@far.test docker system dial-stdio";
    assert!(said.lines().count() > 4 && said.lines().all(|line| line == asked), "{said}");
    Ok(())
}

async fn what_it_complains_of_is_the_reason(_: World) -> Outcome {
    for (script, reason) in [
        (
            "echo 'Warning: something else' >&2; echo 'me@far.test: Permission denied (publickey).' >&2; exit 255",
            "Permission denied (publickey).",
        ),
        // It reads what it is told before it gives up.
        ("head -c 10 > /dev/null; echo 'sh: docker: not found' >&2; exit 127", "sh: docker: not found"),
        // Something that it started holds on to its output.
        ("sleep 20 > /dev/null & echo 'Connection timed out' >&2; exit 255", "Connection timed out"),
    ] {
        let (output, _folder) = client(Some(script)).await?;
        let said = printed(&output)?;
        let lines: Vec<_> = said.lines().collect();
        let [kind, message, remedy] = lines[..] else { return Err(said.into()) };
        assert_eq!(kind, "Connection");
        assert!(message.contains("ssh://me@far.test:2222") && message.contains(reason), "{message}");
        assert!(remedy.contains("ssh -p 2222 me@far.test docker version"), "{remedy}");
    }
    Ok(())
}

async fn one_that_says_nothing_or_is_not_there_is_named(_: World) -> Outcome {
    for (script, words) in [(Some("exit 255"), "ssh://me@far.test:2222"), (None, "there is no program `ssh`")]
    {
        let (output, _folder) = client(script).await?;
        let said = printed(&output)?;
        assert!(said.starts_with("Connection\n") && said.contains(words), "{said}");
        assert!(said.lines().nth(2).is_some_and(|remedy| remedy.contains("`ssh")), "{said}");
    }
    Ok(())
}
