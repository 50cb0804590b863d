//! Paths that want out of the container: they end at its own root.

use std::path::Path;

use grainchain_core::{ErrorKind, ReadFile, Remove, Rename, Sandbox};
use grainchain_testkit::{Outcome, fails};

use super::support::{equal, goes_on, require, sh};

/// What lies outside.
const SECRET: &str = "a secret of the machine's";

/// A folder of this machine with a secret in it.
fn outside() -> Outcome<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("secret"), SECRET)?;
    Ok(folder)
}

/// What lies in `folder` but for the secret.
fn strangers(folder: &Path) -> Outcome<Vec<String>> {
    let names = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let names: Vec<_> = names.collect::<Result<_, _>>()?;
    Ok(names.into_iter().filter(|name| name != "secret").collect())
}

/// One entry of a tar of our own: tools would not make it.
fn entry(name: &str, kind: u8, target: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, target.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend_from_slice(content);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

/// A tar of `entries`.
fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = entries.concat();
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// Holds the read of `path` to bring the container's own `/etc/hostname`, or to be refused.
async fn own_hostname(sandbox: &Sandbox, path: &str) -> Outcome {
    let own = sh(sandbox, "cat /etc/hostname").await?;
    match sandbox.download_file(path).await {
        Ok(read) => equal(path, &read[..], own.as_bytes()),
        Err(error) => require(
            matches!(error.kind(), ErrorKind::BadRequest | ErrorKind::Denied | ErrorKind::NotFound),
            format!("{path}: {error:?}"),
        ),
    }
}

cases! { docker_paths:
    fn dots_end_at_the_containers_root(cx) needs [Files] {
        let (sandbox, outside) = (cx.sandbox().await?, outside()?);
        for dots in ["../../../..", "/../..", "/proc/../..", "./././../../../../../../../../.."] {
            own_hostname(&sandbox, &format!("{dots}/etc/hostname")).await?;
            let secret = format!("{dots}{}/secret", outside.path().display());
            fails(sandbox.download_file(secret.as_str()).await, &[ErrorKind::NotFound, ErrorKind::BadRequest, ErrorKind::Denied])?;
        }
    }

    fn links_lead_to_the_containers_own_files(cx) needs [Files] {
        let (sandbox, outside) = (cx.sandbox().await?, outside()?);
        sh(&sandbox, &format!("ln -s / all; ln -s ../../../../../.. up; ln -s /proc/1/root first; ln -s /proc/self/root own; ln -s {} out", outside.path().display())).await?;
        for path in ["all/etc/hostname", "up/etc/hostname", "first/etc/hostname", "own/etc/hostname"] { own_hostname(&sandbox, path).await?; }
        let refused = [ErrorKind::NotFound, ErrorKind::BadRequest, ErrorKind::Denied];
        fails(sandbox.download_file("out/secret").await, &refused)?;
        fails(sandbox.list_files("out").await, &refused)?;
        fails(sandbox.download_file(format!("up{}/secret", outside.path().display()).as_str()).await, &refused)?;
    }

    fn what_is_written_through_a_link_stays_in_the_container(cx) needs [Files] {
        let (sandbox, outside) = (cx.sandbox().await?, outside()?);
        let place = outside.path().display();
        sh(&sandbox, &format!("ln -s {place} out; ln -s {place}/new file; ln -s ../../../../../../..{place} up")).await?;
        // Whether they succeed is the container's own business.
        sandbox.upload_file("out/new", "x").await.ok();
        sandbox.upload_file("file", "x").await.ok();
        sandbox.upload_file("up/new", "x").await.ok();
        sandbox.make_dir("out/folder").await.ok();
        sandbox.remove("out/secret").await.ok();
        sandbox.rename(Rename::new("out/secret", "stolen")).await.ok();
        equal("what came out", strangers(outside.path())?, Vec::<String>::new())?;
        equal("the secret", std::fs::read_to_string(outside.path().join("secret"))?.as_str(), SECRET)?;
    }

    fn an_archive_writes_nothing_but_where_it_is_unfolded(cx) needs [Archive, Files] {
        let (sandbox, outside) = (cx.sandbox().await?, outside()?);
        let machine = outside.path().display().to_string();
        let archives = [
            tar(&[entry("../escaped", b'0', "", b"x")]),
            tar(&[entry("a/../../escaped", b'0', "", b"x")]),
            tar(&[entry("/tmp/escaped", b'0', "", b"x")]),
            tar(&[entry("link", b'2', "/tmp", b""), entry("link/escaped", b'0', "", b"x")]),
            tar(&[entry("link", b'2', "..", b""), entry("link/escaped", b'0', "", b"x")]),
            tar(&[entry("link", b'2', &machine, b""), entry("link/escaped", b'0', "", b"x")]),
            tar(&[entry("file", b'2', "/tmp/escaped", b""), entry("file", b'0', "", b"x")]),
            tar(&[entry("hard", b'1', "../../etc/passwd", b""), entry("hard", b'0', "", b"x")]),
        ];
        let before = sh(&sandbox, "cat /etc/passwd").await?;
        for (number, archive) in archives.into_iter().enumerate() {
            let inbox = format!("inbox{number}");
            sandbox.make_dir(inbox.as_str()).await?;
            // Refused or unfolded inside: both are right.
            sandbox.write_archive(inbox.as_str(), archive).await.ok();
            let found = sh(&sandbox, "ls /tmp/escaped escaped ../escaped 2>/dev/null || :").await?;
            equal(&format!("what archive {number} left outside"), found.as_str(), "")?;
        }
        equal("the image's own file", sh(&sandbox, "cat /etc/passwd").await?, before)?;
        equal("what came out", strangers(outside.path())?, Vec::<String>::new())?;
    }

    fn a_download_does_not_follow_links_onto_the_machine(cx) needs [Archive] {
        let (sandbox, outside) = (cx.sandbox().await?, outside()?);
        let (place, into) = (outside.path().display(), tempfile::tempdir()?);
        sh(&sandbox, &format!("mkdir d; ln -s {place} d/link; ln -s {place}/new d/file")).await?;
        // Refused or not: both are right.
        sandbox.download_dir("d", into.path()).await.ok();
        sh(&sandbox, "rm d/link d/file; mkdir d/link; echo evil > d/link/evil; echo evil > d/file").await?;
        sandbox.download_dir("d", into.path()).await.ok();
        equal("what came out", strangers(outside.path())?, Vec::<String>::new())?;
    }

    fn an_upload_through_a_link_ends_inside(cx) needs [Archive] {
        let (sandbox, outside) = (cx.sandbox().await?, outside()?);
        let from = tempfile::tempdir()?;
        std::fs::write(from.path().join("new"), "x")?;
        sh(&sandbox, &format!("ln -s {} out", outside.path().display())).await?;
        sandbox.upload_dir(from.path(), "out").await.ok();
        equal("what came out", strangers(outside.path())?, Vec::<String>::new())?;
    }

    fn a_device_in_place_of_a_file_is_refused_and_not_read_for_ever(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "ln -s /dev/zero result; ln -s /dev/random noise; ln -s /dev/stdin input").await?;
        for path in ["result", "noise", "input", "/dev/zero", "/dev/tty", "/dev/ptmx"] {
            fails(sandbox.read_file(ReadFile::new(path).length(1000)).await, &[ErrorKind::BadRequest, ErrorKind::Denied, ErrorKind::NotFound])?;
        }
        goes_on(&sandbox).await?;
    }

    fn a_link_to_the_helpers_own_proc_tells_nothing_of_it(cx) needs [Files, Processes] {
        let sandbox = cx.sandbox().await?;
        let files = ["environ", "mem", "fd/0", "fd/3", "auxv", "task/1/environ", "pagemap"];
        for (number, file) in files.iter().enumerate() {
            let link = format!("link{number}");
            sh(&sandbox, &format!("ln -s /proc/self/{file} {link}")).await?;
            for path in [link, format!("/proc/self/{file}"), format!("/proc/1/{file}"), format!("/proc/thread-self/{file}")] {
                if let Ok(read) = sandbox.download_file(path.as_str()).await {
                    return Err(format!("{path} was read: {} bytes", read.len()).into());
                }
            }
        }
        goes_on(&sandbox).await?;
    }

    fn nothing_of_the_helpers_is_written_through_its_own_hands(cx) needs [Files, Processes] {
        let sandbox = cx.sandbox().await?;
        let score = sh(&sandbox, "cat /proc/1/oom_score_adj").await?;
        for file in ["oom_score_adj", "comm", "mem", "clear_refs", "coredump_filter", "timerslack_ns"] {
            for folder in ["/proc/self", "/proc/1", "/proc/thread-self"] {
                let path = format!("{folder}/{file}");
                fails(sandbox.upload_file(path.as_str(), "1000").await, &[ErrorKind::Denied, ErrorKind::BadRequest, ErrorKind::NotFound])?;
            }
        }
        equal("its score", sh(&sandbox, "cat /proc/1/oom_score_adj").await?, score)?;
    }

    fn a_folder_that_becomes_a_link_while_it_is_removed_takes_nothing_along(cx) needs [Files, Processes] tags [Heavy] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir -p real/deep; echo precious > real/file; echo precious > real/deep/file").await?;
        let line = "while :; do mkdir -p spin/deep; echo x > spin/file; mv spin was; ln -s real spin; rm -f spin; mv was spin; done 2>/dev/null";
        let swapper = sandbox.spawn(line).await?;
        for _ in 0..200 {
            // Whatever it meets: a folder, a link, nothing.
            sandbox.remove(Remove::new("spin").recursive()).await.ok();
        }
        swapper.kill().await?;
        equal("what was not to be removed", sh(&sandbox, "cat real/file real/deep/file").await?.as_str(), "precious\nprecious\n")?;
    }
}
