//! Metrics in a file, for the textfile collector of Prometheus' node exporter.
//!
//! Rule: readers see the old file or the new one, never half of one: it is written beside and renamed. What this process
//! said nothing about stays as it was, be it another organization, or the last success when a run has failed; a counter
//! goes on from where the file has it. What this process said and says no more, as of an organization that was taken out,
//! goes. A crash leaves the old file, and perhaps a hidden one beside it.

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::telemetry::metrics::Sample;
use crate::telemetry::table::Kind;
use crate::telemetry::text;

/// Largest file that is read back: a thousand organizations need less.
const LARGEST: u64 = 64 << 20;

/// Lays `told` over the file at `path`; `before` is what of it the file has already. May wait for another process that
/// does the same.
pub(super) fn write(path: &Path, told: &[Sample], before: &[Sample]) -> io::Result<()> {
    let lock = File::options().create(true).truncate(false).write(true).open(path.with_extension("lock"))?;
    lock.lock()?;
    let kept = read(path)?;
    let mut file = beside(path)?;
    file.write_all(text::encode(merge(kept, told, before)).as_bytes())?;
    // Whoever collects is another user. Said of the file that is there, since a umask takes from what it is created with.
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.persist(path).map_err(|failed| failed.error)?;
    Ok(())
}

/// What the file has; nothing, where there is none.
pub fn read(path: &Path) -> io::Result<Vec<Sample>> {
    match std::fs::metadata(path) {
        Ok(file) if file.len() <= LARGEST => {
            Ok(text::decode(&String::from_utf8_lossy(&std::fs::read(path)?)))
        }
        _ => Ok(Vec::new()),
    }
}

/// Whether it could be written. Leaves nothing behind.
pub fn try_file(path: &Path) -> io::Result<()> {
    match File::options().write(true).open(path.with_extension("lock")) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => beside(path).map(drop),
    }
}

/// What becomes the file once it is whole.
fn beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::Builder::new().prefix(".asana_backup").tempfile_in(folder)
}

/// What the file has from now on.
fn merge(kept: Vec<Sample>, told: &[Sample], before: &[Sample]) -> Vec<Sample> {
    let place = |sample: &Sample| (sample.metric.name, sample.labels.clone());
    let value = |samples: &[Sample], one: &Sample| {
        samples.iter().find(|sample| place(sample) == place(one)).map_or(0.0, |sample| sample.value)
    };
    let scope = |sample: &Sample| (sample.metric.name, sample.organization().to_owned());
    let gauges = told.iter().filter(|sample| sample.metric.kind == Kind::Gauge);
    let replaced: BTreeSet<_> = gauges.map(scope).collect();
    let mut all: Vec<Sample> = told.to_vec();
    for counter in all.iter_mut().filter(|sample| sample.metric.kind == Kind::Counter) {
        counter.value += value(&kept, counter) - value(before, counter);
    }
    let said: BTreeSet<_> = told.iter().chain(before).map(place).collect();
    all.extend(kept.into_iter().filter(|old| !said.contains(&place(old)) && !replaced.contains(&scope(old))));
    all.sort_by_key(place);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::table::{GAPS, LAST_EXIT_CODE, LAST_SUCCESS, PARTS};

    #[test]
    fn a_failed_run_keeps_the_last_success_and_a_counter_goes_on() {
        let kept = vec![
            Sample::new(&LAST_SUCCESS, &["acme"], 100.0),
            Sample::new(&LAST_EXIT_CODE, &["acme"], 0.0),
            Sample::new(&PARTS, &["acme"], 7.0),
        ];
        let told = [Sample::new(&LAST_EXIT_CODE, &["acme"], 12.0), Sample::new(&PARTS, &["acme"], 2.0)];
        let merged = merge(kept, &told, &[]);
        assert_eq!(
            merged,
            [
                Sample::new(&LAST_EXIT_CODE, &["acme"], 12.0),
                Sample::new(&LAST_SUCCESS, &["acme"], 100.0),
                Sample::new(&PARTS, &["acme"], 9.0),
            ]
        );
        // The same process again: of its two parts the file knows already.
        let told_more = [Sample::new(&PARTS, &["acme"], 3.0)];
        assert!(merge(merged, &told_more, &told).contains(&Sample::new(&PARTS, &["acme"], 10.0)));
    }

    #[test]
    fn what_the_process_says_no_more_goes_and_what_another_said_stays() {
        let of = |name: &str| Sample::new(&PARTS, &[name], 7.0);
        let before = [of("acme"), of("gone")];
        let merged = merge(vec![of("acme"), of("another"), of("gone")], &[of("acme")], &before);
        assert_eq!(merged, [of("acme"), of("another")]);
    }

    #[test]
    fn several_organizations_share_a_file_and_what_is_no_longer_so_goes() {
        let kept = vec![
            Sample::new(&GAPS, &["acme", "tasks", "403", "false"], 2.0),
            Sample::new(&GAPS, &["other", "tasks", "403", "false"], 5.0),
        ];
        let told = [Sample::new(&GAPS, &["acme", "users", "500", "false"], 1.0)];
        let labels: Vec<_> =
            merge(kept, &told, &[]).iter().map(|sample| sample.labels[..2].join("/")).collect();
        assert_eq!(labels, ["acme/users", "other/tasks"]);
    }
}
