//! What a command reads.

use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::stream;
use grainchain_core::{Content, Error, ErrorKind};

use super::support::{noise, secs};
use crate::case::cases;
use crate::check::fails;

cases! { stdin:
    fn without_input_reading_meets_the_end_at_once(cx) {
        let output = cx.sandbox().await?.execute("cat; echo end").timeout(secs(20)).await?;
        same!(output.stdout(), "end\n");
    }

    fn the_input_arrives_and_ends(cx) {
        let output = cx.sandbox().await?.execute("cat; echo end").stdin("some\ninput").timeout(secs(20)).await?;
        same!(output.stdout(), "some\ninputend\n");
    }

    fn an_empty_input_is_just_the_end(cx) {
        let output = cx.sandbox().await?.execute("cat; echo end").stdin("").timeout(secs(20)).await?;
        same!(output.stdout(), "end\n");
    }

    fn every_byte_of_the_input_arrives_as_it_is(cx) {
        let all: Vec<u8> = (0..=255).collect();
        let output = cx.sandbox().await?.execute(["cat"]).stdin(all.clone()).timeout(secs(20)).await?;
        same!(output.stdout.bytes(), all);
    }

    fn ten_mebibytes_of_input_arrive_whole(cx) {
        let data = noise(10 << 20, 7);
        let output = cx.sandbox().await?.execute(["cat"]).stdin(data.clone()).timeout(secs(50)).await?;
        same!(output.stdout.total(), data.len() as u64);
        check!(output.stdout.bytes() == data, "the bytes are changed");
    }

    fn an_input_in_chunks_of_unknown_length_arrives_whole(cx) {
        let chunks: Vec<_> = (0..500).map(|number| Ok(Bytes::from(format!("line {number}\n")))).collect();
        let content = Content::from_stream(stream::iter(chunks), None);
        let output = cx.sandbox().await?.execute("wc -l; cat").stdin(content).timeout(secs(20)).await?;
        same!(output.stdout().trim(), "500");
    }

    fn an_input_from_a_file_of_this_machine_arrives(cx) {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("input");
        std::fs::write(&path, "from a file")?;
        let content = Content::open(&path).await?;
        same!(cx.sandbox().await?.execute(["cat"]).stdin(content).await?.stdout(), "from a file");
    }

    fn a_command_need_not_read_its_input(cx) {
        let output = cx.sandbox().await?.execute("echo ignored it").stdin(noise(1 << 20, 3)).timeout(secs(20)).await?;
        same!(output.stdout(), "ignored it\n");
        same!(output.exit_code(), Some(0));
    }

    fn a_command_may_read_a_part_of_its_input(cx) {
        let output = cx.sandbox().await?.execute(["head", "-c", "5"]).stdin(vec![b'q'; 10 << 20]).timeout(secs(40)).await?;
        same!(output.stdout(), "qqqqq");
        same!(output.exit_code(), Some(0));
    }

    fn input_and_output_flow_at_once(cx) {
        let data = noise(3 << 20, 9);
        let output = cx.sandbox().await?.execute("cat | cat | cat").stdin(data.clone()).timeout(secs(40)).await?;
        check!(output.stdout.bytes() == data, "{} bytes came back", output.stdout.total());
    }

    fn an_input_that_fails_is_an_error_and_not_a_short_input(cx) {
        let chunks = vec![Ok(Bytes::from_static(b"half of it")), Err(Error::unexpected("the source broke"))];
        let content = Content::from_stream(stream::iter(chunks), None);
        let result = cx.sandbox().await?.execute("cat >/dev/null; echo took it").stdin(content).timeout(secs(20)).await;
        let error = fails(result, &[ErrorKind::Unexpected])?;
        check!(format!("{error:#}").contains("the source broke"), "does not say why: {error:#}");
    }

    fn a_piped_input_is_refused_by_execute(cx) {
        let command = grainchain_core::Command::shell("cat").piped_stdin();
        let error = fails(cx.sandbox().await?.execute(command).await, &[ErrorKind::BadRequest])?;
        same!(error.failed_option(), Some("stdin"));
    }

    fn inputs_of_concurrent_commands_are_not_mixed_up(cx) {
        let sandbox = cx.sandbox().await?;
        let outputs = try_join_all((0..8_u32).map(|number| {
            let command = sandbox.execute(["cat"]).stdin(noise(200_000, number)).timeout(secs(40));
            async move { command.await }
        }))
        .await?;
        for (number, output) in outputs.iter().enumerate() {
            check!(output.stdout.bytes() == noise(200_000, number as u32), "command {number} read something else");
        }
    }

    fn the_first_reader_in_a_line_takes_the_input(cx) {
        let output = cx.sandbox().await?.execute("read first; read second; echo $second $first").stdin("a\nb\n").await?;
        same!(output.stdout(), "b a\n");
    }
}
