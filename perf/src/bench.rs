//! The rounds of a comparison: each row on each broker in turn, told, written down and summed up.

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::time::{Duration, Instant};

use loadtest::{Timing, cpu};
use serde::Serialize;

use crate::broker::{Cores, Kind, Recipe};
use crate::machine::{self, Machine};
use crate::options::Bench;
use crate::reserve::{self, Reserve};
use crate::rows::{ROWS, Row};
use crate::sample::{Results, Sample};
use crate::{measure, table};

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
}

/// All rounds; false when a measurement failed or was wrong.
pub fn run(options: &Bench) -> Result<bool, Box<dyn Error>> {
    let rows = chosen_rows(&options.rows)?;
    if options.list {
        rows.iter().for_each(|row| println!("{:10} {}", row.name, row.title));
        return Ok(true);
    }
    let recipes = recipes(options)?;
    let machine = Machine::here();
    let header = header(options, &recipes, &machine)?;
    println!("{}\n", serde_json::to_string(&header)?);
    let results = match options.no_results {
        true => None,
        false => Some(Results::in_folder(&options.results, &machine.host)?),
    };
    if let Some(results) = &results {
        results.append(&header)?;
    }
    cpu::pin_to_core(options.driver_core)?;
    let mut reserve = warm_up(header.warm_memory_mib, options.broker_core)?;
    let mut samples = Vec::new();
    let mut failures = 0;
    for round in 0..options.rounds {
        for row in &rows {
            for recipe in in_turn(&recipes, round).filter(|recipe| applies(row, recipe)) {
                match measure_one(options, row, recipe, round, &mut reserve) {
                    Ok(sample) => {
                        tell(&sample);
                        if let Some(results) = &results {
                            results.append(&sample)?;
                        }
                        samples.push(sample);
                    }
                    Err(error) => {
                        failures += 1;
                        eprintln!("{round} {:10} {:?}: {error}", row.name, recipe.kind);
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
    recipe: &Recipe,
    round: usize,
    reserve: &mut Reserve,
) -> Result<Sample, Box<dyn Error>> {
    // All of it, also after a measurement that failed.
    reserve.take()?;
    let data_root = options.data_root.clone().unwrap_or_else(std::env::temp_dir);
    let timing = Timing {
        warmup: Duration::try_from_secs_f64(options.warmup)?,
        window: Duration::try_from_secs_f64(options.seconds)?,
    };
    let check = recipe.kind != Kind::Floor;
    reserve.make_way(0)?;
    let broker = recipe.start(options.cores(), &data_root, round as u64)?;
    let run = || measure::run(row, &broker.target, timing, check);
    let mut measured = reserve.beside(broker.pid(), run)??;
    let warm_memory = reserve.given();
    // At once, while the memory that the broker leaves is still warm.
    drop(broker);
    reserve.take()?;
    if recipe.kind == Kind::Original && measured.on_disk > 0 {
        let text =
            format!("{} messages went to disk: raise --peer-mem-queue-size", measured.on_disk);
        measured.problem.get_or_insert(text);
    }
    Ok(Sample {
        row: row.name,
        broker: recipe.kind,
        round,
        problem: measured.problem,
        on_disk: measured.on_disk,
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

/// The brokers to compare.
fn recipes(options: &Bench) -> Result<Vec<Recipe>, Box<dyn Error>> {
    let mut recipes = Vec::new();
    if !options.without_shoal {
        let mut arguments = vec![OsString::from("--memory-limit=8GB")];
        arguments.extend(options.shoal_arg.iter().cloned());
        recipes.push(Recipe { kind: Kind::Shoal, program: options.shoal.clone(), arguments });
    }
    if let Some(peer) = &options.peer {
        let arguments = vec![
            OsString::from(format!("--mem-queue-size={}", options.peer_mem_queue_size)),
            OsString::from("--log-level=warn"),
        ];
        recipes.push(Recipe { kind: Kind::Original, program: peer.clone(), arguments });
    }
    if options.floor {
        let program = std::env::current_exe()?;
        recipes.push(Recipe { kind: Kind::Floor, program, arguments: Vec::new() });
    }
    if recipes.is_empty() {
        return Err("nothing to measure: neither Shoal nor --peer nor --floor".into());
    }
    Ok(recipes)
}

fn applies(row: &Row, recipe: &Recipe) -> bool {
    recipe.kind != Kind::Floor || row.load.has_floor()
}

/// Who was first in one round is last in the next.
fn in_turn(recipes: &[Recipe], round: usize) -> impl Iterator<Item = &Recipe> {
    recipes.iter().cycle().skip(round % recipes.len()).take(recipes.len())
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
    recipes: &[Recipe],
    machine: &'a Machine,
) -> Result<Header<'a>, Box<dyn Error>> {
    let mut brokers = Vec::new();
    for recipe in recipes {
        let version = recipe.version();
        let version = version.map_err(|error| format!("{}: {error}", recipe.program.display()))?;
        brokers.push((recipe.kind, version));
    }
    let default = || reserve::default_mib(machine::available_mib());
    let warm_memory = options.warm_memory;
    let shoal_args = options.shoal_arg.iter().map(|arg| arg.to_string_lossy().into_owned());
    Ok(Header {
        started_at: jiff::Timestamp::now().to_string(),
        machine,
        brokers,
        cores: options.cores(),
        rounds: options.rounds,
        seconds: options.seconds,
        warmup: options.warmup,
        warm_memory_mib: warm_memory.unwrap_or_else(default),
        shoal_args: shoal_args.collect(),
    })
}

/// One line while the run goes on.
fn tell(sample: &Sample) {
    let report = &sample.report;
    let us = report.broker_us_per_message.unwrap_or(f64::NAN);
    let latency = report.latency.map_or(String::new(), |latency| {
        format!(", p50 {:.3} ms, p99 {:.3} ms", latency.p50_us / 1e3, latency.p99_us / 1e3)
    });
    let problem = sample.problem.as_ref().map_or(String::new(), |text| format!("  WRONG: {text}"));
    println!(
        "{} {:10} {:8} {us:8.3} us/msg {:9.0} msg/s, limited by {:?}, \
         others {:.0} %{latency}{problem}",
        sample.round,
        sample.row,
        format!("{:?}", sample.broker),
        report.rate,
        report.limited_by,
        sample.noise() * 100.0,
    );
}
