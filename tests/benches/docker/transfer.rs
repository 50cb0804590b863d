//! Files and folders in and out, beside the engine's archive calls.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use grainchain::{Content, Error, Pack, ReadFile, Remove, Result, Unpack};
use grainchain_tests::inputs::{noise, settle, tree};
use grainchain_tests::report::Report;
use tar::{EntryType, Header};

use crate::Row;
use crate::commands::expect;
use crate::ground::{Ground, timed, turns};

/// How the large file comes: its first MiB, again and again.
const BLOCK: usize = 1 << 20;

/// A folder as people have them: so many files of so many bytes.
const FILES: (u64, usize) = (581, 3000);

/// The header of a file `name` for the user that commands run as.
fn header(name: &str, size: u64) -> Result<Header> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_path(name).map_err(|error| Error::io("name a file", error))?;
    header.set_mode(0o644);
    header.set_uid(1000);
    header.set_gid(1000);
    header.set_size(size);
    header.set_cksum();
    Ok(header)
}

/// What stands behind `size` bytes up to the end of an archive.
fn trailer(size: u64) -> Vec<u8> {
    vec![0; (size.next_multiple_of(512) - size) as usize + 1024]
}

pub(crate) async fn small(ground: &Ground, row: &Row, report: &mut Report) -> Result<()> {
    let (sandbox, container) = (ground.sandbox().await?, ground.container().await?);
    let content = Bytes::from(noise(1, 1024));
    let mut archive = header("small", 1024)?.as_bytes().to_vec();
    archive.extend_from_slice(&content);
    archive.extend(trailer(1024));
    let (ours, raw) = turns(
        5,
        ground.settings.rounds(100),
        async || {
            timed(async {
                sandbox.upload_file("small", content.clone()).await?;
                expect(sandbox.download_file("small").await? == content, "what is read was written")
            })
            .await
        },
        async || {
            timed(async {
                ground.raw.put(&container, archive.len() as u64, [archive.as_slice()].into_iter()).await?;
                let mut back = Vec::new();
                ground.raw.get(&container, "small", &mut |bytes| back.extend_from_slice(bytes)).await?;
                expect(back.get(512..1536) == Some(&content[..]), "what is read was written")
            })
            .await
        },
    )
    .await?;
    report.ratio("write and read 1 KiB", &ours, &raw, row.most, row.goal);
    ground.raw.remove(&container).await?;
    sandbox.close().await
}

pub(crate) async fn large(ground: &Ground, row: &Row, report: &mut Report) -> Result<()> {
    let (sandbox, container) = (ground.sandbox().await?, ground.container().await?);
    let size = ground.settings.size.as_u64().next_multiple_of(BLOCK as u64);
    let (block, count) = (Bytes::from(noise(7, BLOCK)), (size / BLOCK as u64) as usize);
    let (header, trailer) = (header("large", size)?, trailer(size));
    let rounds = ground.settings.rounds(5);
    let (ours, raw) = turns(
        1,
        rounds,
        async || {
            // A new file each time: one that replaces another also pays for the care that file systems take of such a rename.
            sandbox.remove(Remove::new("large").missing_ok()).await?;
            settle();
            let blocks = stream::iter(vec![block.clone(); count]).map(Ok);
            timed(sandbox.upload_file("large", Content::from_stream(blocks, Some(size)))).await
        },
        async || {
            ground.raw.exec(&container, &["rm", "-f", "/tmp/large"]).await.ok();
            settle();
            let blocks = std::iter::repeat_n(&block[..], count);
            let blocks = std::iter::once(&header.as_bytes()[..]).chain(blocks).chain([&trailer[..]]);
            timed(ground.raw.put(&container, 512 + size + trailer.len() as u64, blocks)).await
        },
    )
    .await?;
    let name = |way| format!("{way} {}", ground.settings.size);
    report.throughput(&name("upload"), &ours, &raw, row.most, row.goal);
    let (ours, raw) = turns(
        1,
        rounds,
        async || {
            timed(async {
                let mut chunks = sandbox.read_file(ReadFile::new("large")).await?.into_stream();
                let mut total = 0;
                while let Some(chunk) = chunks.next().await {
                    total += chunk?.len() as u64;
                }
                expect(total == size, "the file is whole")
            })
            .await
        },
        async || {
            timed(async {
                let mut total = 0;
                ground.raw.get(&container, "large", &mut |bytes| total += bytes.len() as u64).await?;
                expect(total > size, "the archive is whole")
            })
            .await
        },
    )
    .await?;
    report.throughput(&name("download"), &ours, &raw, row.most, row.goal);
    ground.raw.remove(&container).await?;
    sandbox.close().await
}

pub(crate) async fn folder(ground: &Ground, row: &Row, report: &mut Report) -> Result<()> {
    let failed = |error| Error::io("pack or unpack the reference's folder", error);
    let (sandbox, container) = (ground.sandbox().await?, ground.container().await?);
    let place = tempfile::tempdir().map_err(failed)?;
    let source = place.path().join("up");
    tree(&source, FILES.0, FILES.1)?;
    let folded = || -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_dir_all("many", &source).map_err(failed)?;
        archive.into_inner().map_err(failed)
    };
    let packed = folded()?;
    let there_and_back = async |archive: &[u8]| -> Result<Vec<u8>> {
        ground.raw.put(&container, archive.len() as u64, [archive].into_iter()).await?;
        let mut back = Vec::new();
        ground.raw.get(&container, "many", &mut |bytes| back.extend_from_slice(bytes)).await?;
        Ok(back)
    };
    let content = Bytes::from(packed.clone());
    let (ours, raw) = turns(
        1,
        ground.settings.rounds(15),
        async || {
            let taken = timed(async {
                sandbox.write_archive(Unpack::new("packed"), content.clone()).await?;
                let mut chunks = sandbox.read_archive(Pack::new("packed")).await?.into_stream();
                while let Some(chunk) = chunks.next().await {
                    chunk?;
                }
                Ok(())
            })
            .await?;
            sandbox.remove(Remove::new("packed").recursive()).await?;
            Ok(taken)
        },
        async || {
            let taken = timed(there_and_back(&packed)).await?;
            ground.raw.exec(&container, &["rm", "-rf", "/tmp/many"]).await.ok();
            Ok(taken)
        },
    )
    .await?;
    report.ratio("581 small files there and back, packed", &ours, &raw, row.most, row.goal);

    let target = place.path().join("down");
    let cleared = |taken: Duration| fs::remove_dir_all(&target).map_err(failed).map(|()| taken);
    let (ours, raw) = turns(
        1,
        ground.settings.rounds(15),
        async || {
            let taken = timed(async {
                sandbox.upload_dir(&source, "many").await?;
                sandbox.download_dir("many", &target).await
            })
            .await?;
            sandbox.remove(Remove::new("many").recursive()).await?;
            cleared(taken)
        },
        async || {
            let taken = timed(async {
                let back = there_and_back(&folded()?).await?;
                tar::Archive::new(back.as_slice()).unpack(&target).map_err(failed)
            })
            .await?;
            ground.raw.exec(&container, &["rm", "-rf", "/tmp/many"]).await.ok();
            cleared(taken)
        },
    )
    .await?;
    let work = "the same from and to a folder of this machine";
    report.ratio(work, &ours, &raw, row.most, &format!("{}, packed and unpacked here", row.goal));
    ground.raw.remove(&container).await?;
    sandbox.close().await
}
