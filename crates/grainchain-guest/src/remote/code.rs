//! Code in interpreters that keep their variables.

use async_trait::async_trait;
use futures_util::stream;
use grainchain_core::facet::Code;
use grainchain_core::{CodeEvent, CodeStream, ContextId, ContextInfo, CreateContext, Result, RunCode};

use super::Remote;
use super::call::Reply;
use crate::message::{Request, WireCode, WireContext, malformed, parse};

#[async_trait]
impl Code for Remote {
    async fn run_code(&self, request: RunCode) -> Result<CodeStream> {
        let mut call = self.call(&Request::RunCode(Box::new(request.into()))).await?.finish();
        let WireCode::Started = call.event().await? else {
            return Err(malformed("code that does not begin"));
        };
        Ok(Box::pin(stream::try_unfold(call, |mut call| async move {
            let event = match call.next().await? {
                Reply::Stdout(bytes) => CodeEvent::Stdout(bytes),
                Reply::Stderr(bytes) => CodeEvent::Stderr(bytes),
                Reply::Event(document) => {
                    let event = parse::<WireCode>(&document)?.into_event();
                    event.ok_or_else(|| malformed("code that begins twice"))?
                }
                Reply::Answer(_) => return Ok(None),
                Reply::Data(_) => return Err(malformed("data of code")),
            };
            Ok(Some((event, call)))
        })))
    }

    async fn create_context(&self, request: CreateContext) -> Result<ContextInfo> {
        let call = self.call(&Request::CreateContext(request.into())).await?.finish();
        call.answer::<WireContext>().await.map(Into::into)
    }

    async fn list_contexts(&self) -> Result<Vec<ContextInfo>> {
        let list: Vec<WireContext> = self.call(&Request::ListContexts).await?.finish().answer().await?;
        Ok(list.into_iter().map(Into::into).collect())
    }

    async fn restart_context(&self, id: &ContextId) -> Result<ContextInfo> {
        let call = self.call(&Request::RestartContext { id: id.as_str().to_owned() }).await?.finish();
        call.answer::<WireContext>().await.map(Into::into)
    }

    async fn delete_context(&self, id: &ContextId) -> Result<()> {
        self.call(&Request::DeleteContext { id: id.as_str().to_owned() }).await?.finish().answer().await
    }
}
