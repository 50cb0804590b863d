//! `grainchain files`: files of a sandbox.

mod list;

use std::path::PathBuf;

use clap::Subcommand;
use futures_util::StreamExt;
use grainchain::{Error, ErrorKind, FileKind, MakeDir, Remove, Sandbox, Stat, WriteFile};
use tokio::io::AsyncWriteExt;

use super::place::Place;
use crate::app::App;
use crate::exit::{Code, Failure, Outcome};
use crate::live;
use crate::output::Progress;

/// Files of a sandbox. `ID:path` is relative to the working directory there; without a path it is the working directory.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List a folder
    Ls(list::Args),
    /// Print a file as it is
    Cat {
        /// The file, as ID:path
        file: Place,
    },
    /// Write a file: the old one stays until the new one is complete. Missing parents are made
    Write {
        /// The file, as ID:path
        file: Place,
        /// Take the content from this file instead of stdin
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// Its permission bits, as in 755; those of the replaced file, or 644, by default
        #[arg(short, long, value_parser = mode)]
        mode: Option<u32>,
    },
    /// Remove a file or an empty folder
    Rm {
        /// What, as ID:path
        file: Place,
        /// With everything in it
        #[arg(short, long)]
        recursive: bool,
        /// Succeed also when there is nothing
        #[arg(short, long)]
        force: bool,
    },
    /// Make a folder with its parents
    Mkdir {
        /// The folder, as ID:path
        folder: Place,
        /// Its permission bits, as in 700; 755 by default
        #[arg(short, long, value_parser = mode)]
        mode: Option<u32>,
    },
}

pub(crate) async fn execute(app: App, command: Command) -> Outcome {
    match command {
        Command::Ls(args) => list::execute(&app, args).await?,
        Command::Cat { file } => {
            if app.printer.json {
                return Err(Error::bad_request("a file's bytes are no JSON").hint("leave out --json").into());
            }
            cat(&app.sandbox(&file.id).await?, named(&file)?).await?;
        }
        Command::Write { file, from, mode } => {
            let sandbox = app.sandbox(&file.id).await?;
            let mut request = WriteFile::new(named(&file)?);
            request.mode = mode;
            let content = match from {
                Some(from) => live::open(&from).await?,
                None => live::read_all()?,
            };
            let waiting = Progress::begin(app.printer, "writing");
            let info = sandbox.upload_file(request, content).await?;
            drop(waiting);
            app.printer.result(&info, |_| Ok(()))?;
        }
        Command::Rm { file, recursive, force } => {
            let mut request = Remove::new(named(&file)?);
            (request.recursive, request.missing_ok) = (recursive, force);
            app.sandbox(&file.id).await?.remove(request).await.map_err(|error| match error.kind() {
                ErrorKind::Conflict if !recursive => {
                    error.hint("`-r` removes a folder with everything in it")
                }
                _ => error,
            })?;
            app.printer.result(&serde_json::json!({ "removed": file.path }), |_| Ok(()))?;
        }
        Command::Mkdir { folder, mode } => {
            let mut request = MakeDir::new(named(&folder)?);
            request.mode = mode;
            let sandbox = app.sandbox(&folder.id).await?;
            sandbox.make_dir(request).await?;
            if app.printer.json {
                app.printer.json(&sandbox.stat(folder.path.as_str()).await?)?;
            }
        }
    }
    Ok(Code::OK)
}

/// Prints the bytes of a file.
pub(crate) async fn cat(sandbox: &Sandbox, path: &str) -> Result<(), Failure> {
    let info = sandbox.stat(Stat::new(path).follow()).await?;
    if info.kind == FileKind::Directory {
        return Err(Error::bad_request(format!("{path} is a folder"))
            .hint("copy it with `grainchain cp`")
            .sandbox(sandbox.id())
            .into());
    }
    let mut chunks = sandbox.read_file(path).await?.into_stream();
    let mut stdout = tokio::io::stdout();
    while let Some(chunk) = chunks.next().await {
        stdout.write_all(&chunk?).await.map_err(Failure::printing)?;
    }
    stdout.flush().await.map_err(Failure::printing)
}

/// The path, which must be one.
fn named(place: &Place) -> grainchain::Result<&str> {
    if place.path.is_empty() {
        return Err(Error::bad_request(format!("`{}` names a sandbox but no file in it", place.id))
            .hint("write ID:path, as in sb_abc:notes/today.txt"));
    }
    Ok(&place.path)
}

fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        _ => Err("write three octal digits, as in 755".to_owned()),
    }
}
