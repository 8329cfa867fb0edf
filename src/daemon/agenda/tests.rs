//! What is due and what is late, whatever is turned off.

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a moment")
}

/// Settings with these expressions for backups, reconciling and verifying.
fn config(backup: &str, reconcile: &str, verify: &str) -> Config {
    let mut config = Config::default();
    config.schedule.backup = backup.to_owned();
    config.schedule.reconcile = reconcile.to_owned();
    config.schedule.verify = verify.to_owned();
    config.schedule.jitter_seconds = 0;
    config
}

fn organization() -> Organization {
    Organization::new("1", "memory:///")
}

#[track_caller]
fn check_leads(backup: &str, reconcile: &str, expected: Option<Kind>) {
    let times = times(&config(backup, reconcile, "0 5 * * 0"), "acme", &organization()).expect("a schedule");
    assert_eq!(leads(&times), expected, "{backup}, {reconcile}");
}

#[test]
fn backups_say_when_a_copy_is_late_and_where_they_are_turned_off_reconciling_does() {
    check_leads("17 * * * *", "30 2 * * *", Some(Kind::Backup));
    check_leads("17 * * * *", "never", Some(Kind::Backup));
    check_leads("never", "30 2 * * *", Some(Kind::Reconcile));
    check_leads("never", "never", None);
}

fn agenda(config: &Config, now: DateTime<Utc>) -> Agenda {
    Agenda::new(config, "acme", organization(), None, now).expect("a schedule")
}

#[test]
fn without_backups_reconciling_makes_the_first_copy_and_the_copy_is_late_by_its_ticks() {
    let now = at("2026-02-26T08:00:00Z");
    let mut agenda = agenda(&config("never", "30 2 * * *", "never"), now);
    assert_eq!(agenda.due(now), Some((DateTime::UNIX_EPOCH, Kind::Reconcile)));
    assert_eq!(agenda.status(now).late_from, Some(at("2026-02-28T02:30:00Z")));
}
