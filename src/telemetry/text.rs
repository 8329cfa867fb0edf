//! Samples as the text that Prometheus, its node exporter and its Pushgateway read, and back.
//!
//! Rule: what this file wrote it can read. A line that it does not understand is left out: the file of another version,
//! or what somebody else wrote into it, is no reason to fail.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, prometheus_text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::telemetry::metrics::Sample;
use crate::telemetry::table::{self, Kind, Metric};

/// The type of the text, for whoever it is sent to.
pub(super) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

#[derive(Debug)]
struct Shown(Vec<Sample>);

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for metric in table::ALL {
            let mut samples = self.0.iter().filter(|sample| sample.metric == *metric).peekable();
            if samples.peek().is_none() {
                continue;
            }
            // The encoder adds what marks a counter itself.
            let name = metric.full_name();
            let name = name.strip_suffix("_total").unwrap_or(&name);
            let kind = match metric.kind {
                Kind::Counter => ConstCounter::new(0.0).metric_type(),
                Kind::Gauge => ConstGauge::new(0.0).metric_type(),
            };
            let help = metric.help.trim_end_matches('.');
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for sample in samples {
                let values = sample.labels.iter().map(String::as_str);
                let labels: Vec<(&str, &str)> = metric.labels.iter().copied().zip(values).collect();
                let series = family.encode_family(&labels)?;
                match metric.kind {
                    Kind::Counter => ConstCounter::new(sample.value).encode(series)?,
                    Kind::Gauge => ConstGauge::new(sample.value).encode(series)?,
                }
            }
        }
        Ok(())
    }
}

/// The text of `samples`.
#[must_use]
pub fn encode(samples: Vec<Sample>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Shown(samples)));
    let mut text = String::new();
    // Writing to memory does not fail.
    prometheus_text::encode(&mut text, &registry).unwrap_or_default();
    text
}

/// The samples of a text that [`encode`] wrote.
pub(super) fn decode(text: &str) -> Vec<Sample> {
    text.lines().filter_map(sample).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let (name, rest) = line.strip_prefix(table::PREFIX)?.split_once('{')?;
    let metric = table::ALL.iter().find(|metric| metric.name == name)?;
    let (labels, value) = labels(metric, rest)?;
    let value = value.trim().parse().ok().filter(|value: &f64| value.is_finite())?;
    Some(Sample { metric, labels, value })
}

/// The values of `metric`'s labels, and what follows the brace that closes them.
fn labels<'a>(metric: &Metric, mut rest: &'a str) -> Option<(Vec<String>, &'a str)> {
    let mut values = Vec::new();
    for name in metric.labels {
        rest = rest.trim_start_matches(',').strip_prefix(name)?.strip_prefix("=\"")?;
        let (mut value, mut letters) = (String::new(), rest.char_indices());
        rest = loop {
            match letters.next()? {
                (at, '"') => break &rest[at + 1..],
                (_, '\\') => value.push(match letters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, letter) => value.push(letter),
            }
        };
        values.push(value);
    }
    Some((values, rest.strip_prefix('}')?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::table::{API_REQUESTS, LAST_SUCCESS, RECORDS};

    fn some() -> Vec<Sample> {
        vec![
            Sample::new(&LAST_SUCCESS, &["ac\"me\\ \n{x}, and"], 1_795_000_000.25),
            Sample::new(&RECORDS, &["acme", "tasks", "new"], 3.0),
            Sample::new(&API_REQUESTS, &["acme", "getTasks", "200"], 12.0),
        ]
    }

    #[test]
    fn the_text_has_help_type_and_samples_under_the_same_name() {
        let text = encode(some());
        let expected = "# HELP asana_backup_records_total Records that runs read or took out, by table and what became \
                        of them: new, changed, unchanged, gone\n\
                        # TYPE asana_backup_records_total counter\n\
                        asana_backup_records_total{organization=\"acme\",table=\"tasks\",change=\"new\"} 3";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("# TYPE asana_backup_last_success_timestamp_seconds gauge\n"), "{text}");
    }

    #[test]
    fn what_was_written_is_read_back_and_what_is_not_ours_is_left_out() {
        let text = encode(some());
        assert_eq!(decode(&text), some());
        let foreign = "node_load1 0.5\nasana_backup_rows{table=\"x\"} 1\nasana_backup_rows{organization=\"a\n\
                       asana_backup_goats{organization=\"a\"} 1\nasana_backup_new_gaps{organization=\"a\"} NaN\n";
        assert_eq!(decode(foreign), []);
    }
}
