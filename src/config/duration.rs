//! Durations as Go writes them: `300ms`, `1m30s`, `1.5h`, `0`.

/// Reads a duration in Go's notation; the result is in nanoseconds.
///
/// A number without a unit is an error, except `0`.
pub fn parse_go_duration(text: &str) -> Result<i64, String> {
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if unsigned == "0" {
        return Ok(0);
    }
    let invalid = || format!("time: invalid duration {text:?}");
    if unsigned.is_empty() {
        return Err(invalid());
    }
    let mut total_ns: u64 = 0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let (number, after) = split_at_first(rest, |c| c != '.' && !c.is_ascii_digit());
        let (unit, after) = split_at_first(after, |c| c == '.' || c.is_ascii_digit());
        if !number.bytes().any(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let scale = unit_ns(unit)
            .ok_or_else(|| format!("time: unknown unit {unit:?} in duration {text:?}"))?;
        let part_ns = scaled(number, scale).ok_or_else(invalid)?;
        total_ns = total_ns.checked_add(part_ns).ok_or_else(invalid)?;
        rest = after;
    }
    let magnitude_ns = i64::try_from(total_ns).map_err(|_| invalid())?;
    Ok(if negative { -magnitude_ns } else { magnitude_ns })
}

/// Nanoseconds in a millisecond.
pub const NS_PER_MS: u64 = 1_000_000;
/// Digits after the point that are looked at.
const FRACTION_DIGITS_MAX: usize = 18;
const NS_PER_S: u64 = 1_000 * NS_PER_MS;
const NS_PER_MINUTE: u64 = 60 * NS_PER_S;
const NS_PER_HOUR: u64 = 60 * NS_PER_MINUTE;

fn unit_ns(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // The micro sign and the Greek letter; both are in use.
        "us" | "µs" | "μs" => 1_000,
        "ms" => NS_PER_MS,
        "s" => NS_PER_S,
        "m" => NS_PER_MINUTE,
        "h" => NS_PER_HOUR,
        _ => return None,
    })
}

/// `number`, which may have one decimal point, times `scale_ns`; `None` when it does not fit.
fn scaled(number: &str, scale_ns: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // More digits than this are below a nanosecond in any unit.
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS_MAX)];
    let mut fraction_ns: u128 = 0;
    if !fraction.is_empty() {
        let digits = u32::try_from(fraction.len()).ok()?;
        fraction_ns = fraction.parse::<u128>().ok()? * u128::from(scale_ns) / 10_u128.pow(digits);
    }
    whole.checked_mul(scale_ns)?.checked_add(u64::try_from(fraction_ns).ok()?)
}

fn split_at_first(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::parse_go_duration;

    #[test]
    fn reads_what_go_reads() {
        for (text, ns) in [
            ("0", 0),
            ("+0", 0),
            ("300ms", 300_000_000),
            ("1m30s", 90_000_000_000),
            ("1m0.5s", 60_500_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("-2s", -2_000_000_000),
            ("1us", 1_000),
            ("1µs", 1_000),
            ("1μs", 1_000),
            ("7ns", 7),
            ("0.3333333333333333333h", 1_200_000_000_000 - 1),
            ("9223372036854775807ns", i64::MAX),
        ] {
            assert_eq!(parse_go_duration(text), Ok(ns), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for (text, message) in [
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            ("abc", "time: invalid duration \"abc\""),
            (".s", "time: invalid duration \".s\""),
            ("1..5s", "time: invalid duration \"1..5s\""),
            ("1 s", "time: unknown unit \" s\" in duration \"1 s\""),
            ("10", "time: missing unit in duration \"10\""),
            ("1m30", "time: missing unit in duration \"1m30\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""),
            ("3000000h", "time: invalid duration \"3000000h\""),
        ] {
            assert_eq!(parse_go_duration(text), Err(message.to_owned()), "{text}");
        }
    }
}
