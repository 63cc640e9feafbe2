//! The log: lines on standard error in NSQ's format or as JSON, written by a thread of its own.
//!
//! Code says `tracing::info!` and its like, from any thread. A line goes into a bounded queue
//! without waiting; when standard error is blocked and the queue is full, lines are dropped and
//! counted, and the count is logged once there is room again. So no shard ever waits for a
//! terminal. The level can be changed while running.

mod format;
mod queue;
mod remedy;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use jiff::Zoned;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

pub use format::LogFormat;
use format::{Said, Style};
use queue::Queue;
pub use queue::dropped_lines;
use serde_json::Value;

/// Lines that wait for the writer; what comes on top is dropped.
const QUEUED_LINES_MAX: usize = 8192;
/// How long the end of a program waits for a blocked standard error.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How much a line matters. The numbers are those of `/config/log_level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LogLevel {
    /// For those who look for a fault.
    Debug = 1,
    /// What happens.
    Info = 2,
    /// What should not happen and was dealt with.
    Warn = 3,
    /// What went wrong.
    Error = 4,
    /// What ended the program.
    Fatal = 5,
}

impl LogLevel {
    /// Reads the name of a level, in any case. The error is the original's.
    pub fn parse(text: &str) -> Result<LogLevel, String> {
        match text.to_lowercase().as_str() {
            "debug" => Ok(LogLevel::Debug),
            "info" => Ok(LogLevel::Info),
            "warn" => Ok(LogLevel::Warn),
            "error" => Ok(LogLevel::Error),
            "fatal" => Ok(LogLevel::Fatal),
            _ => Err(format!("invalid log level '{text}' (debug, info, warn, error, fatal)")),
        }
    }

    /// Its name as an option and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
            LogLevel::Fatal => "fatal",
        }
    }

    fn of(level: Level) -> LogLevel {
        match level {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warn,
            Level::INFO => LogLevel::Info,
            Level::DEBUG | Level::TRACE => LogLevel::Debug,
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogLevel::Debug => "DEBUG",
            LogLevel::Info => "INFO",
            LogLevel::Warn => "WARNING",
            LogLevel::Error => "ERROR",
            LogLevel::Fatal => "FATAL",
        })
    }
}

/// The least level that is logged; written by [`set_level`], read by every thread.
static LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Info as u8);
/// The queue of the running log, for [`fatal`].
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Flushes the log when it is dropped; the program's last statement should drop it.
#[derive(Debug)]
pub struct LogGuard(());

impl Drop for LogGuard {
    fn drop(&mut self) {
        if let Some(queue) = QUEUE.get() {
            queue.flush(FLUSH_TIMEOUT);
        }
    }
}

/// Starts the log. Only the first call of a process has an effect.
pub fn start(prefix: &str, level: LogLevel, format: LogFormat) -> io::Result<LogGuard> {
    set_level(level);
    if QUEUE.get().is_none() {
        let style = Style { prefix: prefix.into(), format };
        let queue = Queue::start(io::stderr(), style, QUEUED_LINES_MAX)?;
        let subscriber = NsqSubscriber { queue: queue.clone(), level: &LEVEL };
        if QUEUE.set(queue).is_ok() {
            // Only a test could have installed another one before.
            let _ = tracing::subscriber::set_global_default(subscriber);
        }
    }
    Ok(LogGuard(()))
}

/// Changes the least level that is logged, from now on and in all threads.
pub fn set_level(level: LogLevel) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Logs why the program ends, waits until that is written, and gives the exit code.
///
/// The line begins with the program's name whatever `--log-prefix` says, as in the original. What
/// helps is said as well.
pub fn fatal(program: &str, text: &str) -> ExitCode {
    let format = QUEUE.get().map_or(LogFormat::Text, |queue| queue.style.format);
    let style = Style { prefix: format!("[{program}] ").into(), format };
    let mut said = Said::from(text);
    if let Some(remedy) = remedy::remedy(text) {
        said.message.push_str(&format!(" - {remedy}"));
    }
    let line = style.line(LogLevel::Fatal, &said);
    match QUEUE.get() {
        Some(queue) => {
            queue.push(line);
            queue.flush(FLUSH_TIMEOUT);
        }
        None => {
            // Nobody is left to be told that standard error is closed.
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
    ExitCode::FAILURE
}

/// How exactly a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As tools do before their log exists.
    Seconds,
    /// As in the log.
    Microseconds,
}

/// The local time as it stands in a line.
pub fn now_text(precision: Precision) -> String {
    time_text(&Zoned::now(), precision)
}

fn time_text(time: &Zoned, precision: Precision) -> String {
    match precision {
        Precision::Seconds => time.strftime("%Y/%m/%d %H:%M:%S").to_string(),
        Precision::Microseconds => time.strftime("%Y/%m/%d %H:%M:%S.%6f").to_string(),
    }
}

/// What stands behind `tracing`'s macros.
struct NsqSubscriber {
    queue: Queue,
    level: &'static AtomicU8,
}

impl Subscriber for NsqSubscriber {
    // The level may change, so no call site is switched on or off for good.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = LogLevel::of(*metadata.level());
        // What libraries say below a warning is not about this broker.
        let matters = is_ours(metadata.target()) || level >= LogLevel::Warn;
        metadata.is_event() && matters && level as u8 >= self.level.load(Ordering::Relaxed)
    }

    fn event(&self, event: &Event<'_>) {
        let mut said = Said::default();
        if !is_ours(event.metadata().target()) {
            said.message = format!("{}: ", event.metadata().target());
        }
        event.record(&mut said);
        let level = LogLevel::of(*event.metadata().level());
        self.queue.push(self.queue.style.line(level, &said));
    }

    // Spans are not used: they would cost on every message and NSQ's format has no place for them.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn is_ours(target: &str) -> bool {
    let krate = target.split("::").next().unwrap_or(target);
    krate == "shoal" || krate == "shards"
}

/// An event's message and its other fields.
impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

impl Said {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message.push_str(&text),
            (name, value) => self.fields.push((name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};
    use std::time::Duration;

    use jiff::civil::date;
    use jiff::tz::TimeZone;

    use super::format::Style;
    use super::queue::tests::Gate;
    use super::{LogFormat, LogLevel, NsqSubscriber, Precision, Queue, time_text};

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn times_are_written_as_in_go() {
        let time = date(2026, 11, 3).at(7, 11, 41, 407_101_999).to_zoned(TimeZone::UTC).unwrap();
        assert_eq!(time_text(&time, Precision::Microseconds), "2026/11/03 07:11:41.407101");
        assert_eq!(time_text(&time, Precision::Seconds), "2026/11/03 07:11:41");
    }

    #[test]
    fn events_are_written_in_nsqs_format_and_the_level_changes_while_running() {
        static LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Info as u8);
        let gate = Gate::new();
        let style = Style { prefix: "[nsqd] ".into(), format: LogFormat::Text };
        let queue = Queue::start(gate.clone(), style, 100).unwrap();
        let subscriber = NsqSubscriber { queue: queue.clone(), level: &LEVEL };
        tracing::subscriber::with_default(subscriber, || {
            for round in 0..2 {
                tracing::debug!("debug {round}");
                tracing::info!(client = "a b", "info {round}");
                tracing::warn!(target: "glommio::sys", "warn {round}");
                tracing::info!(target: "hyper", "never");
                LEVEL.store(LogLevel::Debug as u8, Ordering::Relaxed);
            }
            LEVEL.store(LogLevel::Fatal as u8, Ordering::Relaxed);
            tracing::error!("never");
        });
        assert!(queue.flush(LONG));
        let text = gate.text();
        let lines: Vec<&str> = text.lines().map(|line| &line["[nsqd] ".len() + 27..]).collect();
        assert_eq!(
            lines,
            [
                "INFO: info 0 client=a b",
                "WARNING: glommio::sys: warn 0",
                "DEBUG: debug 1",
                "INFO: info 1 client=a b",
                "WARNING: glommio::sys: warn 1",
            ]
        );
        assert!(text.lines().all(|line| line.starts_with("[nsqd] 20")), "{text}");
    }

    #[test]
    fn levels_have_the_originals_names() {
        for (name, level, shown) in [
            ("DEBUG", LogLevel::Debug, "DEBUG"),
            ("warn", LogLevel::Warn, "WARNING"),
            ("Fatal", LogLevel::Fatal, "FATAL"),
        ] {
            assert_eq!(LogLevel::parse(name), Ok(level));
            assert_eq!(level.to_string(), shown);
        }
        let error = LogLevel::parse("warning").unwrap_err();
        assert_eq!(error, "invalid log level 'warning' (debug, info, warn, error, fatal)");
    }
}
