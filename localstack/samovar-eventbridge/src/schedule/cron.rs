//! Cron expressions: minutes, hours, day of month, month, day of week, year.

use jiff::ToSpan as _;
use jiff::civil::{Date, DateTime, Weekday};

use super::ScheduleError;

/// The last year that a cron expression can name.
const LAST_YEAR: i16 = 2199;

/// A cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: Vec<i8>,
    hours: Vec<i8>,
    days: Days,
    months: Vec<i8>,
    years: Vec<i16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Days {
    OfMonth(Vec<DayOfMonth>),
    OfWeek(Vec<DayOfWeek>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DayOfMonth {
    On(i8),
    /// `L`.
    Last,
    /// `3W`: the day from Monday to Friday that is nearest, in the same month.
    NearestWeekday(i8),
}

/// Days of the week are from 1, which is Sunday, to 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DayOfWeek {
    Every(i8),
    /// `6L`: the last Friday of the month.
    Last(i8),
    /// `3#2`: the second Tuesday of the month.
    Nth(i8, i8),
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A field's name, its first and last number, and the names of its numbers.
struct Field {
    name: &'static str,
    allowed: &'static str,
    from: i16,
    to: i16,
    names: &'static [&'static str],
}

const MINUTES: Field = Field { name: "minutes", allowed: "it takes 0-59 and , - * /", from: 0, to: 59, names: &[] };
const HOURS: Field = Field { name: "hours", allowed: "it takes 0-23 and , - * /", from: 0, to: 23, names: &[] };
const DAY_OF_MONTH: Field =
    Field { name: "day of month", allowed: "it takes 1-31 and , - * ? / L W", from: 1, to: 31, names: &[] };
const MONTH: Field =
    Field { name: "month", allowed: "it takes 1-12 or JAN-DEC and , - * /", from: 1, to: 12, names: &MONTHS };
const DAY_OF_WEEK: Field =
    Field { name: "day of week", allowed: "it takes 1-7 or SUN-SAT and , - * ? L #", from: 1, to: 7, names: &DAYS };
const YEAR: Field =
    Field { name: "year", allowed: "it takes 1970-2199 and , - * /", from: 1970, to: LAST_YEAR, names: &[] };

impl Cron {
    /// Reads the fields between the parentheses of `cron(…)`.
    pub(super) fn parse(fields: &str) -> Result<Self, ScheduleError> {
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let [minutes, hours, day_of_month, month, day_of_week, year] = fields[..] else {
            return Err(ScheduleError::SixFields);
        };
        let days = match (day_of_month, day_of_week) {
            ("?", "?") => return Err(ScheduleError::Days),
            (of_month, "?") => Days::OfMonth(DAY_OF_MONTH.list(of_month, day_of_month_part)?),
            ("?", of_week) => Days::OfWeek(DAY_OF_WEEK.list(of_week, day_of_week_part)?),
            _ => return Err(ScheduleError::Days),
        };
        Ok(Self {
            minutes: MINUTES.small(minutes)?,
            hours: HOURS.small(hours)?,
            days,
            months: MONTH.small(month)?,
            years: YEAR.numbers(year)?,
        })
    }

    /// The times from the day of `from` on, in their order, as clocks show them.
    pub(super) fn times(&self, from: DateTime) -> impl Iterator<Item = DateTime> + '_ {
        let first = from.date();
        let days = std::iter::successors(Some(first), |day| day.tomorrow().ok());
        let days = days.take_while(|day| day.year() <= LAST_YEAR).filter(|day| self.is_due_on(*day));
        days.flat_map(move |day| {
            self.hours.iter().flat_map(move |hour| self.minutes.iter().map(move |minute| day.at(*hour, *minute, 0, 0)))
        })
    }

    fn is_due_on(&self, day: Date) -> bool {
        let of_month = |wanted: &DayOfMonth| match wanted {
            DayOfMonth::On(number) => day.day() == *number,
            DayOfMonth::Last => day == day.last_of_month(),
            DayOfMonth::NearestWeekday(number) => nearest_weekday(day, *number) == Some(day),
        };
        let weekday = day.weekday().to_sunday_one_offset();
        let of_week = |wanted: &DayOfWeek| match wanted {
            DayOfWeek::Every(number) => weekday == *number,
            DayOfWeek::Last(number) => weekday == *number && day.day() > day.days_in_month() - 7,
            DayOfWeek::Nth(number, nth) => weekday == *number && (day.day() - 1) / 7 + 1 == *nth,
        };
        self.years.contains(&day.year())
            && self.months.contains(&day.month())
            && match &self.days {
                Days::OfMonth(days) => days.iter().any(of_month),
                Days::OfWeek(days) => days.iter().any(of_week),
            }
    }
}

/// The day from Monday to Friday that is nearest to a day of the month of `within`, if the month has that day.
fn nearest_weekday(within: Date, number: i8) -> Option<Date> {
    let day = Date::new(within.year(), within.month(), number).ok()?;
    let moved = match day.weekday() {
        Weekday::Saturday => -1,
        Weekday::Sunday => 1,
        _ => 0,
    };
    let near = day.checked_add(moved.days()).ok()?;
    if near.month() == day.month() { Some(near) } else { day.checked_add((-2 * moved).days()).ok() }
}

fn day_of_month_part(text: &str) -> Option<Vec<DayOfMonth>> {
    if text == "L" {
        return Some(vec![DayOfMonth::Last]);
    }
    if let Some(number) = text.strip_suffix('W') {
        return Some(vec![DayOfMonth::NearestWeekday(i8::try_from(DAY_OF_MONTH.number(number)?).ok()?)]);
    }
    let days = DAY_OF_MONTH.part(text)?;
    days.into_iter().map(|day| i8::try_from(day).ok().map(DayOfMonth::On)).collect()
}

fn day_of_week_part(text: &str) -> Option<Vec<DayOfWeek>> {
    let day = |text: &str| i8::try_from(DAY_OF_WEEK.number(text)?).ok();
    if text == "L" {
        // The last day of the week.
        return Some(vec![DayOfWeek::Every(7)]);
    }
    if let Some(number) = text.strip_suffix('L') {
        return Some(vec![DayOfWeek::Last(day(number)?)]);
    }
    if let Some((number, nth)) = text.split_once('#') {
        let nth: i8 = nth.parse().ok().filter(|nth| (1..=5).contains(nth))?;
        return Some(vec![DayOfWeek::Nth(day(number)?, nth)]);
    }
    let days = DAY_OF_WEEK.part(text)?;
    days.into_iter().map(|day| i8::try_from(day).ok().map(DayOfWeek::Every)).collect()
}

impl Field {
    /// The parts between commas.
    fn list<T>(&self, text: &str, part: impl Fn(&str) -> Option<Vec<T>>) -> Result<Vec<T>, ScheduleError> {
        let parts: Option<Vec<Vec<T>>> = text.split(',').map(part).collect();
        let wrong = || ScheduleError::Field { field: self.name, value: text.to_owned(), allowed: self.allowed };
        Ok(parts.ok_or_else(wrong)?.into_iter().flatten().collect())
    }

    fn numbers(&self, text: &str) -> Result<Vec<i16>, ScheduleError> {
        let mut numbers = self.list(text, |part| self.part(part))?;
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// The numbers of a field that has only small ones.
    fn small(&self, text: &str) -> Result<Vec<i8>, ScheduleError> {
        Ok(self.numbers(text)?.into_iter().filter_map(|number| i8::try_from(number).ok()).collect())
    }

    /// `*`, `5`, `5-9`, each with a step behind a `/`. A step after one number goes on to the end.
    fn part(&self, text: &str) -> Option<Vec<i16>> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<usize>().ok().filter(|step| *step > 0)?)),
            None => (text, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.from, self.to),
            Some((from, to)) => (self.number(from)?, self.number(to)?),
            None => {
                let number = self.number(range)?;
                (number, if step.is_some() { self.to } else { number })
            }
        };
        let step = step.unwrap_or(1);
        match from <= to {
            true => Some((from..=to).step_by(step).collect()),
            // A range that goes over the end, such as FRI-MON.
            false => Some((from..=self.to).chain(self.from..=to).step_by(step).collect()),
        }
    }

    fn number(&self, text: &str) -> Option<i16> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        match named {
            Some(at) => i16::try_from(at).ok().map(|at| at + self.from),
            None => {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let number = text.parse().ok().filter(|_| digits)?;
                (self.from..=self.to).contains(&number).then_some(number)
            }
        }
    }
}
