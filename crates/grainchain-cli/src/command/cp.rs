//! `grainchain cp`: files and folders, both ways.

mod landing;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use grainchain::{Error, ErrorKind, FileKind, Result, Sandbox, Stat, UnpackSummary, WriteFile};
use serde::Serialize;

use self::landing::{Source, in_sandbox, on_host};
use super::place::{Place, Side, last_host_name, last_name};
use crate::app::App;
use crate::exit::{Code, Failure, Outcome};
use crate::live;
use crate::output::Progress;
use crate::signals::Signals;

/// Copy files and folders between this machine and a sandbox
///
/// One side is `ID:path`, relative to the working directory there.
///
/// Where it lands, for files and folders alike: when DST is a folder, below it, under its own name; otherwise DST is its new name,
/// and missing parents are made. A file whose DST ends with a slash lands below DST, which is made. A folder that is written
/// `SRC/.` gives its contents alone: they are added to DST. Files that are in DST and not in SRC stay. The mode is kept; a folder
/// keeps times, links and attributes too. `-` is stdin or stdout, for the bytes of one file.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is copied: a path here, `ID:path`, or `-`
    #[arg(value_parser = side())]
    src: Side,
    /// Where it goes: a path here, `ID:path`, or `-`
    #[arg(value_parser = side())]
    dst: Side,
}

fn side() -> impl TypedValueParser<Value = Side> {
    OsStringValueParser::new().try_map(|text: OsString| Side::try_from(text))
}

/// What was copied.
#[derive(Debug, Serialize)]
struct Copied {
    to: String,
    entries: u64,
    bytes: u64,
    skipped: Vec<String>,
}

impl Copied {
    fn file(to: impl Into<String>, bytes: u64) -> Self {
        Self { to: to.into(), entries: 1, bytes, skipped: Vec::new() }
    }

    fn tree(to: impl Into<String>, summary: UnpackSummary) -> Self {
        Self { to: to.into(), entries: summary.entries, bytes: summary.bytes, skipped: summary.skipped }
    }
}

pub(crate) async fn execute(app: App, args: Args) -> Outcome {
    let mut signals = Signals::listen()?;
    tokio::select! {
        copied = copy(&app, args) => {
            let Some(copied) = copied? else { return Ok(Code::OK) };
            for skipped in &copied.skipped {
                app.printer.warn(format_args!("not copied as it was: {skipped}"));
            }
            app.printer.result(&copied, |_| Ok(()))?;
            Ok(Code::OK)
        }
        // Dropping the copy leaves the old files.
        signal = signals.end() => Err(Failure::Signal(signal.as_raw())),
    }
}

/// Copies; nothing is reported when the bytes themselves went to stdout.
async fn copy(app: &App, args: Args) -> Result<Option<Copied>, Failure> {
    match (args.src, args.dst) {
        (Side::Sandbox(src), Side::Stream) => {
            let sandbox = app.sandbox(&src.id).await?;
            super::files::cat(&sandbox, src.path_or_here()).await.map(|()| None)
        }
        (Side::Stream, Side::Sandbox(dst)) => Ok(Some(from_stdin(app, &dst).await?)),
        (Side::Host(src), Side::Sandbox(dst)) => Ok(Some(upload(app, &src, &dst).await?)),
        (Side::Sandbox(src), Side::Host(dst)) => Ok(Some(download(app, &src, &dst).await?)),
        (Side::Sandbox(_), Side::Sandbox(_)) => {
            Err(Error::bad_request("both sides are in sandboxes").hint("copy to this machine first").into())
        }
        _ => Err(Error::bad_request("neither side is in a sandbox")
            .hint("write one side as ID:path, as in `grainchain cp notes.txt sb_abc:notes/`")
            .into()),
    }
}

async fn from_stdin(app: &App, dst: &Place) -> Result<Copied> {
    let sandbox = app.sandbox(&dst.id).await?;
    let progress = Progress::begin(app.printer, "copying stdin");
    let path = in_sandbox(&sandbox, &dst.path, Source::File(None)).await?;
    let info = sandbox.upload_file(path.as_str(), live::read_all()?).await?;
    drop(progress);
    Ok(Copied::file(path, info.size))
}

async fn upload(app: &App, src: &Path, dst: &Place) -> Result<Copied> {
    let metadata = std::fs::metadata(src).map_err(|error| {
        let error = Error::io(format_args!("look at {}", src.display()), error);
        match error.kind() {
            ErrorKind::NotFound => error.hint("it is a path of this machine; one in a sandbox is ID:path"),
            _ => error,
        }
    })?;
    let sandbox = app.sandbox(&dst.id).await?;
    let progress = Progress::begin(app.printer, &format!("copying {}", src.display()));
    if metadata.is_dir() {
        let path = in_sandbox(&sandbox, &dst.path, Source::Folder(last_host_name(src))).await?;
        let summary = sandbox.upload_dir(src, &path).progress(progress.bytes()).await?;
        return Ok(Copied::tree(path, summary));
    }
    let name = last_host_name(src).ok_or_else(|| {
        Error::bad_request(format!("the name of {} is not UTF-8 text", src.display()))
            .hint("name the file in DST and send it through stdin, or put it into a folder and copy that")
    })?;
    let content = live::open(src).await?;
    let path = in_sandbox(&sandbox, &dst.path, Source::File(Some(name))).await?;
    let request = WriteFile::new(&path).mode(metadata.permissions().mode() & 0o777);
    let info = sandbox.upload_file(request, content).await?;
    Ok(Copied::file(path, info.size))
}

async fn download(app: &App, src: &Place, dst: &Path) -> Result<Copied> {
    let sandbox = app.sandbox(&src.id).await?;
    let progress = Progress::begin(app.printer, &format!("copying {}", src.path_or_here()));
    let info = sandbox.stat(Stat::new(src.path_or_here()).follow()).await?;
    let name = last_name(&src.path);
    match info.kind {
        FileKind::Directory => {
            let to = on_host(dst, Source::Folder(name))?;
            let summary = sandbox.download_dir(src.path_or_here(), &to).progress(progress.bytes()).await?;
            Ok(Copied::tree(to.display().to_string(), summary))
        }
        FileKind::File => {
            let to = on_host(dst, Source::File(name))?;
            download_file(&sandbox, &src.path, to, info.mode).await
        }
        _ => Err(Error::bad_request(format!("{} is neither a file nor a folder", src.path))
            .hint("`grainchain exec` runs a program there that reads it, such as `cat`")
            .sandbox(sandbox.id())),
    }
}

async fn download_file(sandbox: &Sandbox, path: &str, to: PathBuf, mode: u32) -> Result<Copied> {
    let bytes = sandbox.download_to(path, &to).await?;
    if mode != 0 {
        // Without the bits that would lend our rights to a stranger's program.
        let permissions = std::fs::Permissions::from_mode(mode & 0o777);
        std::fs::set_permissions(&to, permissions)
            .map_err(|error| Error::io(format_args!("set the mode of {}", to.display()), error))?;
    }
    Ok(Copied::file(to.display().to_string(), bytes))
}
