//! Folders that are taken along as they are, whoever owns what is in them.

use std::sync::mpsc;
use std::thread;

use grainchain_core::tree::{PackOptions, UnpackOptions, pack, unpack};
use grainchain_core::{Content, Error, Result, UnpackSummary, blocking};

use super::{privileges, warden};
use crate::files::refusal;
use crate::guest::Guest;

/// The thread that keeps folders: the only one that may read and write what its owner hides.
#[derive(Debug)]
pub(super) struct Keeping(mpsc::Sender<blocking::Work>);

impl Keeping {
    /// Starts it. Only before this thread is [sealed](privileges::seal).
    pub(super) fn start() -> Result<Self> {
        let (sender, work) = mpsc::channel::<blocking::Work>();
        let started = thread::Builder::new().name("grainchain-keep".into()).spawn(move || {
            if let Err(error) = privileges::become_keeper() {
                warden::end(&Error::io("keep folders", error));
            }
            for work in work {
                work();
            }
        });
        started.map_err(|error| Error::io("start the helper's thread", error))?;
        Ok(Self(sender))
    }

    /// The thread ends with the program.
    fn hand_over(&self, work: blocking::Work) {
        self.0.send(work).ok();
    }

    /// The folder `path` of `guest` as a tar, itself included.
    pub(super) fn keep(&self, guest: &Guest, path: &str) -> Result<Content> {
        let (guest, path) = (guest.clone(), guest.file_path(path)?);
        let work = move |writer: &mut blocking::ChunkWriter| {
            let root = guest.shared.root.subtree(&path).map_err(refusal)?;
            let mut options = PackOptions::default().top(true).pipes(true).one_device(true);
            pack(&root, ".", writer, &mut options).map_err(refusal).map(drop)
        };
        Ok(blocking::produce_on(|work| self.hand_over(work), work))
    }

    /// Puts what was kept into the folder `path` of `guest`.
    pub(super) async fn bring_back(&self, guest: &Guest, path: &str, kept: Content) -> Result<UnpackSummary> {
        let (guest, path) = (guest.clone(), guest.file_path(path)?);
        let work = move |reader: &mut blocking::ChunkReader| {
            let options = UnpackOptions::default().top(true).pipes(true).ownership(true).set_ids(true);
            let report = unpack(&guest.shared.root, &path, reader, &options).map_err(refusal)?;
            Ok(UnpackSummary::from(report))
        };
        blocking::consume_on(|work| self.hand_over(work), kept.into_stream(), work).await
    }
}
