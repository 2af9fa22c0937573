//! A soak: one stack at a steady load for minutes, with its memory measured all the time.
//!
//! Memory that grows with the number of messages would end every stack in the end. So the verdict compares the memory
//! of the first minutes, after the start, with the memory of the last ones. For functions it compares the memory of one
//! process, because a busy machine may need one process more.
//!
//! The memory of a process is its anonymous resident memory. The database maps its file into memory, and those pages
//! grow with the file. They are a cache, which the kernel takes back when it needs them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plotters::prelude::*;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use crate::{Client, Stack, StackOptions};

/// The pause between two measurements.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// The time until the memory is full that the services must keep: a queue remembers the messages of five minutes, and
/// DynamoDB the transactions of ten.
const WARM_UP_SECONDS: f64 = 660.0;

/// The messages of one conversation.
const CONVERSATION: u64 = 50;

/// The settings of a soak.
#[derive(Debug, Clone)]
pub struct Options {
    pub minutes: f64,
    pub clients: u32,
    /// Messages of all clients together.
    pub per_second: f64,
    /// The measurements (`soak.csv`) and the picture (`soak.svg`) are written here.
    pub directory: PathBuf,
}

/// The memory at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    pub seconds: f64,
    pub answered: u64,
    /// Bytes of the stack's own process.
    pub stack_bytes: u64,
    /// Bytes of each function's processes together, and their number.
    pub functions: BTreeMap<String, (u64, usize)>,
}

impl Measurement {
    /// Bytes of all functions together.
    pub fn function_bytes(&self) -> u64 {
        self.functions.values().map(|(bytes, _)| bytes).sum()
    }

    fn processes(&self) -> usize {
        self.functions.values().map(|(_, processes)| processes).sum()
    }
}

/// A part of the memory.
type Memory = fn(&Measurement) -> f64;

/// The growth of the memory from the first third after the warm-up to the last third, as ratios: the stack, and one
/// process of a function.
pub fn growth(measurements: &[Measurement]) -> Option<(f64, f64)> {
    let seconds = measurements.last()?.seconds;
    // A soak that is too short for a verdict still shows the beginning.
    let warm = WARM_UP_SECONDS.min(seconds / 2.0);
    let steady = &measurements[measurements.partition_point(|measurement| measurement.seconds < warm)..];
    let third = steady.len() / 3;
    if third == 0 {
        return None;
    }
    let mean = |part: &[Measurement], of: Memory| part.iter().map(of).sum::<f64>() / part.len() as f64;
    let ratio = |of| mean(&steady[steady.len() - third..], of) / mean(&steady[..third], of);
    let of_one =
        |measurement: &Measurement| measurement.function_bytes() as f64 / measurement.processes().max(1) as f64;
    Some((ratio(|measurement| measurement.stack_bytes as f64), ratio(of_one)))
}

/// Runs the soak. Returns the measurements.
pub async fn run(options: &Options) -> std::io::Result<Vec<Measurement>> {
    std::fs::create_dir_all(&options.directory)?;
    // On the disk, because in memory the messages themselves would be the growth.
    let data = tempfile::tempdir()?;
    let stack = StackOptions::default().param("MockLatencyMs", 50).data_dir(data.path());
    let stack = if cfg!(debug_assertions) { stack } else { stack.arg("--release") };
    let stack = Arc::new(stack.start().await);
    let answered = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + Duration::from_secs_f64(options.minutes * 60.0);
    let each = Duration::from_secs_f64(f64::from(options.clients) / options.per_second);
    let clients: Vec<_> = (0..options.clients)
        .map(|number| {
            let (stack, answered) = (Arc::clone(&stack), Arc::clone(&answered));
            // The clients begin one after the other, so that their messages are spread over the time.
            let begin = each.mul_f64(f64::from(number) / f64::from(options.clients));
            tokio::spawn(async move {
                tokio::time::sleep(begin).await;
                chat(&stack, number, each, until, &answered).await;
            })
        })
        .collect();
    let measurements = measure(&stack, until, &answered).await;
    for client in clients {
        client.await.expect("a client does not panic");
    }
    table(&options.directory.join("soak.csv"), &measurements)?;
    picture(&options.directory.join("soak.svg"), &measurements).map_err(std::io::Error::other)?;
    Ok(measurements)
}

/// One client: a message every `each`, or as soon as the one before is answered.
async fn chat(stack: &Stack, number: u32, each: Duration, until: Instant, answered: &AtomicU64) {
    let mut client = Client::connect(stack, &format!("user-{number}")).await;
    let mut conversation = client.rest.new_conversation().await;
    let mut due = interval(each);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for message in 1_u64.. {
        due.tick().await;
        if Instant::now() >= until {
            break;
        }
        let text = format!("message {message}");
        let (_, end) = client.ask(&conversation, &text).await;
        assert_eq!(end["replies"][0]["text"], format!("response for {text}"), "{end}");
        answered.fetch_add(1, Ordering::Relaxed);
        if message % CONVERSATION == 0 {
            conversation = client.rest.new_conversation().await;
        }
    }
    client.close().await;
}

async fn measure(stack: &Stack, until: Instant, answered: &AtomicU64) -> Vec<Measurement> {
    let (began, mut measurements) = (Instant::now(), Vec::new());
    let mut due = interval(MEASURE_EVERY);
    loop {
        due.tick().await;
        if Instant::now() >= until {
            return measurements;
        }
        let state = stack.state().await;
        let functions = state["functions"].as_object().into_iter().flatten().map(|(name, function)| {
            let pids: Vec<u64> = function["pids"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
            (name.clone(), (pids.iter().copied().map(own_bytes).sum(), pids.len()))
        });
        let measurement = Measurement {
            seconds: began.elapsed().as_secs_f64(),
            answered: answered.load(Ordering::Relaxed),
            stack_bytes: own_bytes(u64::from(stack.pid())),
            functions: functions.collect(),
        };
        eprintln!(
            "{:>6.0} s  {:>8} answered  stack {:>6.1} MB  functions {:>6.1} MB in {} processes",
            measurement.seconds,
            measurement.answered,
            megabytes(measurement.stack_bytes),
            megabytes(measurement.function_bytes()),
            measurement.processes()
        );
        measurements.push(measurement);
    }
}

/// The anonymous resident memory of a process. A process that has ended has none.
fn own_bytes(pid: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes: Option<u64> = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

fn table(path: &Path, measurements: &[Measurement]) -> std::io::Result<()> {
    let mut text = String::from("seconds,answered,stack_bytes,function_bytes,function_processes\n");
    for measurement in measurements {
        text += &format!(
            "{:.0},{},{},{},{}\n",
            measurement.seconds,
            measurement.answered,
            measurement.stack_bytes,
            measurement.function_bytes(),
            measurement.processes()
        );
    }
    std::fs::write(path, text)
}

fn picture(path: &Path, measurements: &[Measurement]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let minutes = |measurement: &Measurement| measurement.seconds / 60.0;
    let last = measurements.last().map_or(1.0, minutes);
    let most = measurements.iter().map(|measurement| measurement.function_bytes().max(measurement.stack_bytes)).max();
    let root = SVGBackend::new(path, (900, 420)).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..last, 0.0..megabytes(most.unwrap_or(1)) * 1.15)
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .x_desc("minutes")
        .y_desc("memory, MB")
        .light_line_style(WHITE)
        .draw()
        .map_err(|error| failed(&error))?;
    let lines: [(&str, RGBColor, Memory); 2] = [
        ("the stack", BLUE, |measurement| measurement.stack_bytes as f64),
        ("all functions", RED, |measurement| measurement.function_bytes() as f64),
    ];
    for (name, color, of) in lines {
        let points = measurements.iter().map(|measurement| (minutes(measurement), megabytes(of(measurement) as u64)));
        chart
            .draw_series(LineSeries::new(points, &color))
            .map_err(|error| failed(&error))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE)
        .border_style(BLACK)
        .position(SeriesLabelPosition::LowerRight)
        .draw()
        .map_err(|error| failed(&error))?;
    root.present().map_err(|error| failed(&error).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(seconds: u32, stack_bytes: u64, function_bytes: u64) -> Measurement {
        let functions = [("worker".to_owned(), (function_bytes, 3))].into();
        Measurement { seconds: seconds.into(), answered: 0, stack_bytes, functions }
    }

    #[test]
    fn growth_compares_the_beginning_after_the_warm_up_with_the_end() {
        // The memory of the warm-up (the first eleven minutes) does not count.
        let flat: Vec<_> = (0..=22).map(|at| measurement(at * 60, if at < 11 { 1 } else { 100 }, 50)).collect();
        assert_eq!(growth(&flat), Some((1.0, 1.0)));
        // Nor that of the first half of a short soak.
        let flat: Vec<_> = (0..=10).map(|at| measurement(at * 5, if at < 5 { 1 } else { 100 }, 50)).collect();
        assert_eq!(growth(&flat), Some((1.0, 1.0)));
        let growing: Vec<_> = (0..10).map(|at| measurement(at * 5, 100, u64::from(at) * u64::from(at))).collect();
        let (stack, functions) = growth(&growing).expect("there are enough");
        assert!(stack == 1.0 && functions > 2.0, "{functions}");
        assert_eq!(growth(&flat[..2]), None);
    }

    #[test]
    fn the_own_memory_is_known_and_that_of_nobody_is_none() {
        assert!(own_bytes(u64::from(std::process::id())) > 64 * 1024);
        assert_eq!(own_bytes(u64::from(u32::MAX)), 0);
    }

    #[test]
    fn measurements_become_a_table_and_a_picture() {
        let directory = tempfile::tempdir().expect("a directory");
        let measurements: Vec<_> = (0..20).map(|at| measurement(at * 5, 40 << 20, 90 << 20)).collect();
        let (csv, svg) = (directory.path().join("soak.csv"), directory.path().join("soak.svg"));
        table(&csv, &measurements).expect("a table");
        picture(&svg, &measurements).expect("a picture");
        let text = std::fs::read_to_string(csv).expect("a table");
        assert_eq!(text.lines().nth(1), Some("0,0,41943040,94371840,3"));
        let text = std::fs::read_to_string(svg).expect("a picture");
        assert!(text.contains("<polyline") && text.contains("all functions"), "{text}");
    }
}
