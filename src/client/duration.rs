//! Durations as NSQ's users write and read them: `1m30s`, `250ms`, `1.5h`.

use std::fmt;
use std::time::Duration;

const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// The largest duration of NSQ's own tools, whose nanoseconds are an `i64`.
const NANOS_MAX: f64 = 9.2e18;

/// Reads a duration; the error says what is wrong with it. A negative one is refused by the ranges
/// of all options, so here already.
pub fn parse(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.starts_with('-') {
        return Err(format!("negative duration {text:?}"));
    }
    let mut nanos = 0.0;
    if rest.is_empty() {
        return Err(format!("invalid duration {text:?}"));
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| format!("invalid duration {text:?}"))?;
        let letters = tail.bytes().take_while(|b| !b.is_ascii_digit() && *b != b'.').count();
        let (unit, tail) = tail.split_at(letters);
        if unit.is_empty() {
            return Err(format!("missing unit in duration {text:?}"));
        }
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("unknown unit {unit:?} in duration {text:?}"));
        };
        nanos += number * factor;
        rest = tail;
    }
    if nanos > NANOS_MAX {
        return Err(format!("invalid duration {text:?}"));
    }
    Ok(Duration::from_nanos(nanos.round() as u64))
}

/// Writes a duration the way NSQ's tools do.
#[derive(Clone, Copy)]
pub struct Written(pub Duration);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        match nanos {
            0 => return f.write_str("0s"),
            1..1_000 => return write!(f, "{nanos}ns"),
            1_000..1_000_000 => return write!(f, "{}µs", nanos as f64 / 1e3),
            1_000_000..1_000_000_000 => return write!(f, "{}ms", nanos as f64 / 1e6),
            _ => {}
        }
        let (hours, minutes) = (self.0.as_secs() / 3600, self.0.as_secs() / 60 % 60);
        let seconds = (nanos % 60_000_000_000) as f64 / 1e9;
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::{Written, parse};

    fn check(text: &str, written: &str) {
        let duration = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(Written(duration).to_string(), written, "{text}");
    }

    #[test]
    fn reads_and_writes_as_the_original_does() {
        check("0", "0s");
        check("250ms", "250ms");
        check("1.5s", "1.5s");
        check("90s", "1m30s");
        check("1h0.5m", "1h0m30s");
        check("+5m", "5m0s");
        check("1500us", "1.5ms");
        check("1500ns", "1.5µs");
        check("7ns", "7ns");
        check(".5s", "500ms");
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(parse("5").unwrap_err(), "missing unit in duration \"5\"");
        assert_eq!(parse("5x").unwrap_err(), "unknown unit \"x\" in duration \"5x\"");
        for bad in ["", "s", "-1s", "1..5s", "+", "999999999999h"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
