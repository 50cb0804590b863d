//! A sign of life for work that takes longer than a moment, on a terminal.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use grainchain::sandbox::TransferProgress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Printer;
use super::text::visible;

/// Work shorter than this needs no sign of life.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the provider said last about the work that goes on. It stands here because the table of providers holds plain functions, which
/// can hold nothing.
static STEP: Mutex<Option<String>> = Mutex::new(None);

/// Shows that something goes on; disappears when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    task: Option<tokio::task::JoinHandle<()>>,
    bar: ProgressBar,
    bytes: Arc<TransferProgress>,
}

impl Progress {
    /// Begins to wait for `what`, in words such as `copying src`; shows nothing with `--json`, with `--quiet`, off a terminal and
    /// in the first second.
    pub(crate) fn begin(printer: Printer, what: &str) -> Self {
        let bytes = Arc::<TransferProgress>::default();
        let bar = ProgressBar::hidden();
        let shown = !printer.json && !printer.quiet && std::io::stderr().is_terminal();
        let task =
            shown.then(|| tokio::spawn(show(bar.clone(), visible(what).into_owned(), Arc::clone(&bytes))));
        Self { task, bar, bytes }
    }

    /// Says in one line what goes on in whatever is waited for now.
    pub(crate) fn step(text: &str) {
        *STEP.lock().unwrap_or_else(PoisonError::into_inner) = Some(visible(text).into_owned());
    }

    /// Where transfers count their bytes.
    pub(crate) fn bytes(&self) -> &Arc<TransferProgress> {
        &self.bytes
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        self.bar.finish_and_clear();
    }
}

async fn show(bar: ProgressBar, what: String, bytes: Arc<TransferProgress>) {
    tokio::time::sleep(PATIENCE).await;
    bar.set_draw_target(ProgressDrawTarget::stderr());
    let style = |template| {
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
    };
    bar.set_message(what.clone());
    bar.set_style(style("{spinner} {msg} {elapsed}"));
    let mut counted = false;
    loop {
        if bytes.bytes() > 0 && !counted {
            counted = true;
            bar.set_style(style("{spinner} {msg} {binary_bytes} {binary_bytes_per_sec} {elapsed}"));
        }
        if let Some(step) = STEP.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // As much of it as a line holds.
            bar.set_style(style("{spinner} {elapsed} {wide_msg}"));
            bar.set_message(format!("{what}: {step}"));
        }
        bar.set_position(bytes.bytes());
        bar.tick();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
