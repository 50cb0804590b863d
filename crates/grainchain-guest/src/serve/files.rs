//! Bytes of files and trees.

use futures_util::StreamExt;
use grainchain_core::{Content, Pack, ReadFile, Result, Unpack, WriteFile};

use super::conversation::Conversation;
use super::{Host, Inside};
use crate::message::{Mark, WireFile, WireSummary};

pub(super) async fn read(
    inside: &Inside,
    path: String,
    offset: u64,
    length: Option<u64>,
    talk: &mut Conversation,
) -> Result<()> {
    let mut request = ReadFile::new(path).offset(offset);
    request.length = length;
    let content = talk.unless_gone(inside.files.read(request)).await?;
    send(content, talk).await
}

pub(super) async fn pack(inside: &Inside, path: String, talk: &mut Conversation) -> Result<()> {
    let content = talk.unless_gone(inside.archive.pack(Pack::new(path))).await?;
    send(content, talk).await
}

/// Tells the length, where it is known, then the bytes.
async fn send(content: Content, talk: &mut Conversation) -> Result<()> {
    talk.event(&content.len()).await?;
    let mut chunks = content.into_stream();
    while let Some(chunk) = chunks.next().await {
        talk.bytes(Mark::Data, chunk?).await?;
    }
    talk.answer(&()).await
}

pub(super) async fn write(
    inside: &Inside,
    path: String,
    mode: Option<u32>,
    parents: bool,
    length: Option<u64>,
    talk: &mut Conversation,
) -> Result<()> {
    let mut request = WriteFile::new(path);
    (request.mode, request.parents) = (mode, parents);
    let content = talk.content(length)?;
    let info = talk.unless_gone(inside.files.write(request, content)).await?;
    talk.answer(&WireFile::from(info)).await
}

pub(super) async fn unpack(inside: &Inside, path: String, talk: &mut Conversation) -> Result<()> {
    let content = talk.content(None)?;
    let summary = talk.unless_gone(inside.archive.unpack(Unpack::new(path), content)).await?;
    talk.answer(&WireSummary::from(summary)).await
}

pub(super) async fn keep(host: &dyn Host, path: String, talk: &mut Conversation) -> Result<()> {
    let content = talk.unless_gone(host.keep(path)).await?;
    send(content, talk).await
}

pub(super) async fn bring_back(host: &dyn Host, path: String, talk: &mut Conversation) -> Result<()> {
    let content = talk.content(None)?;
    let summary = talk.unless_gone(host.bring_back(path, content)).await?;
    talk.answer(&WireSummary::from(summary)).await
}
