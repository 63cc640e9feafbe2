//! Durations as the original prints them: `613.573µs`, `2.5ms`, `11m37.3s`, `1h0m0s`.

use std::fmt;
use std::time::Duration;

/// Shows a duration in the original's notation.
#[derive(Clone, Copy, Debug)]
pub struct GoDuration(pub Duration);

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => decimal(f, nanos, 1_000, "µs"),
            1_000_000..1_000_000_000 => decimal(f, nanos, 1_000_000, "ms"),
            _ => clock(f, self.0),
        }
    }
}

/// Hours and minutes are left out until they are needed; seconds are always there.
fn clock(f: &mut fmt::Formatter<'_>, duration: Duration) -> fmt::Result {
    let minutes = duration.as_secs() / 60;
    if minutes >= 60 {
        write!(f, "{}h", minutes / 60)?;
    }
    if minutes > 0 {
        write!(f, "{}m", minutes % 60)?;
    }
    let rest = u128::from(duration.as_secs() % 60) * 1_000_000_000;
    decimal(f, rest + u128::from(duration.subsec_nanos()), 1_000_000_000, "s")
}

/// `value / unit` with as many decimals as it has, none when it is whole.
fn decimal(f: &mut fmt::Formatter<'_>, value: u128, unit: u128, suffix: &str) -> fmt::Result {
    let (whole, fraction) = (value / unit, value % unit);
    if fraction == 0 {
        return write!(f, "{whole}{suffix}");
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{fraction:0width$}");
    write!(f, "{whole}.{}{suffix}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::GoDuration;
    use std::time::Duration;

    #[test]
    fn reads_like_the_original() {
        for (nanos, text) in [
            (0, "0s"),
            (999, "999ns"),
            (1_000, "1µs"),
            (613_573, "613.573µs"),
            (2_500_000, "2.5ms"),
            (2_000_001, "2.000001ms"),
            (1_000_000_000, "1s"),
            (59_000_000_001, "59.000000001s"),
            (60_000_000_000, "1m0s"),
            (697_305_573_355, "11m37.305573355s"),
            (3_600_000_000_000, "1h0m0s"),
            (90_061_500_000_000, "25h1m1.5s"),
        ] {
            assert_eq!(GoDuration(Duration::from_nanos(nanos)).to_string(), text);
        }
    }
}
