//! Events as they come: changes of files, and what code does.

use futures_util::StreamExt;
use grainchain_core::{CodeEvent, Result, WatchPath};

use super::conversation::Conversation;
use super::{Host, Inside};
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

/// Goes on whatever happens to the client: half way something may stand still already.
pub(super) async fn hold_still(host: &dyn Host, talk: &mut Conversation) -> Result<()> {
    let let_go = talk.let_go()?;
    let held = async {
        host.hold_still().await?;
        talk.event(&()).await?;
        let_go.await;
        Ok(())
    };
    let held = held.await;
    let went_on = host.go_on().await;
    held.and(went_on)?;
    talk.answer(&()).await
}
