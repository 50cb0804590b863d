//! What keeps the handles of one sandbox from disturbing each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use grainchain_core::SandboxId;
use tokio::sync::RwLock;

/// Shared while commands are started, held alone while the container stands still or is replaced. Tells whether it was paused when
/// somebody of this program last did or saw that.
pub(crate) type Still = Arc<RwLock<bool>>;

/// One for each sandbox that somebody of this program holds.
#[derive(Debug, Default)]
pub(crate) struct Stills(Mutex<HashMap<SandboxId, Weak<RwLock<bool>>>>);

impl Stills {
    /// The one of the sandbox `id`.
    pub(crate) fn of(&self, id: &SandboxId) -> Still {
        let mut stills = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stills.retain(|_, still| still.strong_count() > 0);
        if let Some(still) = stills.get(id).and_then(Weak::upgrade) {
            return still;
        }
        let still = Still::default();
        stills.insert(id.clone(), Arc::downgrade(&still));
        still
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_of_one_sandbox_share_one_and_others_do_not() {
        let stills = Stills::default();
        let first = stills.of(&"a".into());
        assert!(Arc::ptr_eq(&first, &stills.of(&"a".into())));
        assert!(!Arc::ptr_eq(&first, &stills.of(&"b".into())));
        drop(first);
        assert_eq!(Arc::strong_count(&stills.of(&"a".into())), 1);
    }
}
