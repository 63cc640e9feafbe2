//! `perf`: what a message costs, row by row: Shoal, any original nsqd and the floor in turn.

mod bench;
mod broker;
mod certificate;
mod compare;
mod floor;
mod history;
mod load;
mod measure;
mod options;
mod reserve;
mod rows;
mod sample;
mod storage;
mod table;
mod variants;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use floor::Floor;
use options::{CompareArgs, FloorArgs, Options, Other, ShowArgs};
use rows::{ROWS, Row};

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match options.other {
        Some(Other::Floor(args)) => serve_floor(&args).map(|()| true),
        Some(Other::Compare(args)) => compare(&args),
        Some(Other::Show(args)) => show(&args).map(|()| true),
        None => bench::run(&options.bench),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("perf: {error}");
            ExitCode::FAILURE
        }
    }
}

/// False when Shoal is slower anywhere.
fn compare(args: &CompareArgs) -> Result<bool, Box<dyn Error>> {
    let (before, after) = (history::read(&args.before)?, history::read(&args.after)?);
    let (text, is_slower) = compare::render(&before, &after, args.raw)
        .ok_or("nothing in common: no row was measured in both with the same broker and promise")?;
    print!("{text}");
    Ok(!is_slower)
}

fn show(args: &ShowArgs) -> Result<(), Box<dyn Error>> {
    let history = history::read(&args.result)?;
    history.headings.iter().for_each(|heading| println!("{heading}"));
    let is_there = |row: &&Row| history.samples.iter().any(|sample| sample.row == row.name);
    let rows: Vec<Row> = ROWS.iter().filter(is_there).copied().collect();
    println!("\n{}", table::render(&rows, &history.samples));
    Ok(())
}

fn serve_floor(args: &FloorArgs) -> Result<(), Box<dyn Error>> {
    Ok(floor::serve(Floor {
        tcp: args.tcp_address,
        http: args.http_address,
        lose_every: args.lose_every,
        repeat_every: args.repeat_every,
    })?)
}
