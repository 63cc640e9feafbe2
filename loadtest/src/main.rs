//! `loadtest [mode]`: one run against a running broker, as a table or as JSON.
//!
//! Without a mode it is the canonical load, and its answer two numbers. It ends with 0 when all
//! went well, 1 when the load could not be run or messages were lost, repeated or damaged, 2 when
//! it was called wrongly, 99 when a threshold was crossed, and 130 when it was ended early.

use std::process::ExitCode;

use clap::Parser;

mod canonical;
mod modes;
mod options;
mod output;
mod progress;
mod threshold;

use options::Options;
use output::Outcome;
use progress::Progress;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(error) => {
            eprintln!("loadtest: {error}");
            match error.downcast_ref() {
                Some(loadtest::Error::Interrupted) => ExitCode::from(output::INTERRUPTED),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(options: &Options) -> Result<Outcome, Box<dyn std::error::Error>> {
    let begun = jiff::Timestamp::now();
    let common = &options.common;
    common.pin()?;
    let target = common.target()?;
    let mut progress = Progress::new(common.quiet || common.json)?;
    let reports = match &options.mode {
        Some(mode) => vec![mode.run(common, &target, &mut progress)?],
        None => canonical::run(common, &target, &mut progress)?,
    };
    progress.finish();
    let outcome = Outcome::new(reports, &common.fail_if);
    if let Some(path) = &common.hdr {
        outcome.write_hdr(path)?;
    }
    if common.json {
        println!("{}", output::json(&outcome, &target, begun)?);
    } else {
        print!("{}", output::text(&outcome, options.mode.is_none()));
    }
    Ok(outcome)
}
