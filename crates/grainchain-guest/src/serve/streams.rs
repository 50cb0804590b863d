//! Events as they come: changes of files, and what code does.

use futures_util::StreamExt;
use grainchain_core::{CodeEvent, Result, WatchPath};

use super::Inside;
use super::conversation::Conversation;
use crate::message::{Mark, WireCode, WireRunCode, WireWatch};

pub(super) async fn watch(
    inside: &Inside,
    path: String,
    recursive: bool,
    talk: &mut Conversation,
) -> Result<()> {
    let mut request = WatchPath::new(path);
    request.recursive = recursive;
    let mut changes = talk.unless_gone(inside.watch.watch(request)).await?;
    talk.event(&()).await?;
    while let Some(change) = talk.unless_gone(async { changes.next().await.transpose() }).await? {
        talk.event(&WireWatch::from(change)).await?;
    }
    talk.answer(&()).await
}

pub(super) async fn run_code(inside: &Inside, request: WireRunCode, talk: &mut Conversation) -> Result<()> {
    let mut events = talk.unless_gone(inside.code.run_code(request.into())).await?;
    talk.event(&WireCode::Started).await?;
    while let Some(event) = talk.unless_gone(async { events.next().await.transpose() }).await? {
        match event {
            CodeEvent::Stdout(bytes) => talk.bytes(Mark::Stdout, bytes).await?,
            CodeEvent::Stderr(bytes) => talk.bytes(Mark::Stderr, bytes).await?,
            event => {
                if let Some(event) = WireCode::new(event) {
                    talk.event(&event).await?;
                }
            }
        }
    }
    talk.answer(&()).await
}
