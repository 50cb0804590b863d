//! Mistakes in running code.

use async_trait::async_trait;
use futures_util::StreamExt;
use grainchain_core::facet::Code;
use grainchain_core::{CodeEvent, CodeStream, ContextId, ContextInfo, CreateContext, Result, RunCode};

use super::{Fault, Spoiled};

#[async_trait]
impl Code for Spoiled<dyn Code> {
    async fn run_code(&self, mut request: RunCode) -> Result<CodeStream> {
        if self.fault == Fault::SharesContexts {
            request.context = None;
        }
        let events = self.inner.run_code(request).await?;
        if self.fault == Fault::LosesExceptions {
            let told = |event: &Result<CodeEvent>| !matches!(event, Ok(CodeEvent::Raised(_)));
            return Ok(Box::pin(events.filter(move |event| std::future::ready(told(event)))));
        }
        Ok(events)
    }

    async fn create_context(&self, request: CreateContext) -> Result<ContextInfo> {
        self.inner.create_context(request).await
    }

    async fn list_contexts(&self) -> Result<Vec<ContextInfo>> {
        self.inner.list_contexts().await
    }

    async fn restart_context(&self, id: &ContextId) -> Result<ContextInfo> {
        self.inner.restart_context(id).await
    }

    async fn delete_context(&self, id: &ContextId) -> Result<()> {
        self.inner.delete_context(id).await
    }
}
