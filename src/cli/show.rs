//! What a person is told: tables, sentences, errors.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::backup::Outcome;
use crate::cli::status;
use crate::crawl::Plan;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Gap, Snapshot};
use crate::resources;
use crate::verify::Report;

/// Prints a line of text to standard output. A reader that went away is no error of ours.
///
/// Names and phrases come from outside: none of them moves the cursor or colours the terminal.
pub(super) fn line(text: impl AsRef<str>) {
    if writeln!(std::io::stdout(), "{}", tame(text.as_ref())).is_err() {
        tracing::debug!("nobody reads standard output");
    }
}

fn tame(text: &str) -> String {
    let tame = |letter: char| if letter.is_control() && letter != '\n' { ' ' } else { letter };
    text.chars().map(tame).collect()
}

/// Prints one JSON object as a line.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value)
        .map_err(|cause| Error::new(ErrorKind::Bug, format!("print as JSON: {cause}")))?;
    line(text);
    Ok(())
}

/// Whether errors are told by the log: where no person sits at a terminal, whoever collects its lines reads nothing else.
pub(super) fn logs_errors() -> bool {
    !std::io::stderr().is_terminal() && tracing::enabled!(tracing::Level::ERROR)
}

/// Says what went wrong and what to do about it, and gives the exit code.
pub(super) fn failure(error: &Error) -> ExitCode {
    let exit_code = error.kind().exit_code();
    if logs_errors() {
        if !error.is_logged() {
            let remedy = error.remedy_text().unwrap_or_default();
            tracing::error!(exit_code, %error, remedy, "the program ends with an error");
        }
        return ExitCode::from(exit_code);
    }
    let mut text = format!("error: {error}");
    if let Some(remedy) = error.remedy_text() {
        text.push_str("\n  remedy: ");
        text.push_str(remedy);
    }
    if writeln!(std::io::stderr(), "{}", tame(&text)).is_err() {
        tracing::debug!("nobody reads standard error");
    }
    ExitCode::from(exit_code)
}

/// A table whose first column is text and whose others are numbers.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

/// What a run did, as a table and a few sentences.
pub(super) fn outcome(outcome: &Outcome) -> String {
    let rows = outcome.tables.iter().map(|(name, table)| {
        let counts = table.counts;
        let proof = match (table.proof.available, table.proof.complete) {
            (false, _) => "not on this plan",
            (true, true) => "complete",
            (true, false) => "NOT PROVEN",
        };
        let numbers = [counts.rows, counts.new, counts.changed, counts.unchanged, counts.gone];
        let mut row = vec![name.clone()];
        row.extend(numbers.iter().map(ToString::to_string));
        row.push(proof.to_owned());
        row
    });
    let mut text = table(&["table", "rows", "new", "changed", "unchanged", "gone", "proof"], rows);
    let took = outcome.committed_at - outcome.started_at;
    text.push_str(&format!(
        "\n\nsnapshot {} of organization {}: {}; {} requests, {} new parts of {}, in {} s\n",
        outcome.snapshot,
        outcome.organization,
        if outcome.complete { "complete" } else { "not proven complete" },
        outcome.requests.values().sum::<u64>(),
        outcome.parts,
        indicatif::HumanBytes(outcome.bytes),
        took.num_milliseconds() as f64 / 1000.0,
    ));
    text.push_str(&format!("  plan: {}\n", outcome.plan));
    for (name, table) in &outcome.tables {
        for lack in &table.proof.lacks {
            text.push_str(&format!("  {name}: {lack}\n"));
        }
    }
    if outcome.held_deletions > 0 {
        let held = outcome.held_deletions;
        text.push_str(&format!(
            "  {held} deletions are held back; `run --accept-deletions` lets them happen\n"
        ));
    }
    if outcome.dangling_references > 0 {
        text.push_str(&format!("  references to objects that are gone: {}\n", outcome.dangling_references));
    }
    if !outcome.gaps.is_empty() {
        let (gaps, new) = (outcome.gaps.len(), outcome.new_gaps);
        text.push_str(&format!("  {gaps} gaps, {new} of them new; `asana-backup gaps` names each\n"));
    }
    text.trim_end().to_owned()
}

/// One line for each snapshot.
pub(super) fn snapshots(all: &[Snapshot]) -> String {
    let rows = all.iter().map(|one| {
        let sum = |count: fn(&crate::model::Counts) -> u64| {
            let of_asana = one.tables.iter().filter(|(name, _)| !name.starts_with('_'));
            of_asana.map(|(_, table)| count(&table.counts)).sum::<u64>().to_string()
        };
        vec![
            one.number.to_string(),
            moment(one.committed_at),
            sum(|counts| counts.rows),
            sum(|counts| counts.new),
            sum(|counts| counts.changed),
            sum(|counts| counts.gone),
            one.gap_count.to_string(),
            if one.complete { "yes" } else { "no" }.to_owned(),
            one.run.to_string(),
        ]
    });
    table(&["snapshot", "committed", "rows", "new", "changed", "gone", "gaps", "complete", "run"], rows)
}

/// One line for each of the last runs, the newest first.
pub(super) fn runs(runs: &[status::Run]) -> String {
    let grown = |by: Option<i64>| by.map_or_else(String::new, |by| format!("{by:+}"));
    let rows = runs.iter().map(|run| {
        let took = run.committed_at - run.started_at;
        vec![
            run.snapshot.to_string(),
            moment(run.committed_at),
            format!("{} s", took.num_seconds()),
            run.requests.to_string(),
            run.rows.to_string(),
            grown(run.rows_grown),
            run.parts.to_string(),
            indicatif::HumanBytes(run.bytes).to_string(),
            run.gaps.to_string(),
            if run.complete { "yes" } else { "no" }.to_owned(),
        ]
    });
    let header =
        ["snapshot", "committed", "took", "requests", "rows", "grown", "parts", "size", "gaps", "complete"];
    table(&header, rows)
}

/// One line for each gap.
pub(super) fn gaps(gaps: &[Gap]) -> String {
    let rows = gaps.iter().map(|gap| {
        let accepted = gap.accepted.as_ref().map_or_else(String::new, |accepted| {
            let until = accepted
                .until
                .map_or_else(|| "for ever".to_owned(), |until| format!("until {}", moment(until)));
            format!("by {}, {until}: {}", accepted.by, accepted.reason)
        });
        vec![
            gap.table.clone(),
            gap.scope.clone(),
            gap.gid.clone(),
            gap.status.to_string(),
            moment(gap.first_seen),
            moment(gap.last_seen),
            gap.phrase.clone(),
            accepted,
        ]
    });
    table(&["table", "scope", "gid", "status", "first seen", "last seen", "phrase", "accepted"], rows)
}

/// What a run will do.
pub(super) fn plan(plan: &Plan) -> String {
    let mut text = format!("walks {}", plan.walk);
    if let Some(reason) = &plan.reason {
        text.push_str(&format!(": {reason}"));
    }
    text.push_str(&format!("\nlearns what changed from {}\n\n", plan.changes));
    let rows = plan.price.iter().map(|one| vec![one.operation.to_owned(), one.requests.to_string()]);
    text.push_str(&table(&["operation", "expected requests"], rows));
    let requests = plan.requests();
    text.push_str(&if plan.knows_size {
        format!("\n\nabout {requests} requests, and some for each change\n")
    } else {
        format!("\n\nat the least {requests} requests, and several for each task: how many there are is not known yet\n")
    });
    text
}

/// What a run asked, by operation.
pub(super) fn requests(outcome: &Outcome) -> String {
    let rows = outcome.requests.iter().map(|(operation, count)| vec![operation.clone(), count.to_string()]);
    format!("\n{}", table(&["operation", "requests used"], rows))
}

/// What a verification found.
pub(super) fn report(report: &Report) -> String {
    let mut text = format!(
        "{}: {} snapshots, {} objects, {}",
        report.organization,
        report.snapshots.len(),
        report.objects,
        indicatif::HumanBytes(report.bytes),
    );
    if report.rows_compared > 0 {
        text.push_str(&format!(", {} rows compared with their JSON", report.rows_compared));
    }
    text.push_str(if report.findings.is_empty() { ": all is well" } else { ":" });
    for finding in &report.findings {
        text.push_str(&format!("\n  {finding}"));
    }
    text
}

/// What is read, a resource a line: for those who hold it to Asana's own description.
pub(super) fn resources() -> Result<()> {
    resources::ALL.iter().try_for_each(|resource| {
        let fields: Vec<_> = resource.opt_fields().split(',').map(ToOwned::to_owned).collect();
        let never: std::collections::BTreeMap<_, _> = resource.never.iter().copied().collect();
        json(&serde_json::json!({"table": resource.table, "record_fields": fields, "never": never}))
    })
}

/// A moment, to the second.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
