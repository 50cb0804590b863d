//! `grainchain files ls`.

use grainchain::{ErrorKind, FileInfo, FileKind, ListFiles, Sandbox, Stat};

use crate::app::App;
use crate::command::place::Place;
use crate::exit::Failure;
use crate::output::{Printer, Table, stamp, visible};

/// Lists a folder. Characters in names that would steer a terminal are written out; -0 and --json have the names as they are.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder, as ID:path
    folder: Place,
    /// Show mode, size and time too
    #[arg(short, long)]
    long: bool,
    /// Go so many levels down
    #[arg(short, long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    depth: u32,
    /// Go all the way down
    #[arg(short, long, conflicts_with = "depth")]
    recursive: bool,
    /// End each name with a NUL byte and change nothing in it
    #[arg(short = '0', long, conflicts_with_all = ["long", "json"])]
    null: bool,
}

pub(super) async fn execute(app: &App, args: Args) -> Result<(), Failure> {
    let sandbox = app.sandbox(&args.folder.id).await?;
    let depth = if args.recursive { u32::MAX } else { args.depth };
    let files = list(&sandbox, args.folder.path_or_here(), depth).await?;
    if args.null {
        return files.iter().try_for_each(|file| app.printer.bytes(format!("{}\0", file.path).as_bytes()));
    }
    app.printer.result(&files, |printer| show(printer, &files, args.long))
}

/// The entries of a folder, or a file itself.
async fn list(sandbox: &Sandbox, path: &str, depth: u32) -> Result<Vec<FileInfo>, Failure> {
    match sandbox.list_files(ListFiles::new(path).depth(depth)).await {
        Err(error) if error.kind() == ErrorKind::BadRequest => match sandbox.stat(Stat::new(path)).await {
            Ok(info) if !info.is_directory() => Ok(vec![info]),
            _ => Err(error.into()),
        },
        other => Ok(other?),
    }
}

fn show(printer: Printer, files: &[FileInfo], long: bool) -> Result<(), Failure> {
    if !long {
        return files.iter().try_for_each(|file| printer.line(visible(&file.path)));
    }
    if files.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(["MODE", "SIZE", "MODIFIED", "NAME"]);
    for file in files {
        table.row([
            permissions(file),
            file.size.to_string(),
            file.modified.map_or_else(|| "-".to_owned(), stamp),
            match &file.link_target {
                Some(target) => format!("{} -> {target}", file.path),
                None => file.path.clone(),
            },
        ]);
    }
    printer.table(&table)
}

/// Kind and permission bits as `ls -l` writes them.
fn permissions(file: &FileInfo) -> String {
    let kind = match file.kind {
        FileKind::File => '-',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
        FileKind::Device => 'b',
        _ => '?',
    };
    let mut text = String::from(kind);
    let specials = [(0o4000, 'S', 's'), (0o2000, 'S', 's'), (0o1000, 'T', 't')];
    for (index, (bit, alone, with)) in specials.into_iter().enumerate() {
        let bits = file.mode >> (6 - 3 * index);
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (bits & 1 != 0, file.mode & bit != 0) {
            (true, true) => with,
            (false, true) => alone,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_written_as_everywhere() {
        for (kind, mode, text) in [
            (FileKind::File, 0o644, "-rw-r--r--"),
            (FileKind::Directory, 0o1777, "drwxrwxrwt"),
            (FileKind::File, 0o4755, "-rwsr-xr-x"),
            (FileKind::File, 0o2640, "-rw-r-S---"),
        ] {
            let mut file = FileInfo::new("x", kind, 0);
            file.mode = mode;
            assert_eq!(permissions(&file), text);
        }
    }
}
