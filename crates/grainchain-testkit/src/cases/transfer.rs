//! Large and streamed transfers.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use grainchain_core::{Content, ErrorKind, ReadFile};

use super::support::{noise, secs, sh};
use crate::case::cases;
use crate::check::{Outcome, fails};

const GIB: u64 = 1 << 30;
const MIB: usize = 1 << 20;

/// A gibibyte in which every mebibyte begins with its own number.
fn gibibyte() -> Content {
    let filler = Bytes::from(noise(MIB, 42));
    let chunks = stream::iter((0..1024_u32).map(move |number| {
        let mut chunk = filler.to_vec();
        chunk[..4].copy_from_slice(&number.to_be_bytes());
        Ok(Bytes::from(chunk))
    }));
    Content::from_stream(chunks, Some(GIB))
}

/// Fails unless `content` is that gibibyte.
async fn expect_gibibyte(content: Content) -> Outcome {
    let filler = noise(MIB, 42);
    let mut position = 0_usize;
    let mut chunks = content.into_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            let within = position % MIB;
            let length = rest.len().min(MIB - within);
            let (part, after) = rest.split_at(length);
            let skip = 4_usize.saturating_sub(within).min(length);
            let number = ((position / MIB) as u32).to_be_bytes();
            check!(part[..skip] == number[within.min(4)..within.min(4) + skip], "a piece is missing or moved at byte {position}");
            check!(part[skip..] == filler[within + skip..within + length], "the bytes are changed after {position}");
            position += length;
            rest = after;
        }
    }
    same!(position as u64, GIB, "the number of bytes");
    Ok(())
}

cases! { transfer:
    fn one_gibibyte_goes_up_and_comes_down(cx) needs [Files] tags [Heavy] {
        let sandbox = cx.sandbox().await?;
        same!(sandbox.upload_file("big", gibibyte()).await?.size, GIB);
        same!(sandbox.stat("big").await?.size, GIB);
        expect_gibibyte(sandbox.read_file("big").await?).await?;
        let middle = sandbox.download_file(ReadFile::new("big").offset(700 * MIB as u64).length(4)).await?;
        same!(middle, &700_u32.to_be_bytes()[..]);
        sandbox.remove("big").await?;
    }

    fn a_thousand_small_files_one_by_one(cx) needs [Files] tags [Heavy] {
        let sandbox = cx.sandbox().await?;
        for number in 0..1000 {
            sandbox.upload_file(format!("d{}/f{number}", number % 7), format!("content {number}")).await?;
        }
        for number in 0..1000 {
            same!(sandbox.download_file(format!("d{}/f{number}", number % 7)).await?, format!("content {number}"));
        }
    }

    fn a_stream_of_unknown_length_goes_up(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let chunks: Vec<_> = (0..300).map(|number| Ok(Bytes::from(vec![number as u8; 1 + number * 17 % 5000]))).collect();
        let expected: Vec<u8> = chunks.iter().flatten().flat_map(|chunk: &Bytes| chunk.to_vec()).collect();
        sandbox.upload_file("streamed", Content::from_stream(stream::iter(chunks), None)).await?;
        check!(sandbox.download_file("streamed").await? == expected, "the bytes are changed");
    }

    fn a_file_of_this_machine_goes_up_and_comes_down(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let folder = tempfile::tempdir()?;
        let (there, back) = (folder.path().join("there"), folder.path().join("back"));
        let data = noise(3_000_000, 8);
        std::fs::write(&there, &data)?;
        sandbox.upload_file("f", Content::open(&there).await?).await?;
        same!(sandbox.download_to("f", &back).await?, 3_000_000);
        check!(std::fs::read(&back)? == data, "the bytes are changed");
    }

    fn a_failed_download_leaves_the_file_of_this_machine(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let folder = tempfile::tempdir()?;
        let target = folder.path().join("target");
        std::fs::write(&target, "the old one")?;
        fails(sandbox.download_to("missing", &target).await, &[ErrorKind::NotFound])?;
        same!(std::fs::read_to_string(&target)?, "the old one");
        same!(std::fs::read_dir(folder.path())?.count(), 1);
    }

    fn a_download_to_a_missing_directory_names_it(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("f", "x").await?;
        let folder = tempfile::tempdir()?;
        let target = folder.path().join("no-such-place/f");
        let error = fails(sandbox.download_to("f", &target).await, &[ErrorKind::NotFound])?;
        check!(error.to_string().contains("no-such-place"), "does not name the directory: {error}");
    }

    fn a_download_given_up_half_way_disturbs_nothing(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("data", noise(8 * MIB, 3)).await?;
        for _ in 0..20 {
            let mut chunks = sandbox.read_file("data").await?.into_stream();
            check!(chunks.next().await.is_some(), "nothing came");
        }
        same!(sh(&sandbox, "wc -c < data").await?.trim(), (8 * MIB).to_string());
    }

    fn a_slow_reader_gets_everything(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let data = noise(4 * MIB, 6);
        sandbox.upload_file("data", data.clone()).await?;
        let mut chunks = sandbox.read_file("data").await?.into_stream();
        let mut seen = Vec::new();
        while let Some(chunk) = chunks.next().await {
            seen.extend_from_slice(&chunk?);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        check!(seen == data, "{} of {} bytes came or they are changed", seen.len(), data.len());
    }

    fn transfers_and_commands_do_not_block_each_other(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let endless = stream::once(async { Ok(Bytes::from_static(b"first")) }).chain(stream::pending());
        let stalled = sandbox.upload_file("stalled", Content::from_stream(endless, None));
        let others = async {
            for number in 0..10 {
                same!(sandbox.execute(["echo", "on"]).timeout(secs(20)).await?.stdout(), "on\n");
                sandbox.upload_file("other", format!("{number}")).await?;
                same!(sandbox.download_file("other").await?, format!("{number}"));
            }
            Outcome::Ok(())
        };
        tokio::select! {
            stalled = stalled => { stalled?; return Err("an endless upload ended".into()) }
            others = others => others?,
        }
    }

    fn sixteen_transfers_at_once_are_not_mixed_up(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let moves = (0..16_u32).map(|number| {
            let sandbox = sandbox.clone();
            async move {
                let (path, data) = (format!("f{number}"), noise(300_000, number));
                sandbox.upload_file(&path, data.clone()).await?;
                check!(sandbox.download_file(&path).await? == data, "{path} holds something else");
                Outcome::Ok(())
            }
        });
        futures_util::future::try_join_all(moves).await?;
    }
}
