//! Logs: human on a terminal, fields for the journal under systemd, JSON otherwise; always by standard error's place.
//!
//! Rule: other crates' lines are shown up to INFO, whatever is asked for: below that some of them print the headers and
//! addresses of requests, and in those are tokens and signatures. Ours print neither at any level (tested).

use std::fmt;
use std::io::{IsTerminal, stderr};
use std::os::unix::fs::MetadataExt;

use serde_json::Value;
use tokio::runtime::Handle;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, format};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::telemetry::metrics::Metrics;
use crate::telemetry::otlp::Otlp;

/// Starts logging, and exporting, if the environment asks for it. `verbose` shows what is done, not only what changed;
/// `ASANA_BACKUP_LOG` overrides it with tracing's own filter language.
pub fn start(verbose: bool, handle: &Handle, metrics: &Metrics) -> Otlp {
    let usual = if verbose { "warn,asana_backup=debug" } else { "warn,asana_backup=info" };
    let filter = EnvFilter::try_from_env("ASANA_BACKUP_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let (otlp, vain) = Otlp::from_environment(handle, metrics);
    let spans = otlp.layer().map(|layer| layer.with_filter(filter_fn(is_ours)));
    let subscriber = tracing_subscriber::registry().with(filter).with(filter_fn(may_be_shown));
    if subscriber.with(lines()).with(spans).try_init().is_err() {
        tracing::debug!("logging was started before");
    }
    if let Some(vain) = vain {
        tracing::warn!(why = vain, "what the environment asks of OTLP is not done");
    }
    otlp
}

/// What writes lines, as suits whoever reads standard error.
fn lines<S>() -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let plain = tracing_subscriber::fmt::layer().with_writer(stderr).with_target(false);
    if stderr().is_terminal() {
        return plain.boxed();
    }
    if is_the_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        // INFO is what changed: informational, as systemd's own lines are.
        let (info, debug) = (Priority::Informational, Priority::Debug);
        let priorities = PriorityMappings { info, debug, ..PriorityMappings::new() };
        return journal.with_field_prefix(None).with_priority_mappings(priorities).boxed();
    }
    plain.json().event_format(Named(format().with_target(false).json())).boxed()
}

/// A line of JSON that names the organization where whoever collects it looks first, be it of the line itself or of what
/// is being done. All lines of one do so alike.
struct Named(Format<Json>);

impl<S, N> FormatEvent<S, N> for Named
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        let spans = said["spans"].as_array().into_iter().flatten();
        let mut named = std::iter::once(&said["fields"]).chain(spans).map(|of| &of["organization"]);
        match named.find(|name| name.is_string()) {
            Some(name) => {
                write!(to, "{{\"organization\":{name},{}", line.strip_prefix('{').unwrap_or_default())
            }
            None => to.write_str(&line),
        }
    }
}

/// Whether standard error is the journal: systemd names its file in `JOURNAL_STREAM`, which children inherit whose
/// standard error may be another.
fn is_the_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/dev/stderr").is_ok_and(|own| named == format!("{}:{}", own.dev(), own.ino()))
}

fn is_ours(line: &Metadata<'_>) -> bool {
    line.target().split("::").next() == Some("asana_backup")
}

fn may_be_shown(line: &Metadata<'_>) -> bool {
    *line.level() <= Level::INFO || is_ours(line)
}
