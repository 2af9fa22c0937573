//! The examples of EventBridge's user guide, changes of the clocks, the errors, and properties.

use proptest::prelude::*;

use super::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next times, in UTC or in a time zone.
fn next(expression: &str, now: &str, zone: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let zone = TimeZone::get(zone).unwrap();
    let times = std::iter::successors(Some(time(now)), |now| schedule.next(*now, &zone));
    times.skip(1).take(count).map(|time| time.to_string()).collect()
}

#[test]
fn a_rate_is_a_number_of_minutes_hours_or_days() {
    for (expression, seconds) in [("rate(1 minute)", 60), ("rate(5 minutes)", 300), ("rate(2 days)", 172_800)] {
        let schedule = Schedule::parse(expression).unwrap();
        assert_eq!(schedule, Schedule::Rate(Duration::from_secs(seconds)));
        assert_eq!(schedule.next(time("2030-01-01T00:00:00Z"), &TimeZone::UTC), None);
    }
    for bad in [
        "rate(0 minutes)",
        "rate(1 minutes)",
        "rate(5 minute)",
        "rate(30 seconds)",
        "rate(5)",
        "at(2030-01-01)",
        "at(2030-01-01T00:00:00Z)",
        "at(x)",
        "daily",
        "cron",
        "",
    ] {
        assert_eq!(Schedule::parse(bad), Err(ScheduleError::Form), "{bad}");
    }
}

/// The table of the user guide, each with the times that it says.
#[test]
fn cron_expressions_are_due_when_the_user_guide_says() {
    // A Tuesday.
    let now = "2030-01-01T00:00:00Z";
    for (expression, expected) in [
        ("cron(0 10 * * ? *)", vec!["2030-01-01T10:00:00Z", "2030-01-02T10:00:00Z"]),
        ("cron(15 12 * * ? *)", vec!["2030-01-01T12:15:00Z", "2030-01-02T12:15:00Z"]),
        (
            "cron(0 18 ? * MON-FRI *)",
            vec![
                "2030-01-01T18:00:00Z",
                "2030-01-02T18:00:00Z",
                "2030-01-03T18:00:00Z",
                "2030-01-04T18:00:00Z",
                "2030-01-07T18:00:00Z",
            ],
        ),
        ("cron(0 8 1 * ? *)", vec!["2030-01-01T08:00:00Z", "2030-02-01T08:00:00Z"]),
        ("cron(0/15 * * * ? *)", vec!["2030-01-01T00:15:00Z", "2030-01-01T00:30:00Z"]),
        ("cron(0/10 * ? * MON-FRI *)", vec!["2030-01-01T00:10:00Z"]),
        ("cron(0/5 8-17 ? * MON-FRI *)", vec!["2030-01-01T08:00:00Z", "2030-01-01T08:05:00Z"]),
        ("cron(15 10 ? * 6L 2029-2031)", vec!["2030-01-25T10:15:00Z", "2030-02-22T10:15:00Z"]),
        ("cron(0 9 ? * 2#1 *)", vec!["2030-01-07T09:00:00Z", "2030-02-04T09:00:00Z"]),
        ("cron(0 9 ? * TUE#2 *)", vec!["2030-01-08T09:00:00Z", "2030-02-12T09:00:00Z"]),
        ("cron(0 0 L * ? *)", vec!["2030-01-31T00:00:00Z", "2030-02-28T00:00:00Z"]),
        // The fifth of January is a Saturday, the sixth a Sunday, the first of June a Saturday.
        ("cron(0 0 5W,6W JAN ? *)", vec!["2030-01-04T00:00:00Z", "2030-01-07T00:00:00Z"]),
        ("cron(0 0 1W JUN ? 2030)", vec!["2030-06-03T00:00:00Z"]),
        ("cron(0 0 ? * L *)", vec!["2030-01-05T00:00:00Z", "2030-01-12T00:00:00Z"]),
        (
            "cron(0 0 ? * SAT-MON *)",
            vec!["2030-01-05T00:00:00Z", "2030-01-06T00:00:00Z", "2030-01-07T00:00:00Z", "2030-01-12T00:00:00Z"],
        ),
        ("cron(0 0 29 FEB ? *)", vec!["2032-02-29T00:00:00Z", "2036-02-29T00:00:00Z"]),
        ("cron(0 0 1 1 ? 2031/100)", vec!["2031-01-01T00:00:00Z", "2131-01-01T00:00:00Z"]),
        ("at(2030-05-06T07:08:09)", vec!["2030-05-06T07:08:09Z"]),
    ] {
        assert_eq!(next(expression, now, "UTC", expected.len()), expected, "{expression}");
    }
    for (expression, count) in [
        ("cron(0 0 1 1 ? 2029)", 0),
        ("cron(0 0 1W JUN ? 2030)", 1),
        ("at(2029-12-31T23:59:59)", 0),
        ("cron(0 0 30 2 ? *)", 0),
    ] {
        assert_eq!(next(expression, now, "UTC", 10).len(), count, "{expression} is not due again");
    }
}

/// By "Time zones" and "Daylight savings time" in the user guide of EventBridge Scheduler.
#[test]
fn a_time_that_the_clocks_skip_is_not_due_and_one_that_comes_twice_is_due_once() {
    let times = |expression: &str, now: &str| next(expression, now, "America/New_York", 2);
    let expected = ["2030-03-09T07:30:00Z", "2030-03-11T06:30:00Z"];
    assert_eq!(times("cron(30 2 * * ? *)", "2030-03-09T00:00:00Z"), expected, "on the tenth there is no 2:30");
    let expected = ["2030-11-03T05:30:00Z", "2030-11-04T06:30:00Z"];
    assert_eq!(times("cron(30 1 * * ? *)", "2030-11-03T00:00:00Z"), expected);
    let again = "2030-11-03T05:45:00Z";
    assert_eq!(times("cron(30 1 * * ? *)", again)[0], "2030-11-04T06:30:00Z", "1:30 comes again at 6:30 in UTC");
    assert_eq!(times("at(2030-07-01T12:00:00)", again), Vec::<String>::new());
    assert_eq!(next("at(2030-07-01T12:00:00)", "2030-01-01T00:00:00Z", "Europe/Berlin", 2), ["2030-07-01T10:00:00Z"]);
}

#[test]
fn a_cron_expression_that_eventbridge_refuses_is_an_error_with_its_field() {
    for (fields, error) in [
        ("0 12 * * *", ScheduleError::SixFields),
        ("0 0 12 * * ? *", ScheduleError::SixFields),
        ("", ScheduleError::SixFields),
        ("0 12 * * * *", ScheduleError::Days),
        ("0 12 ? * ? *", ScheduleError::Days),
    ] {
        assert_eq!(Schedule::parse(&format!("cron({fields})")), Err(error), "{fields}");
    }
    for (fields, field, value) in [
        ("60 12 * * ? *", "minutes", "60"),
        ("0 24 * * ? *", "hours", "24"),
        ("0 0 0 * ? *", "day of month", "0"),
        ("0 0 32W * ? *", "day of month", "32W"),
        ("0 0 1 13 ? *", "month", "13"),
        ("0 0 1 FOO ? *", "month", "FOO"),
        ("0 0 ? * 0 *", "day of week", "0"),
        ("0 0 ? * 2#6 *", "day of week", "2#6"),
        ("0 0 1 1 ? 1969", "year", "1969"),
        ("1/0 0 1 1 ? *", "minutes", "1/0"),
        ("+1 0 1 1 ? *", "minutes", "+1"),
        ("1,,2 0 1 1 ? *", "minutes", "1,,2"),
        ("1- 0 1 1 ? *", "minutes", "1-"),
    ] {
        let error = Schedule::parse(&format!("cron({fields})")).expect_err(fields).to_string();
        let expected = format!("the field {field} of a cron expression can't be \"{value}\": it takes ");
        assert!(error.starts_with(&expected), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_schedule_or_an_error(text in "cron\\([0-9A-Z*?/,# L-]{0,24}\\)|.{0,20}") {
        if let Ok(schedule) = Schedule::parse(&text) {
            let now = time("2030-01-01T00:00:00Z");
            prop_assert!(schedule.next(now, &TimeZone::UTC).is_none_or(|next| next > now));
        }
    }

    #[test]
    fn the_next_time_is_the_first_minute_that_the_fields_have(
        minute in 0i8..60, hour in 0i8..24, day in 1i8..32, after_minutes in 0i64..1_000_000,
    ) {
        let now = Timestamp::from_second(1_893_456_000 + after_minutes * 60).unwrap();
        let schedule = Schedule::parse(&format!("cron({minute} {hour} {day} * ? *)")).unwrap();
        let next = schedule.next(now, &TimeZone::UTC).unwrap();
        let is_due = |time: Timestamp| {
            let time = time.to_zoned(TimeZone::UTC);
            (time.minute(), time.hour(), time.day()) == (minute, hour, day)
        };
        prop_assert!(is_due(next) && next > now);
        // No month is longer than 62 days without the day.
        let days = (next.as_second() - now.as_second()) / 86_400;
        prop_assert!(days < 62, "{days}");
        let skipped = (1..days).any(|back| {
            let earlier = Timestamp::from_second(next.as_second() - back * 86_400).unwrap();
            earlier > now && is_due(earlier)
        });
        prop_assert!(!skipped);
    }
}
