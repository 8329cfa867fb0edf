//! Spans and metrics for a collector, by OTLP over HTTP, as the usual `OTEL_` variables say.
//!
//! Rule: off unless a variable names an endpoint. A collector that is down costs a warning and nothing else: spans wait
//! in a bounded queue and are dropped when it is full, and the end of the program waits two seconds at most. What is
//! exported is what Prometheus would read: the same table, the same samples.
//!
//! The exporters run on threads of their own, without a runtime; requests borrow ours, and its connections.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, MeterProvider};
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::context::TokioContext;
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::post::Post;
use crate::telemetry::table::{self, Kind, Metric};

/// Longest time that the end of the program waits for the collector.
const LONGEST_END: Duration = Duration::from_secs(2);
/// Longest time for one request, if the exporter allows more.
const DEADLINE: Duration = Duration::from_secs(10);
const NAME: &str = "asana-backup";

/// What is exported.
#[derive(Debug, Default)]
pub struct Otlp {
    spans: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

/// What the variables ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wanted {
    spans: bool,
    metrics: bool,
}

/// Reads what the variables ask for; says what they ask for in vain.
fn wanted(variable: impl Fn(&str) -> Option<String>) -> (Wanted, Option<String>) {
    let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    if set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return (Wanted::default(), None);
    }
    let mut vain = None;
    let mut signal = |name: &str| {
        let exporter = set(&format!("OTEL_{name}_EXPORTER"));
        let endpoint =
            set(&format!("OTEL_EXPORTER_OTLP_{name}_ENDPOINT")).or(set("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let protocol =
            set(&format!("OTEL_EXPORTER_OTLP_{name}_PROTOCOL")).or(set("OTEL_EXPORTER_OTLP_PROTOCOL"));
        match (exporter.as_deref(), endpoint, protocol.as_deref()) {
            (Some("none"), ..) | (None, None, _) => false,
            (Some(other), ..) if other != "otlp" => {
                vain = Some(format!("OTEL_{name}_EXPORTER={other}: there are `otlp` and `none`"));
                false
            }
            (.., Some(other)) if other != "http/protobuf" => {
                vain = Some(format!(
                    "OTEL_EXPORTER_OTLP_PROTOCOL={other}: there is `http/protobuf` alone, usually on port 4318"
                ));
                false
            }
            _ => true,
        }
    };
    let wanted = Wanted { spans: signal("TRACES"), metrics: signal("METRICS") };
    let certificate =
        ["", "_TRACES", "_METRICS"].map(|signal| format!("OTEL_EXPORTER_OTLP{signal}_CERTIFICATE"));
    if let Some(named) = certificate.iter().find(|name| wanted != Wanted::default() && set(name).is_some()) {
        vain.get_or_insert(format!(
            "{named} counts for nothing: add the authority to those of the system, or name a bundle by SSL_CERT_FILE"
        ));
    }
    (wanted, vain)
}

impl Otlp {
    /// Starts what the environment asks for. What it asks for in vain is the second: for the log, once there is one.
    pub(super) fn from_environment(handle: &Handle, metrics: &Metrics) -> (Self, Option<String>) {
        let (wanted, vain) = wanted(|name| std::env::var(name).ok());
        if wanted == Wanted::default() {
            return (Self::default(), vain);
        }
        match Self::start(wanted, handle, metrics) {
            Ok(started) => (started, vain),
            Err(error) => (Self::default(), Some(error.to_string())),
        }
    }

    fn start(wanted: Wanted, handle: &Handle, metrics: &Metrics) -> Result<Self> {
        let wrong = |what: String| Error::new(ErrorKind::Config, what).doing("prepare OTLP");
        let client: Arc<dyn HttpClient> =
            Arc::new(Line { post: Post::new()?, handle: handle.clone(), is_down: AtomicBool::new(false) });
        let mut started = Self::default();
        if wanted.spans {
            let exporter = SpanExporter::builder().with_http().with_shared_http_client(Arc::clone(&client));
            let exporter = exporter.build().map_err(|cause| wrong(cause.to_string()))?;
            let spans = SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter);
            started.spans = Some(spans.build());
        }
        if wanted.metrics {
            let exporter = MetricExporter::builder().with_http().with_shared_http_client(client);
            let exporter = exporter.build().map_err(|cause| wrong(cause.to_string()))?;
            let provider =
                SdkMeterProvider::builder().with_resource(resource()).with_periodic_exporter(exporter);
            let provider = provider.build();
            table::ALL.iter().for_each(|metric| observe(&provider, metric, metrics));
            started.metrics = Some(provider);
        }
        Ok(started)
    }

    /// What turns spans of `tracing` into spans for the collector.
    pub(super) fn layer<S>(&self) -> Option<OpenTelemetryLayer<S, SdkTracer>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = self.spans.as_ref()?.tracer(NAME);
        Some(tracing_opentelemetry::layer().with_tracer(tracer).with_threads(false).with_location(false))
    }

    /// Sends what is left, within two seconds.
    pub async fn end(self) {
        let spans = self.spans.map(|spans| tokio::task::spawn_blocking(move || spans.shutdown()));
        let metrics = self.metrics.map(|metrics| tokio::task::spawn_blocking(move || metrics.shutdown()));
        let both = async {
            for end in [spans, metrics].into_iter().flatten() {
                // Whoever could not send has said so.
                end.await.map(|sent| sent.is_ok()).unwrap_or_default();
            }
        };
        if timeout(LONGEST_END, both).await.is_err() {
            tracing::warn!("the collector did not take the last spans and metrics in time");
        }
    }
}

/// Lets the collector's reader ask for the samples of `metric`.
fn observe(provider: &SdkMeterProvider, metric: &'static Metric, metrics: &Metrics) {
    let (meter, metrics) = (provider.meter(NAME), metrics.clone());
    let ask = move |instrument: &dyn AsyncInstrument<f64>| {
        for sample in metrics.samples().into_iter().filter(|sample| sample.metric == metric) {
            let labels = metric.labels.iter().zip(sample.labels);
            let labels: Vec<_> = labels.map(|(&name, value)| KeyValue::new(name, value)).collect();
            instrument.observe(sample.value, &labels);
        }
    };
    let (name, help, unit) = (metric.full_name(), metric.help, metric.unit);
    // The provider keeps what is built; there is nothing to hold.
    match metric.kind {
        Kind::Counter => {
            let counter = meter.f64_observable_counter(name).with_description(help).with_unit(unit);
            _ = counter.with_callback(ask).build();
        }
        Kind::Gauge => {
            let gauge = meter.f64_observable_gauge(name).with_description(help).with_unit(unit);
            _ = gauge.with_callback(ask).build();
        }
    }
}

/// What the variables say of this process, and its name where they say none.
fn resource() -> Resource {
    let named = std::env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty())
        || std::env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|all| all.contains("service.name="));
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    if named { resource.build() } else { resource.with_service_name(NAME).build() }
}

/// The line to the collector; says when it goes down and when it is back, and nothing in between.
#[derive(Debug)]
struct Line {
    post: Post,
    handle: Handle,
    is_down: AtomicBool,
}

type Sent = std::result::Result<Response<Bytes>, HttpError>;

impl HttpClient for Line {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Sent> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let send = async move {
            let sent = self.post.send(request, DEADLINE).await;
            let why = match &sent {
                Ok(answer) if answer.status().is_success() => None,
                Ok(answer) => Some(format!("answered {}", answer.status())),
                Err(why) => Some(why.clone()),
            };
            let was_down = self.is_down.swap(why.is_some(), Ordering::Relaxed);
            match why {
                Some(why) if !was_down => tracing::warn!(why, "the collector takes no spans and metrics"),
                None if was_down => tracing::info!("the collector takes spans and metrics again"),
                _ => {}
            }
            sent.map_err(Into::into)
        };
        Box::pin(TokioContext::new(send, self.handle.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], spans: bool, metrics: bool, vain: &str) {
        let find = |name: &str| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        };
        let (found, said) = wanted(find);
        assert_eq!(found, Wanted { spans, metrics }, "{variables:?}");
        assert_eq!(said.is_some(), !vain.is_empty(), "{variables:?}");
        assert!(said.unwrap_or_default().contains(vain), "{variables:?}");
    }

    #[test]
    fn nothing_is_exported_unless_a_variable_names_an_endpoint() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        check(&[], false, false, "");
        check(&[("OTEL_SERVICE_NAME", "backup")], false, false, "");
        check(&[endpoint], true, true, "");
        check(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], false, false, "");
        check(&[endpoint, ("OTEL_SDK_DISABLED", "true")], false, false, "");
        check(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")], false, true, "");
        check(&[endpoint, ("OTEL_METRICS_EXPORTER", "none")], true, false, "");
        check(&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://c:4318/v1/metrics")], false, true, "");
        check(&[("OTEL_TRACES_EXPORTER", "otlp")], true, false, "");
    }

    #[test]
    fn what_is_asked_for_in_vain_is_said() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");
        check(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], false, false, "http/protobuf");
        check(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")], true, true, "");
        check(&[endpoint, ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")], false, true, "http/protobuf");
        check(&[("OTEL_METRICS_EXPORTER", "prometheus")], false, false, "prometheus");
        let certificate = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/a.pem");
        check(&[endpoint, certificate], true, true, "SSL_CERT_FILE");
        check(&[certificate], false, false, "");
    }
}
