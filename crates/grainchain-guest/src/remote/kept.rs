//! A sandbox that stands still, and folders that are taken along from it.

use grainchain_core::{Content, Result, UnpackSummary};

use super::Remote;
use super::call::Call;
use super::files::content;
use crate::message::{Request, WireSummary};

/// A sandbox whose processes stand still. They go on when it is dropped, and when whoever holds it is gone.
#[derive(Debug)]
#[must_use = "dropping it lets everything go on"]
pub struct Held(Call);

impl Held {
    /// Lets everything go on, and waits for that.
    ///
    /// # Errors
    ///
    /// When something does not go on, and `Connection` when the link is lost: then it goes on by itself.
    pub async fn release(self) -> Result<()> {
        self.0.finish().answer().await
    }
}

impl Remote {
    /// Lets every process stand still, and what wants to start wait. Files can still be reached.
    ///
    /// # Errors
    ///
    /// When something does not stand still; everything goes on then. `Connection` when the link is lost.
    pub async fn hold_still(&self) -> Result<Held> {
        let mut call = self.call(&Request::HoldStill).await?;
        call.event::<()>().await?;
        Ok(Held(call))
    }

    /// The folder `path` as a tar, with everything that [bringing it back](Self::bring_back) takes: owners, modes, times, named
    /// pipes, and the folder itself. What is mounted below it is left out.
    ///
    /// # Errors
    ///
    /// When it cannot be read whole, also in the midst of the content. `Connection` when the link is lost.
    pub async fn keep(&self, path: &str) -> Result<Content> {
        content(self.call(&Request::Keep { path: path.to_owned() }).await?.finish()).await
    }

    /// Puts what was [kept](Self::keep) into the folder `path`.
    ///
    /// # Errors
    ///
    /// When it cannot be put there as it was; a part of it may be there then.
    pub async fn bring_back(&self, path: &str, kept: Content) -> Result<UnpackSummary> {
        let call = self.call(&Request::BringBack { path: path.to_owned() }).await?;
        call.answer_to::<WireSummary>(kept).await.map(Into::into)
    }
}
