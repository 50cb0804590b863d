//! The layer `Trace`: what its users read in their spans, and what must never be there.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use grainchain_core::layer::{Retry, Trace};
use grainchain_core::{Client, Effect, Error, ErrorKind, Operation, Sandbox, SandboxConfig};
use grainchain_local::{Local, LocalConfig};
use grainchain_testkit::scripted::{Script, Step};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Instrument, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

type Fields = BTreeMap<&'static str, String>;

/// Everything that was told, by all threads of this program.
struct Told {
    /// The spans that ended, each with the fields of the outermost one around it.
    spans: Vec<(Fields, Fields)>,
    /// All of it as text.
    text: String,
}

static TOLD: Mutex<Told> = Mutex::new(Told { spans: Vec::new(), text: String::new() });

fn told() -> MutexGuard<'static, Told> {
    TOLD.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Recorder;

const KNOWN: &str = "the registry knows every open span";

struct Visitor<'a>(&'a mut Fields);

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        told().text.push_str(&format!("{}={value}\n", field.name()));
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Visitor(&mut fields));
        let span = context.span(id).expect(KNOWN);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).expect(KNOWN);
        values.record(&mut Visitor(span.extensions_mut().get_mut().expect(KNOWN)));
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        event.record(&mut Visitor(&mut Fields::new()));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).expect(KNOWN);
        if span.name() != "grainchain" {
            return;
        }
        let fields = |span: tracing_subscriber::registry::SpanRef<'_, S>| {
            span.extensions().get::<Fields>().cloned().unwrap_or_default()
        };
        let outermost = span.scope().from_root().next().map(fields).unwrap_or_default();
        told().spans.push((fields(span), outermost));
    }
}

/// The spans below which `work` ended, in that order.
async fn spans_of(test: &'static str, work: impl Future<Output = ()>) -> Vec<Fields> {
    static INSTALLED: Once = Once::new();
    // For the whole program: work that blocks has threads of its own.
    INSTALLED.call_once(|| {
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Recorder))
            .expect("nobody else in this program listens");
    });
    work.instrument(tracing::info_span!("test", test)).await;
    let all = told();
    let own =
        all.spans.iter().filter(|(_, outermost)| outermost.get("test").is_some_and(|name| name == test));
    own.map(|(fields, _)| fields.clone()).collect()
}

async fn traced(script: &Script) -> Sandbox {
    Client::new(script.provider())
        .layer(Retry::default())
        .layer(Trace)
        .create(SandboxConfig::default())
        .await
        .expect("nothing is scripted for create")
}

fn reset() -> Error {
    Error::new(ErrorKind::Connection, "reset")
}

#[tokio::test]
async fn every_operation_has_a_span_with_provider_operation_and_sandbox() {
    let spans = spans_of("every_operation", async {
        let sandbox = traced(&Script::default()).await;
        sandbox.execute("true").await.unwrap();
        sandbox.upload_file("file", "content").await.unwrap();
        sandbox.stat("file").await.unwrap();
        sandbox.download_file("file").await.unwrap();
        sandbox.close().await.unwrap();
    })
    .await;
    let read: Vec<_> = spans
        .iter()
        .map(|span| {
            (span["provider"].as_str(), span["operation"].as_str(), span.get("sandbox").map(String::as_str))
        })
        .collect();
    let inside = |operation: Operation| ("scripted", operation.as_str(), Some("scripted-1"));
    let expected = [
        ("scripted", "create", None),
        inside(Operation::Execute),
        inside(Operation::WriteFile),
        inside(Operation::Stat),
        inside(Operation::ReadFile),
        inside(Operation::Close),
    ];
    assert_eq!(read, expected);
}

#[tokio::test(start_paused = true)]
async fn a_span_tells_the_outcome_and_how_long_it_took() {
    let script = Script::default();
    script.on(Operation::Execute, Step::answer().after(Duration::from_secs(2)));
    script.on(Operation::Execute, Step::fail(|| Error::not_found("gone")).after(Duration::from_millis(5)));
    let spans = spans_of("outcome", async {
        let sandbox = traced(&script).await;
        sandbox.execute("true").await.unwrap();
        sandbox.execute("true").await.unwrap_err();
    })
    .await;
    let read: Vec<_> =
        spans.iter().map(|span| (span["outcome"].as_str(), span["duration_us"].as_str())).collect();
    assert_eq!(read, [("ok", "0"), ("ok", "2000000"), (ErrorKind::NotFound.as_str(), "5000")]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_dropped_is_cancelled_and_one_out_of_time_too() {
    let script = Script::default();
    script.on(Operation::Info, Step::hang());
    script.on(Operation::Info, Step::hang());
    let spans = spans_of("cancelled", async {
        let sandbox = traced(&script).await;
        tokio::time::timeout(Duration::from_secs(1), sandbox.info()).await.unwrap_err();
        // The deadline of core stands outside of all layers and drops the call.
        assert_eq!(sandbox.info().await.unwrap_err().kind(), ErrorKind::Timeout);
    })
    .await;
    let read: Vec<_> = spans.iter().skip(1).map(|span| span["outcome"].as_str()).collect();
    assert_eq!(read, ["cancelled", "cancelled"]);
    assert_eq!(spans[1]["duration_us"], "1000000");
}

#[tokio::test(start_paused = true)]
async fn what_was_repeated_is_one_span_that_counts_the_attempts() {
    let script = Script::default();
    script.on(Operation::Execute, Step::fail(|| reset().effect(Effect::None)));
    let spans = spans_of("repeated", async {
        let sandbox = traced(&script).await;
        sandbox.execute("true").await.unwrap();
        sandbox.execute("true").await.unwrap();
    })
    .await;
    let read: Vec<_> = spans.iter().map(|span| (span["operation"].as_str(), span.get("attempt"))).collect();
    assert_eq!(read, [("create", None), ("execute", Some(&"2".to_owned())), ("execute", None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_user_hands_over_is_told_to_anybody() {
    const SECRET: &str = "hunter2-of-the-trace";
    let folder = tempfile::tempdir().unwrap();
    let spans = spans_of("secrets", async {
        let client = Client::new(Local::new(LocalConfig::at(folder.path())).unwrap())
            .layer(Retry::default())
            .layer(Trace);
        let config = SandboxConfig::default().env("TOKEN", SECRET).metadata("label", SECRET);
        let sandbox = client.create(config).await.unwrap();
        let second = Duration::from_secs(1);
        for command in ["echo {}", "exit 3 # {}", "nothing-is-called-{}", "echo {} >&2; sleep 300"] {
            let command = sandbox
                .execute(command.replace("{}", SECRET))
                .env("KEY", SECRET)
                .stdin(SECRET)
                .timeout(second);
            // Some work, some fail, one runs out of time.
            command.await.ok();
        }
        sandbox.execute([SECRET]).await.unwrap_err();
        sandbox.upload_file(SECRET, SECRET).await.unwrap();
        sandbox.download_file(SECRET).await.unwrap();
        sandbox.download_file(format!("no/{SECRET}")).await.unwrap_err();
        sandbox.run_code(format!("raise ValueError('{SECRET}')")).await.ok();
        sandbox.close().await.unwrap();
    })
    .await;
    assert!(spans.len() >= 10, "{spans:?}");
    let told = told();
    let line = told.text.lines().find(|line| line.contains(SECRET));
    assert_eq!(line, None);
}
