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
    Agenda::new(config, "acme", organization(), Remembered::nothing(now)).expect("a schedule")
}

#[test]
fn without_backups_reconciling_makes_the_first_copy_and_the_copy_is_late_by_its_ticks() {
    let now = at("2026-02-26T08:00:00Z");
    let mut agenda = agenda(&config("never", "30 2 * * *", "never"), now);
    assert_eq!(agenda.due(now), [(DateTime::UNIX_EPOCH, Kind::Reconcile)]);
    assert_eq!(agenda.status(now).late_from, Some(at("2026-02-28T02:30:00Z")));
}

#[test]
fn what_succeeded_ahead_of_a_clock_that_was_set_back_hides_no_lateness() {
    let now = at("2026-02-26T08:00:00Z");
    let mut agenda = agenda(&config("17 * * * *", "never", "never"), now);
    let ahead = Last { backup: Some(at("2026-03-26T08:17:00Z")), ..Last::default() };
    agenda.note(ahead.clone());
    agenda.due(now);
    // The same word again is no news.
    agenda.note(ahead);
    assert_eq!(agenda.status(now).late_from, Some(at("2026-02-26T09:17:00Z")));
    assert_eq!(agenda.status(now).jobs[&Kind::Backup].late_from, Some(at("2026-02-26T09:17:00Z")));
    agenda.due(at("2026-02-26T09:00:00Z"));
    assert_eq!(agenda.status(now).late_from, Some(at("2026-02-26T09:17:00Z")));
}

#[test]
fn an_agenda_that_was_made_while_the_clock_was_ahead_is_late_by_the_clock_that_is_right() {
    let now = at("2026-02-26T08:00:00Z");
    let mut agenda = agenda(&config("17 * * * *", "never", "never"), at("2027-02-26T08:00:00Z"));
    agenda.due(now);
    assert_eq!(agenda.status(now).late_from, Some(at("2026-02-26T09:17:00Z")));
}

#[test]
fn a_verify_whose_tick_was_missed_is_made_up_for_although_there_was_never_another() {
    let now = at("2026-03-03T08:00:00Z");
    let remembered = Remembered::nothing(at("2026-02-26T08:00:00Z"));
    let config = config("17 * * * *", "never", "0 5 * * 0");
    let mut agenda = Agenda::new(&config, "acme", organization(), remembered).expect("a schedule");
    assert_eq!(agenda.status(now).jobs[&Kind::Verify].next, Some(at("2026-03-01T05:00:00Z")));
    // What never succeeded is late from the first day on, however often the daemon was started.
    agenda.due(now);
    assert_eq!(agenda.status(now).late_from, Some(at("2026-02-26T09:17:00Z")));
}

#[test]
fn a_verify_that_found_damage_begins_again_when_the_daemon_does() {
    let now = at("2026-02-26T08:00:00Z");
    let config = config("17 * * * *", "never", "0 5 * * 0");
    for (code, next) in [
        (None, "2026-03-01T05:00:00Z"),
        (Some(0.0), "2026-03-01T05:00:00Z"),
        (Some(20.0), "2026-02-26T08:00:00Z"),
    ] {
        let mut remembered = Remembered::nothing(now);
        remembered.told.extend(code.map(|code| (table::LAST_VERIFY_EXIT_CODE.name.to_owned(), code)));
        let agenda = Agenda::new(&config, "acme", organization(), remembered).expect("a schedule");
        assert_eq!(agenda.status(now).jobs[&Kind::Verify].next, Some(at(next)), "{code:?}");
    }
}

#[test]
fn a_success_that_is_remembered_counts_as_long_as_the_repository_says_nothing() {
    let mut remembered = Remembered::nothing(at("2026-02-01T08:00:00Z"));
    remembered.succeeded.insert(Kind::Backup, at("2026-02-26T08:17:00Z"));
    let config = config("17 * * * *", "never", "never");
    let agenda = Agenda::new(&config, "acme", organization(), remembered).expect("a schedule");
    assert_eq!(agenda.status(at("2026-02-26T08:30:00Z")).late_from, Some(at("2026-02-26T10:17:00Z")));
}
