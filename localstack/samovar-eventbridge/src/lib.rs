#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod input;
mod pattern;
mod schedule;

pub use input::{Input, InputError, Path, Rule, Transformer};
pub use jiff::tz::TimeZone;
pub use pattern::{Pattern, PatternError};
pub use schedule::{Cron, Schedule, ScheduleError};
