//! The facet: which contexts there are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use grainchain_core::facet::Code;
use grainchain_core::types::id::random_id;
use grainchain_core::{
    CodeStream, Command, ContextId, ContextInfo, CreateContext, Error, Language, Result, RunCode,
};

use super::context::{Context, unknown};
use crate::guest::Guest;

/// The contexts of a guest, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Contexts(Mutex<Vec<Arc<Context>>>);

impl Contexts {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Context>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Arc<Context>> {
        self.lock().clone()
    }

    /// Reaps interpreters that were killed while nobody used them.
    pub(crate) fn reap(&self) {
        self.all().iter().for_each(|context| context.reap());
    }

    fn find(&self, id: &ContextId) -> Result<Arc<Context>> {
        self.lock().iter().find(|context| context.id == *id).cloned().ok_or_else(|| unknown(id))
    }

    fn default_of(&self, language: Language) -> Result<Arc<Context>> {
        let mut all = self.lock();
        if let Some(context) = all.iter().find(|context| context.is_default && context.language == language) {
            return Ok(Arc::clone(context));
        }
        let id = ContextId::new(format!("default-{language}"));
        let context = Arc::new(Context::new(id, language, true, Command::argv([language.as_str()]))?);
        all.push(Arc::clone(&context));
        Ok(context)
    }

    fn remove(&self, id: &ContextId) -> Result<Arc<Context>> {
        let mut all = self.lock();
        let at = all.iter().position(|context| context.id == *id).ok_or_else(|| unknown(id))?;
        Ok(all.remove(at))
    }
}

#[async_trait]
impl Code for Guest {
    /// Sends `request` to its context when the runs before it are over; the timeout begins with the call. The stream reads
    /// the interpreter's pipes itself: who polls it slowly slows the code, and timeouts act when it is polled.
    ///
    /// An interpreter that has ended since is started afresh without a word.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future means that nothing was run; dropping the stream interrupts the code, and kills its context if
    /// it has not stopped after a second.
    async fn run_code(&self, request: RunCode) -> Result<CodeStream> {
        drop(self.running()?);
        let contexts = &self.shared.contexts;
        let context = match &request.context {
            None => contexts.default_of(request.language.unwrap_or_default())?,
            Some(id) => {
                let context = contexts.find(id)?;
                if let Some(language) = request.language
                    && language != context.language
                {
                    let message = format!("the context {id} speaks {} and not {language}", context.language);
                    return Err(Error::bad_request(message)
                        .hint("leave the language out, or use another context")
                        .option("language"));
                }
                context
            }
        };
        Ok(Box::pin(context.begin(self, request).await?))
    }

    /// Starts an interpreter in a context of its own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing.
    async fn create_context(&self, request: CreateContext) -> Result<ContextInfo> {
        let mut surroundings = Command::argv([request.language.as_str()]).envs(request.environment);
        surroundings.working_directory = request.working_directory;
        let id = ContextId::new(random_id("ctx"));
        let context = Arc::new(Context::new(id, request.language, false, surroundings)?);
        let info = context.settle(self).await?;
        self.shared.contexts.lock().push(context);
        Ok(info)
    }

    /// Every context that was created, and the default ones that were used.
    async fn list_contexts(&self) -> Result<Vec<ContextInfo>> {
        self.ensure_open()?;
        Ok(self.shared.contexts.all().iter().filter_map(|context| context.info(self)).collect())
    }

    /// Ends the interpreter, also in the middle of code, and starts the next. Code that waited runs in the new one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves a context whose interpreter starts at the next run.
    async fn restart_context(&self, id: &ContextId) -> Result<ContextInfo> {
        drop(self.running()?);
        self.shared.contexts.find(id)?.restart(self).await
    }

    /// Ends the interpreter, also in the middle of code. A default context comes back when it is used again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop it.
    async fn delete_context(&self, id: &ContextId) -> Result<()> {
        self.ensure_open()?;
        self.shared.contexts.remove(id)?.delete().await
    }
}
