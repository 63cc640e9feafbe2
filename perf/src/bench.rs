//! The rounds of a comparison: each row on each broker in turn, told, written down and summed up.

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::time::{Duration, Instant};

use loadtest::host::{self, Machine};
use loadtest::{Timing, cpu};
use serde::Serialize;

use crate::broker::{Cores, Durability, Kind};
use crate::load::Extent;
use crate::options::Bench;
use crate::reserve::{self, Reserve};
use crate::rows::{ROWS, Row};
use crate::sample::{Results, Sample};
use crate::storage::Disk;
use crate::variants::{self, Variant};
use crate::{measure, table};

/// Files that a process needs open in the row with most connections.
const FILES_MIN: u64 = 16 * 1024;

/// The first line of a run in a result file.
#[derive(Serialize)]
struct Header<'a> {
    started_at: String,
    machine: &'a Machine,
    brokers: Vec<(Kind, String)>,
    cores: Cores,
    rounds: usize,
    seconds: f64,
    warmup: f64,
    warm_memory_mib: u64,
    shoal_args: Vec<String>,
    /// What Shoal was told to promise; nothing: its default.
    durabilities: Vec<Durability>,
    messages: u64,
    /// Of the brokers' data.
    file_system: String,
}

/// All rounds; false when a measurement failed or was wrong.
pub fn run(options: &Bench) -> Result<bool, Box<dyn Error>> {
    let rows = chosen_rows(&options.rows)?;
    if options.list {
        rows.iter().for_each(|row| println!("{:16} {}", row.name, row.title));
        return Ok(true);
    }
    let variants = variants::chosen(options)?;
    let machine = Machine::here();
    let header = header(options, &variants, &machine)?;
    println!("{}\n", serde_json::to_string(&header)?);
    let results = match options.no_results {
        true => None,
        false => Some(Results::in_folder(&options.results, &machine.host)?),
    };
    if let Some(results) = &results {
        results.append(&header)?;
    }
    cpu::pin_to_cores(&[options.driver_core])?;
    // For the driver, and for the brokers, which inherit it.
    cpu::raise_file_limit(FILES_MIN)?;
    let mut reserve = warm_up(header.warm_memory_mib, options.broker_core)?;
    let mut samples = Vec::new();
    let mut failures = 0;
    for round in 0..options.rounds {
        for row in &rows {
            for variant in variants::in_turn(&variants, row, round) {
                match measure_one(options, row, variant, round, &mut reserve) {
                    Ok(sample) => {
                        tell(&sample);
                        if let Some(results) = &results {
                            results.append(&sample)?;
                        }
                        samples.push(sample);
                    }
                    Err(error) => {
                        failures += 1;
                        eprintln!("{round} {:16} {:?}: {error}", row.name, variant.kind());
                    }
                }
            }
        }
    }
    println!("\n{}", table::render(&rows, &samples));
    if let Some(results) = &results {
        println!("written to {}", results.path().display());
    }
    Ok(failures == 0 && samples.iter().all(|sample| sample.problem.is_none()))
}

fn measure_one(
    options: &Bench,
    row: &Row,
    variant: &Variant,
    round: usize,
    reserve: &mut Reserve,
) -> Result<Sample, Box<dyn Error>> {
    // All of it, also after a measurement that failed.
    reserve.take()?;
    let timing = Timing {
        warmup: Duration::try_from_secs_f64(options.warmup)?,
        window: Duration::try_from_secs_f64(options.seconds)?,
    };
    let extent = Extent { timing, messages: options.messages };
    let recipe = variant.recipe(row);
    let check = recipe.kind != Kind::Floor;
    reserve.make_way(0)?;
    let broker = recipe.start(options.cores(), &options.data_root(), round as u64)?;
    let durability = if check { broker.durability() } else { None };
    let run = || measure::run(row, &broker.target, extent, check);
    let mut measured = reserve.beside(broker.pid(), run)??;
    let warm_memory = reserve.given();
    let disk = Disk::of(&broker.data_path())?;
    // At once, while the memory that the broker leaves is still warm.
    drop(broker);
    reserve.take()?;
    if recipe.kind == Kind::Original && measured.on_disk > 0 && !row.setup.on_disk {
        let text =
            format!("{} messages went to disk: raise --peer-mem-queue-size", measured.on_disk);
        measured.problem.get_or_insert(text);
    }
    Ok(Sample {
        row: row.name.to_owned(),
        broker: recipe.kind,
        durability,
        arguments: texts(&recipe.arguments),
        round,
        problem: measured.problem,
        on_disk: measured.on_disk,
        disk,
        rest: measured.rest,
        warm_memory,
        report: measured.report,
    })
}

/// Touches the reserve for the first time and says how long that took: it is what a broker would
/// have paid.
fn warm_up(mib: u64, core: usize) -> io::Result<Reserve> {
    let begun = Instant::now();
    let reserve = Reserve::new(mib, core)?;
    if mib > 0 {
        println!("touched {mib} MiB for the first time in {:.1} s", begun.elapsed().as_secs_f64());
    }
    Ok(reserve)
}

fn chosen_rows(names: &[String]) -> Result<Vec<Row>, Box<dyn Error>> {
    if names.is_empty() {
        return Ok(ROWS.to_vec());
    }
    let find = |name: &String| {
        let found = ROWS.iter().find(|row| row.name == name).copied();
        found.ok_or_else(|| format!("no row {name:?}; --list shows them").into())
    };
    names.iter().map(find).collect()
}

fn header<'a>(
    options: &Bench,
    variants: &[Variant],
    machine: &'a Machine,
) -> Result<Header<'a>, Box<dyn Error>> {
    let mut brokers = Vec::new();
    for variant in variants {
        brokers.push((variant.kind(), variant.version()?));
    }
    brokers.dedup();
    let default = || reserve::default_mib(host::available_mib());
    let warm_memory = options.warm_memory;
    Ok(Header {
        started_at: jiff::Timestamp::now().to_string(),
        machine,
        brokers,
        cores: options.cores(),
        rounds: options.rounds,
        seconds: options.seconds,
        warmup: options.warmup,
        warm_memory_mib: warm_memory.unwrap_or_else(default),
        shoal_args: texts(&options.shoal_arg),
        durabilities: options.durability.clone(),
        messages: options.messages,
        file_system: host::file_system(&options.data_root()),
    })
}

fn texts(arguments: &[OsString]) -> Vec<String> {
    arguments.iter().map(|text| text.to_string_lossy().into_owned()).collect()
}

/// One line while the run goes on.
fn tell(sample: &Sample) {
    let report = &sample.report;
    let figures = match report.idle {
        Some(idle) => {
            let kib = idle.rss_bytes_per_connection.unwrap_or(f64::NAN) / 1024.0;
            let percent = idle.cpu_share.unwrap_or(f64::NAN) * 100.0;
            format!("{kib:8.3} KiB/connection, {percent:.1} % of a core")
        }
        None => {
            let us = report.broker_us_per_message.unwrap_or(f64::NAN);
            let (rate, limit) = (report.rate, report.limited_by);
            format!("{us:8.3} us/msg {rate:9.0} msg/s, limited by {limit:?}")
        }
    };
    let latency = report.latency.filter(|_| report.open_loop).map_or(String::new(), |latency| {
        format!(", p50 {:.3} ms, p99 {:.3} ms", latency.p50_us / 1e3, latency.p99_us / 1e3)
    });
    let problem = sample.problem.as_ref().map_or(String::new(), |text| format!("  WRONG: {text}"));
    let (who, noise) = (sample.who(), sample.noise() * 100.0);
    println!(
        "{} {:16} {who:15} {figures}, others {noise:.0} %{latency}{problem}",
        sample.round, sample.row
    );
}
