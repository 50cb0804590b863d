//! Whole trees in and out as one tar stream.

use async_trait::async_trait;
use grainchain_core::tree::{Links, MkdirOptions, PackOptions, TreeErrorKind, UnpackOptions, pack, unpack};
use grainchain_core::{Content, Error, FileKind, Pack, Result, Unpack, UnpackSummary, blocking, facet};

use crate::files::refusal;
use crate::guest::Guest;

#[async_trait]
impl facet::Archive for Guest {
    /// What is wrong with the path is told at once; what goes wrong later ends the stream.
    async fn pack(&self, request: Pack) -> Result<Content> {
        let path = self.file_path(&request.path)?;
        let guest = self.clone();
        blocking::run(move || {
            let root = &guest.shared.root;
            let stat = root.stat(&path, Links::Follow).map_err(refusal)?;
            match stat.kind {
                FileKind::Directory => {
                    let top = root.subtree(&path).map_err(refusal)?;
                    // Lookups need less permission than packing.
                    top.read_dir(".").map_err(refusal)?;
                    Ok(blocking::produce(move |writer| {
                        pack(&top, ".", writer, &mut PackOptions::default()).map_err(refusal).map(drop)
                    }))
                }
                FileKind::File => {
                    root.open_read(&path).map_err(refusal)?;
                    let guest = guest.clone();
                    Ok(blocking::produce(move |writer| {
                        let root = &guest.shared.root;
                        pack(root, &path, writer, &mut PackOptions::default()).map_err(refusal).map(drop)
                    }))
                }
                other => Err(Error::bad_request(format!(
                    "{path:?} is a {} and neither a directory nor a regular file",
                    other.describe()
                ))),
            }
        })
        .await
    }

    /// # Cancel safety
    ///
    /// Dropping the future leaves the entries that were complete by then.
    async fn unpack(&self, request: Unpack, archive: Content) -> Result<UnpackSummary> {
        let path = self.file_path(&request.path)?;
        let guest = self.clone();
        blocking::consume(archive.into_stream(), move |reader| {
            let root = &guest.shared.root;
            // Made first: an empty archive makes an empty directory, and a bad path is told before any byte is read.
            match root.mkdir(&path, &MkdirOptions::default().parents(true)) {
                Ok(()) => {}
                Err(error) if error.kind() == TreeErrorKind::AlreadyExists => {
                    return Err(refusal(error).hint("name a directory"));
                }
                Err(error) => return Err(refusal(error)),
            }
            let report = unpack(root, &path, reader, &UnpackOptions::default()).map_err(refusal)?;
            Ok(UnpackSummary::from(report))
        })
        .await
    }
}

#[cfg(test)]
mod tests;
