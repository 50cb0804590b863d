//! Whole trees as one tar stream.

use async_trait::async_trait;
use grainchain_core::facet::Archive;
use grainchain_core::{Content, Pack, Result, Unpack, UnpackSummary};

use super::Remote;
use super::files::content;
use crate::message::{Request, WireSummary};

#[async_trait]
impl Archive for Remote {
    async fn pack(&self, request: Pack) -> Result<Content> {
        content(self.call(&Request::Pack { path: request.path }).await?.finish()).await
    }

    async fn unpack(&self, request: Unpack, archive: Content) -> Result<UnpackSummary> {
        let call = self.call(&Request::Unpack { path: request.path }).await?;
        call.answer_to::<WireSummary>(archive).await.map(Into::into)
    }
}
