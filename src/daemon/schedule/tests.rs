//! When jobs begin, whatever clocks and calendars do.

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    let offset = if text.ends_with('Z') || text.contains('+') { "" } else { "Z" };
    DateTime::parse_from_rfc3339(&format!("{text}{offset}")).expect("a moment").to_utc()
}

fn times(expression: &str, zone: &str) -> Times {
    let settings = ScheduleSettings {
        backup: expression.to_owned(),
        timezone: zone.to_owned(),
        jitter_seconds: 0,
        ..ScheduleSettings::default()
    };
    Times::of(Kind::Backup, &settings, "1").expect("valid").expect("not turned off")
}

/// The ticks after `from`, in UTC.
#[track_caller]
fn check(expression: &str, zone: &str, from: &str, expected: &[&str]) {
    let found = times(expression, zone).upcoming(at(from), expected.len());
    let expected: Vec<_> = expected.iter().map(|text| at(text)).collect();
    assert_eq!(found, expected, "{expression} in {zone} after {from}");
}

#[test]
fn ticks_come_as_the_expression_says() {
    check("17 * * * *", "UTC", "2026-11-26T20:17:00", &["2026-11-26T21:17:00", "2026-11-26T22:17:00"]);
    check("0 5 * * 0", "UTC", "2026-11-26T00:00:00", &["2026-11-29T05:00:00", "2026-12-06T05:00:00"]);
    check("30 2 * * *", "Europe/Berlin", "2026-11-26T00:00:00", &["2026-11-26T01:30:00"]);
    check("0 12 29 2 *", "UTC", "2026-01-01T00:00:00", &["2028-02-29T12:00:00", "2032-02-29T12:00:00"]);
    check("0 0 1 1 *", "UTC", "2026-12-31T23:59:59", &["2027-01-01T00:00:00"]);
}

#[test]
fn an_hour_that_is_missing_moves_a_fixed_tick_to_its_end_and_leaves_out_no_other() {
    // Berlin, 2027-03-28: after 01:59 comes 03:00.
    let days = ["2027-03-27T01:30:00", "2027-03-28T01:00:00", "2027-03-29T00:30:00"];
    check("30 2 * * *", "Europe/Berlin", "2027-03-26T12:00:00", &days);
    let hours = ["2027-03-28T00:17:00", "2027-03-28T01:17:00", "2027-03-28T02:17:00"];
    check("17 * * * *", "Europe/Berlin", "2027-03-27T23:30:00", &hours);
    // New York, 2027-03-14: after 01:59 comes 03:00.
    let days = ["2027-03-13T07:30:00", "2027-03-14T07:00:00", "2027-03-15T06:30:00"];
    check("30 2 * * *", "America/New_York", "2027-03-12T12:00:00", &days);
    // Lord Howe, 2026-10-04: after 01:59 comes 02:30.
    let days = ["2026-10-02T15:45:00", "2026-10-03T15:30:00", "2026-10-04T15:15:00"];
    check("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T15:00:00", &days);
}

#[test]
fn an_hour_that_comes_twice_has_a_fixed_tick_once_and_one_of_every_hour_twice() {
    // Berlin, 2027-10-31: after 02:59 comes 02:00 again.
    let days = ["2027-10-30T00:30:00", "2027-10-31T00:30:00", "2027-11-01T01:30:00"];
    check("30 2 * * *", "Europe/Berlin", "2027-10-29T12:00:00", &days);
    let hours = ["2027-10-31T00:17:00", "2027-10-31T01:17:00", "2027-10-31T02:17:00"];
    check("17 * * * *", "Europe/Berlin", "2027-10-30T23:30:00", &hours);
    // New York, 2027-11-07: after 01:59 comes 01:00 again.
    let days = ["2027-11-06T05:30:00", "2027-11-07T05:30:00", "2027-11-08T06:30:00"];
    check("30 1 * * *", "America/New_York", "2027-11-05T12:00:00", &days);
    // Lord Howe, 2027-04-04: after 01:59 comes 01:30 again.
    let days = ["2027-04-02T14:45:00", "2027-04-03T14:45:00", "2027-04-04T15:15:00"];
    check("45 1 * * *", "Australia/Lord_Howe", "2027-04-02T12:00:00", &days);
}

#[test]
fn a_job_that_began_while_an_hour_came_again_has_a_next_tick_and_is_late_in_its_time() {
    for from in ["2027-10-31T01:00:00", "2027-10-31T01:10:00", "2027-10-31T01:30:00", "2027-10-31T01:59:59"] {
        check("30 2 * * *", "Europe/Berlin", from, &["2027-11-01T01:30:00", "2027-11-02T01:30:00"]);
        check("*/5 2 * * *", "Europe/Berlin", from, &["2027-11-01T01:00:00", "2027-11-01T01:05:00"]);
        check("30 2,14 * * *", "Europe/Berlin", from, &["2027-10-31T13:30:00", "2027-11-01T01:30:00"]);
        let late = times("30 2 * * *", "Europe/Berlin").late_from(at(from));
        assert_eq!(late, Some(at("2027-11-02T01:30:00")), "{from}");
    }
}

#[test]
fn a_tick_before_the_missing_hour_comes_once_and_each_of_a_list_comes() {
    let days = ["2027-03-28T00:30:00", "2027-03-28T23:30:00"];
    check("30 1 * * *", "Europe/Berlin", "2027-03-28T00:10:00", &days);
    let list = ["2027-03-28T01:00:00", "2027-03-28T12:30:00", "2027-03-29T00:30:00"];
    check("30 2,14 * * *", "Europe/Berlin", "2027-03-28T00:10:00", &list);
    // All that the missing hour would have had is one tick.
    let minutes = ["2027-03-28T01:00:00", "2027-03-29T00:00:00", "2027-03-29T00:05:00"];
    check("*/5 2 * * *", "Europe/Berlin", "2027-03-28T00:10:00", &minutes);
    // A day that was left out: Apia, 2011-12-30.
    let days = ["2011-12-29T22:00:00", "2011-12-30T10:00:00", "2011-12-30T22:00:00"];
    check("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00", &days);
}

#[test]
fn whatever_the_zone_and_the_moment_there_is_a_next_tick_within_two_days_and_none_twice() {
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Gaza"] {
        for expression in ["30 2 * * *", "0,30 0-3 * * *", "45 1 * * *", "30 2,14 * * *"] {
            let times = times(expression, zone);
            let mut from = at("2027-01-01T00:00:00");
            while from < at("2028-01-01T00:00:00") {
                let next = times.next(from).expect("there is always a next day");
                assert!(next > from && next - from < TimeDelta::days(2), "{expression} {zone} {from} {next}");
                // Whatever comes before it leads to it.
                assert_eq!(
                    times.next(next - TimeDelta::seconds(1)),
                    Some(next),
                    "{expression} {zone} {from}"
                );
                from += TimeDelta::minutes(47);
            }
        }
    }
}

#[test]
fn the_longest_pause_is_that_of_a_whole_week_whatever_the_day() {
    let times = times("*/5 9-17 * * 1-5", "UTC");
    for day in 1..8 {
        let longest = times.longest(at(&format!("2027-02-0{day}T00:00:00")));
        // From Friday, 17:55, to Monday, 9:00.
        assert_eq!(longest, Some(TimeDelta::minutes(2 * 24 * 60 + 15 * 60 + 5)), "{day}");
    }
}

#[test]
fn whatever_the_zone_a_year_of_hourly_ticks_has_no_hole_and_no_tick_comes_twice() {
    for zone in ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"] {
        let times = times("17 * * * *", zone);
        let mut tick = at("2026-11-01T00:00:00");
        while tick < at("2027-11-20T00:00:00") {
            let next = times.next(tick).expect("there is always a next hour");
            let pause = next - tick;
            // Half an hour is taken or given at Lord Howe.
            assert!(pause >= TimeDelta::minutes(17), "{zone}: {tick} and {next}");
            assert!(pause <= TimeDelta::minutes(90), "{zone}: {tick} and {next}");
            tick = next;
        }
    }
}

#[test]
fn whatever_was_missed_is_made_up_for_once() {
    let times = times("17 * * * *", "UTC");
    let last = at("2026-11-26T10:17:05");
    for (now, due) in [
        ("2026-11-26T10:17:05", false),
        ("2026-11-26T11:16:59", false),
        ("2026-11-26T11:17:00", true),
        ("2026-11-29T08:00:00", true),
    ] {
        assert_eq!(times.is_due(last, at(now)), due, "{now}");
        // Having begun at that moment, it is not due a second time.
        assert!(!times.is_due(at(now), at(now)), "{now}");
    }
}

#[test]
fn a_clock_that_is_set_back_repeats_no_tick_and_starves_no_job() {
    let times = times("17 * * * *", "UTC");
    let last = at("2026-11-26T10:17:05");
    // By half an hour: 10:17 is not repeated.
    let now = at("2026-11-26T09:50:00");
    assert_eq!(times.believed(last, now), last);
    assert!(!times.is_due(last, at("2026-11-26T10:17:00")));
    // By five hours: the next tick is the next by that clock.
    let now = at("2026-11-26T05:20:00");
    let believed = times.believed(last, now);
    assert_eq!(believed, now);
    assert!(!times.is_due(believed, now) && times.is_due(believed, at("2026-11-26T06:17:00")));
    // What is past is believed.
    assert_eq!(times.believed(last, at("2026-11-28T00:00:00")), last);
}

#[test]
fn a_clock_that_is_set_forward_makes_a_job_due_once() {
    let times = times("17 * * * *", "UTC");
    let now = at("2027-06-01T00:00:00");
    assert!(times.is_due(at("2026-11-26T10:17:05"), now) && !times.is_due(now, now));
}

#[test]
fn a_job_is_late_when_its_second_tick_since_the_last_success_is_there() {
    let times = times("17 * * * *", "UTC");
    assert_eq!(times.late_from(at("2026-11-26T10:17:05")), Some(at("2026-11-26T12:17:00")));
    assert_eq!(times.interval(at("2026-11-26T10:17:05")), Some(TimeDelta::hours(1)));
}

#[test]
fn the_delay_of_an_organization_is_bounded_and_always_the_same() {
    let delayed = |gid: &str, expression: &str, jitter_seconds| {
        let backup = expression.to_owned();
        let settings = ScheduleSettings { backup, jitter_seconds, ..ScheduleSettings::default() };
        Times::of(Kind::Backup, &settings, gid).expect("valid").expect("not turned off").delay.num_seconds()
    };
    let hourly: Vec<_> = (0..200).map(|gid| delayed(&gid.to_string(), "17 * * * *", 60)).collect();
    assert!(hourly.iter().all(|delay| (0..=60).contains(delay)), "{hourly:?}");
    assert!(hourly.iter().collect::<std::collections::BTreeSet<_>>().len() > 40, "{hourly:?}");
    assert_eq!(hourly, (0..200).map(|gid| delayed(&gid.to_string(), "17 * * * *", 60)).collect::<Vec<_>>());
    // A minute's ticks are never delayed into each other.
    assert!((0..200).all(|gid| delayed(&gid.to_string(), "* * * * *", 3_600) <= 30));
    let late = Times { delay: TimeDelta::seconds(40), ..times("17 * * * *", "UTC") };
    let last = at("2026-11-26T10:17:41");
    assert!(!late.is_due(last, at("2026-11-26T11:17:39")) && late.is_due(last, at("2026-11-26T11:17:40")));
    assert_eq!(late.upcoming(at("2026-11-26T11:17:30"), 1), [at("2026-11-26T11:17:40")]);
}

#[test]
fn what_is_no_expression_is_refused_by_name_and_never_turns_a_job_off() {
    let parsed = |backup: &str, zone: &str| {
        let settings = ScheduleSettings {
            backup: backup.to_owned(),
            timezone: zone.to_owned(),
            ..ScheduleSettings::default()
        };
        Times::of(Kind::Backup, &settings, "1")
    };
    for wrong in ["hourly", "61 * * * *", "17 * * *", "0 17 * * * *", "0 0 30 2 *"] {
        let error = parsed(wrong, "UTC").expect_err("refused");
        assert!(error.to_string().contains(wrong) && error.remedy_text().is_some(), "{error}");
    }
    assert!(parsed("17 * * * *", "Mars/Olympus").expect_err("refused").to_string().contains("Mars"));
    for off in ["", "never", " "] {
        assert!(parsed(off, "UTC").expect("valid").is_none());
    }
}

#[test]
fn backups_that_are_rarer_than_hourly_are_warned_of() {
    let now = at("2026-11-26T00:00:00");
    assert_eq!(times("17 * * * *", "UTC").warning(now), None);
    assert_eq!(times("*/5 * * * *", "Australia/Lord_Howe").warning(now), None);
    let daily = times("30 2 * * *", "UTC").warning(now).expect("tokens may die");
    assert!(daily.contains("24 hours"), "{daily}");
    let working_hours = times("0 9-17 * * 1-5", "UTC").warning(now).expect("tokens may die");
    assert!(working_hours.contains("64 hours"), "{working_hours}");
}
