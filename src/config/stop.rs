//! Why a program ends before it has begun: with which words, on which stream, with which exit code.

use std::io::Write;
use std::process::ExitCode;

use crate::log;

/// The end of a program that never started.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// The version was asked for: standard output, 0.
    Version(String),
    /// Something else was asked for that is printed: standard output, 0.
    Printed(String),
    /// Help was asked for: standard error as the original does, 0.
    Help(String),
    /// A flag that does not exist or cannot be read: standard error, 2.
    Usage(String),
    /// A wrong value that the original reports in a line with nothing but the time before it: 1.
    Plain(String),
    /// Anything else: a `FATAL` line of the log, 1.
    Fatal(String),
}

impl Stop {
    /// Says it and gives the exit code. `program` stands in front of a fatal line.
    pub fn report(self, program: &str) -> ExitCode {
        match self {
            Stop::Version(text) | Stop::Printed(text) => {
                // Nobody is left to be told that standard output is closed.
                let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
                ExitCode::SUCCESS
            }
            Stop::Help(text) => {
                to_stderr(&text);
                ExitCode::SUCCESS
            }
            Stop::Usage(text) => {
                to_stderr(&text);
                ExitCode::from(2)
            }
            Stop::Plain(text) => {
                to_stderr(&format!("{} {text}", log::now_text(log::Precision::Seconds)));
                ExitCode::FAILURE
            }
            Stop::Fatal(text) => log::fatal(program, &text),
        }
    }
}

fn to_stderr(text: &str) {
    // Nobody is left to be told that standard error is closed.
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}
