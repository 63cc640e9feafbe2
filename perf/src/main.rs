//! `perf`: what a message costs, row by row: Shoal, any original nsqd and the floor in turn.

mod bench;
mod broker;
mod floor;
mod load;
mod machine;
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
use options::{FloorArgs, Options, Other};

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match options.other {
        Some(Other::Floor(args)) => serve_floor(&args).map(|()| true),
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

fn serve_floor(args: &FloorArgs) -> Result<(), Box<dyn Error>> {
    Ok(floor::serve(Floor {
        tcp: args.tcp_address,
        http: args.http_address,
        lose_every: args.lose_every,
        repeat_every: args.repeat_every,
    })?)
}
