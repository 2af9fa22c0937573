//! A table and a picture for people. The JSON is the outcomes themselves.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::echo::Idle;
use crate::load::{Outcome, Percentiles};
use crate::start::Started;

/// One line for each outcome, and below it the processes and the calls.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "{:<21} {:<22} {:>7} {:>10} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>7}\n",
        "scenario", "target", "clients", "a second", "accepted", "delta", "p50", "p90", "p99", "p99.9", "max", "CPU ms"
    );
    for outcome in outcomes {
        let p50 = |times: &Option<Percentiles>| times.map_or_else(String::new, |times| format!("{:.2}", times.p50));
        let end = &outcome.end;
        let _ = writeln!(
            text,
            "{:<21} {:<22} {:>7} {:>10.1} {:>9} {:>8} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>7.2}",
            outcome.scenario,
            outcome.target,
            outcome.clients,
            outcome.per_second,
            p50(&outcome.accepted),
            p50(&outcome.first_delta),
            end.p50,
            end.p90,
            end.p99,
            end.p999,
            end.max,
            outcome.cpu_ms(),
        );
    }
    text
}

/// The processes and the calls of one outcome.
pub(crate) fn details(outcome: &Outcome) -> String {
    let mut text = format!("{} of {}: {:.1} frames a message\n", outcome.scenario, outcome.target, outcome.frames);
    let _ = writeln!(text, "  {:<16} {:>9} {:>14} {:>12}", "process", "number", "CPU ms", "MB in all");
    for (kind, usage) in &outcome.processes {
        let megabytes = usage.memory as f64 / (1024.0 * 1024.0);
        let _ = writeln!(text, "  {kind:<16} {:>9} {:>14.3} {megabytes:>12.1}", usage.processes, usage.cpu_ms);
    }
    if !outcome.calls.is_empty() {
        let all: f64 = outcome.calls.values().sum();
        let _ = writeln!(text, "  calls to services: {all:.2}");
        for (call, made) in &outcome.calls {
            let _ = writeln!(text, "    {call:<52} {made:>8.3}");
        }
    }
    if let Some(total) = outcome.dollars_per_million.get("total") {
        let _ = writeln!(text, "  dollars for a million on AWS: {total:.2}");
        for (item, dollars) in outcome.dollars_per_million.iter().filter(|(item, _)| *item != "total") {
            let _ = writeln!(text, "    {item:<52} {dollars:>8.3}");
        }
    }
    text
}

/// How fast functions start.
pub(crate) fn starts(rows: &[Started]) -> String {
    let mut text = format!(
        "{:<22} {:>9} {:>13} {:>8} {:>14} {:>12} {:>8}\n",
        "function, ms", "to ready", "first answer", "warm", "CPU to first", "CPU warm", "MB"
    );
    for row in rows {
        let _ = writeln!(
            text,
            "{:<22} {:>9.1} {:>13.1} {:>8.2} {:>14.1} {:>12.2} {:>8.1}",
            row.function, row.ready, row.first, row.warm, row.cpu_first, row.cpu_warm, row.memory_mb
        );
    }
    text
}

/// What idle connections cost.
pub(crate) fn idle(target: &str, idle: &Idle) -> String {
    format!(
        "{target}: {} idle connections, made in {:.1} s, take {:.1} KB each",
        idle.connections,
        idle.connected_in.as_secs_f64(),
        idle.bytes_each as f64 / 1024.0
    )
}

const WIDTH: i32 = 760;
const ROW: i32 = 26;
const LABELS: i32 = 190;
const BARS: i32 = 470;

/// Bars: messages a second with all clients, and the time of a message of a single client.
pub(crate) fn picture(path: &Path, outcomes: &[Outcome]) -> Result<()> {
    let of = |scenario| outcomes.iter().filter(move |outcome: &&Outcome| outcome.scenario == scenario);
    let mut charts: Vec<(String, Vec<(&str, f64)>)> = Vec::new();
    if let Some(first) = of("closed").next() {
        let bars = of("closed").map(|outcome| (outcome.target.as_str(), outcome.per_second)).collect();
        charts.push((format!("Messages a second, {} clients", first.clients), bars));
    }
    let alone: Vec<_> = of("alone").map(|outcome| (outcome.target.as_str(), outcome.end.p50)).collect();
    if !alone.is_empty() {
        charts.push(("Milliseconds from a message to its whole answer, one client, median".to_owned(), alone));
    }
    let rows: i32 = charts.iter().map(|(_, bars)| i32::try_from(bars.len() + 2).unwrap_or(i32::MAX)).sum();
    let size = (u32::try_from(WIDTH)?, u32::try_from(rows * ROW)?);
    let root = SVGBackend::new(path, size).into_drawing_area();
    let failed = |error: DrawingAreaErrorKind<_>| anyhow!("{} could not be drawn: {error}", path.display());
    root.fill(&WHITE).map_err(failed)?;
    let text = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
    let mut top = ROW / 2;
    for (title, bars) in &charts {
        root.draw_text(title, &text(17).pos(Pos::new(HPos::Left, VPos::Top)), (10, top)).map_err(failed)?;
        top += ROW;
        let longest = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
        for (name, value) in bars {
            let middle = top + ROW / 2 - 3;
            let right = LABELS + (value / longest * f64::from(BARS)) as i32;
            let bar = Rectangle::new([(LABELS, top), (right, top + ROW - 6)], BLUE.mix(0.6).filled());
            root.draw(&bar).map_err(failed)?;
            let (left, end) = (Pos::new(HPos::Right, VPos::Center), Pos::new(HPos::Left, VPos::Center));
            root.draw_text(name, &text(14).pos(left), (LABELS - 8, middle)).map_err(failed)?;
            let shown = if *value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") };
            root.draw_text(&shown, &text(14).pos(end), (right + 6, middle)).map_err(failed)?;
            top += ROW;
        }
        top += ROW;
    }
    root.present().map_err(failed)
}
