//! Numbers, truth values and sizes, read as the original reads them.

/// Reads an integer as Go's flags do: `10`, `-3`, `0x1f`, `0b101`, `0o17`, `017`, `1_000`.
pub fn parse_go_int(text: &str) -> Option<i64> {
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = split_radix(unsigned);
    // An underscore stands between two digits, or between the prefix and the first digit.
    if digits.ends_with('_') || digits.contains("__") || (radix == 10 && digits.starts_with('_')) {
        return None;
    }
    let digits = digits.replace('_', "");
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(&digits, radix).ok()?);
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

fn split_radix(unsigned: &str) -> (u32, &str) {
    let Some(after_zero) = unsigned.strip_prefix('0').filter(|rest| !rest.is_empty()) else {
        return (10, unsigned);
    };
    match after_zero.as_bytes()[0] {
        b'x' | b'X' => (16, &after_zero[1..]),
        b'b' | b'B' => (2, &after_zero[1..]),
        b'o' | b'O' => (8, &after_zero[1..]),
        _ => (8, after_zero),
    }
}

/// Reads a truth value as Go does.
pub fn parse_go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Reads a size in bytes: a number and perhaps `KB`, `MB`, `GB` or `TB`, which are powers of 1024.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let upper = text.trim().to_ascii_uppercase();
    let split = upper.find(|c: char| !c.is_ascii_digit()).unwrap_or(upper.len());
    let (digits, suffix) = upper.split_at(split);
    let shift = match suffix.trim_start() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::{parse_bytes, parse_go_bool, parse_go_int};

    #[test]
    fn integers_in_all_of_gos_notations() {
        for (text, number) in [
            ("0", 0),
            ("10", 10),
            ("-3", -3),
            ("+3", 3),
            ("0x1F", 31),
            ("0b101", 5),
            ("0o17", 15),
            ("017", 15),
            ("1_000", 1000),
            ("0x_1f", 31),
            ("0_7", 7),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_go_int(text), Some(number), "{text}");
        }
        for text in [
            "",
            "-",
            "x",
            "1x",
            "1.0",
            "--1",
            "+-1",
            "0x",
            "1__0",
            "_1",
            "1_",
            "08",
            "0x+1",
            "9223372036854775808",
        ] {
            assert_eq!(parse_go_int(text), None, "{text}");
        }
    }

    #[test]
    fn truth_values() {
        assert_eq!(parse_go_bool("T"), Some(true));
        assert_eq!(parse_go_bool("0"), Some(false));
        assert_eq!(parse_go_bool("yes"), None);
        assert_eq!(parse_go_bool("tRUE"), None);
    }

    #[test]
    fn sizes_with_suffixes() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("1KB", 1024),
            ("1k", 1024),
            ("3 MiB", 3 << 20),
            ("2GB", 2 << 30),
            ("1tb", 1 << 40),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "GB", "-1", "1.5GB", "1XB", "99999999999TB"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
