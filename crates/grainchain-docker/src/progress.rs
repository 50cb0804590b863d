//! How far a pull or a build is, for those who wait for it.

use std::fmt;
use std::sync::Arc;

/// How far the engine is with something that takes its time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What is worked on: the image's name.
    pub subject: String,
    /// What happens, in the engine's words: `Downloading 0a1b2c`, `[2/3] RUN make`, or a line of a step's output.
    pub text: String,
    /// How much of this part is done, in bytes.
    pub current: Option<u64>,
    /// How much there is of it, in bytes.
    pub total: Option<u64>,
}

/// Is told of every step. Must not block.
#[derive(Clone, Default)]
pub(crate) struct Watcher(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl Watcher {
    pub(crate) fn new(callback: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(callback)))
    }

    pub(crate) fn tell(&self, progress: impl FnOnce() -> Progress) {
        if let Some(callback) = &self.0 {
            callback(progress());
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watcher").field(&self.0.is_some()).finish()
    }
}
