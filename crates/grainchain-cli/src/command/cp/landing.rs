//! Where a copy lands.

use std::path::{Path, PathBuf};

use grainchain::{Error, ErrorKind, Result, Sandbox, Stat};

use crate::command::place::below;

/// What is copied, by the name it has where it comes from; none when it has none of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    /// One file.
    File(Option<&'a str>),
    /// A folder; without a name, its contents.
    Folder(Option<&'a str>),
}

/// What is at the destination already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    Nothing,
    Folder,
    Other,
}

/// Whether it lands below the destination, and under which name.
fn decide<'a>(source: Source<'a>, there: There, slash: bool, dst: &str) -> Result<Option<&'a str>> {
    let unnamed = || {
        Error::bad_request(format!("{dst} is a folder, and what is copied has no name"))
            .hint("name the file in DST")
    };
    match (source, there) {
        (Source::File(name), There::Folder) => Ok(Some(name.ok_or_else(unnamed)?)),
        (Source::File(name), There::Nothing) if slash => Ok(Some(name.ok_or_else(unnamed)?)),
        (Source::File(_), There::Nothing) => Ok(None),
        (Source::File(_), There::Other) if !slash => Ok(None),
        (Source::Folder(name), There::Folder) => Ok(name),
        (Source::Folder(_), There::Nothing) => Ok(None),
        (_, There::Other) => {
            Err(Error::new(ErrorKind::Conflict, format!("{dst} is there and is not a folder"))
                .hint("choose another DST or remove it"))
        }
    }
}

/// The path in the sandbox that `source` gets.
pub(super) async fn in_sandbox(sandbox: &Sandbox, dst: &str, source: Source<'_>) -> Result<String> {
    let bare = match dst.trim_end_matches('/') {
        "" if dst.is_empty() => ".",
        "" => "/",
        bare => bare,
    };
    let there = match sandbox.stat(Stat::new(bare).follow()).await {
        Ok(info) if info.is_directory() => There::Folder,
        Ok(_) => There::Other,
        Err(error) if error.kind() == ErrorKind::NotFound => There::Nothing,
        Err(error) => return Err(error),
    };
    let name = decide(source, there, dst.ends_with('/'), bare)?;
    Ok(name.map_or_else(|| bare.to_owned(), |name| below(bare, name)))
}

/// The path of this machine that `source` gets. The folder that a slash asks for is made.
pub(super) fn on_host(dst: &Path, source: Source<'_>) -> Result<PathBuf> {
    let there = match std::fs::metadata(dst) {
        Ok(metadata) if metadata.is_dir() => There::Folder,
        Ok(_) => There::Other,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => There::Nothing,
        // `file/` names a folder where there is a file.
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => There::Other,
        Err(error) => return Err(Error::io(format_args!("look at {}", dst.display()), error)),
    };
    let slash = dst.as_os_str().as_encoded_bytes().ends_with(b"/");
    let name = decide(source, there, slash, &dst.display().to_string())?;
    let parent = match name {
        Some(_) => Some(dst),
        None => dst.parent().filter(|parent| !parent.as_os_str().is_empty()),
    };
    if let Some(parent) = parent {
        std::fs::create_dir_all(parent)
            .map_err(|error| Error::io(format_args!("make the folder {}", parent.display()), error))?;
    }
    let Some(name) = name else { return Ok(dst.to_owned()) };
    let to = dst.join(name);
    // A link of this name may have come with an earlier copy, and lead wherever a stranger likes. A file takes its place.
    if matches!(source, Source::Folder(_)) && to.is_symlink() {
        let message = format!("{} is a symbolic link, which a copy never follows", to.display());
        return Err(Error::new(ErrorKind::Conflict, message)
            .hint("remove the link, or copy to the folder that it leads to"));
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn into_a_folder_it_goes_under_its_own_name() {
        for source in [Source::File(Some("a")), Source::Folder(Some("a"))] {
            assert_eq!(decide(source, There::Folder, false, "d").unwrap(), Some("a"));
        }
    }

    #[test]
    fn where_nothing_is_it_gets_a_new_name() {
        for source in [Source::File(Some("a")), Source::Folder(Some("a"))] {
            assert_eq!(decide(source, There::Nothing, false, "d").unwrap(), None);
        }
        assert_eq!(decide(Source::Folder(Some("a")), There::Nothing, true, "d").unwrap(), None);
        assert_eq!(decide(Source::File(Some("a")), There::Nothing, true, "d").unwrap(), Some("a"));
    }

    #[test]
    fn a_folder_without_a_name_gives_its_contents() {
        assert_eq!(decide(Source::Folder(None), There::Folder, false, "d").unwrap(), None);
    }

    #[test]
    fn a_file_replaces_a_file_but_nothing_else_does() {
        assert_eq!(decide(Source::File(Some("a")), There::Other, false, "d").unwrap(), None);
        assert!(decide(Source::File(Some("a")), There::Other, true, "d").is_err());
        assert!(decide(Source::Folder(Some("a")), There::Other, false, "d").is_err());
        assert!(decide(Source::File(None), There::Folder, false, "d").is_err());
    }
}
