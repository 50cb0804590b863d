//! Changes of files as they happen.

use async_trait::async_trait;
use futures_util::stream;
use grainchain_core::facet::Watch;
use grainchain_core::{Result, WatchPath, WatchStream};

use super::Remote;
use super::call::Reply;
use crate::message::{Request, WireWatch, malformed, parse};

#[async_trait]
impl Watch for Remote {
    async fn watch(&self, request: WatchPath) -> Result<WatchStream> {
        let WatchPath { path, recursive, .. } = request;
        let mut call = self.call(&Request::Watch { path, recursive }).await?.finish();
        call.event::<()>().await?;
        Ok(Box::pin(stream::try_unfold(call, |mut call| async move {
            match call.next().await? {
                Reply::Event(document) => Ok(Some((parse::<WireWatch>(&document)?.into(), call))),
                Reply::Answer(_) => Ok(None),
                _ => Err(malformed("something else than a change")),
            }
        })))
    }
}
