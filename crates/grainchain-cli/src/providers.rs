//! The table of providers, where those that can say how far they are tell it to whoever waits.

use grainchain::Registry;

/// The providers of this program.
pub(crate) fn registry() -> Registry {
    let registry = grainchain::registry();
    #[cfg(feature = "docker")]
    let registry = registry.replace(docker::ENTRY);
    registry
}

#[cfg(feature = "docker")]
mod docker {
    use std::sync::Arc;

    use grainchain::docker::{Docker, DockerConfig, Progress as Step};
    use grainchain::{ByteSize, Entry};

    use crate::output::Progress;

    pub(super) const ENTRY: Entry = Entry {
        build: |settings| {
            let config = settings.parse::<DockerConfig>()?;
            Ok(Arc::new(Docker::with_progress(config, |step| Progress::step(&words(&step)))?))
        },
        ..grainchain::docker::ENTRY
    };

    /// `step` in a line.
    fn words(step: &Step) -> String {
        let text = format!("{}: {}", step.subject, step.text.trim());
        match (step.current, step.total) {
            (Some(current), Some(total)) => {
                format!("{text} ({} of {})", ByteSize::bytes(current), ByteSize::bytes(total))
            }
            _ => text,
        }
    }
}
