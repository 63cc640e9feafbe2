//! What the tools say on stderr, in the form that scripts around NSQ's tools know.

use std::fmt;
use std::io::Write;

use crate::config::go_text::errno_text;
use crate::log::{Precision, now_text};

/// Writes one line with the local time in front. A stderr that is gone is no reason to stop.
pub fn line(text: fmt::Arguments<'_>) {
    let now = now_text(Precision::Seconds);
    // One write per line, so that lines of several threads do not mix.
    let line = format!("{now} {text}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// How much a line matters.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// In the course of things.
    Info,
    /// Odd, and handled.
    Warning,
    /// Something failed.
    Error,
}

/// Puts the subscription that a line is about in front of it.
#[derive(Clone, Debug)]
pub struct Log {
    prefix: String,
}

impl Log {
    /// For the `number`th subscription of the program, counted from 1.
    #[must_use]
    pub fn new(number: usize, topic: &str, channel: &str) -> Log {
        Log { prefix: format!("{number:3} [{topic}/{channel}]") }
    }

    /// Writes a line about the subscription.
    pub fn say(&self, level: Level, text: fmt::Arguments<'_>) {
        let level = match level {
            Level::Info => "INF",
            Level::Warning => "WRN",
            Level::Error => "ERR",
        };
        line(format_args!("{level}  {} {text}", self.prefix));
    }
}

/// Says in the words of NSQ's tools what went wrong with a socket.
#[must_use]
pub fn io_text(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "i/o timeout".into(),
        ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        ErrorKind::UnexpectedEof => "EOF".into(),
        _ => errno_text(error),
    }
}
