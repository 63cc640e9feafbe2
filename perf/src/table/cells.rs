//! What stands in a cell of a table.

use std::fmt::Write;

use crate::sample::Spread;

/// One line of a table.
pub fn line(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

/// The median, and what lies around it.
pub fn with_range(spread: Option<Spread>) -> String {
    spread.map_or_else(missing, |all| {
        format!("{} ({} to {})", figure(all.median), figure(all.min), figure(all.max))
    })
}

/// The median alone.
pub fn median(spread: Option<Spread>) -> String {
    spread.map_or_else(missing, |all| figure(all.median))
}

/// The median without a fraction.
pub fn whole(spread: Option<Spread>) -> String {
    spread.map_or_else(missing, |all| thousands(all.median as u64))
}

/// Where nothing was measured.
pub fn missing() -> String {
    "–".to_owned()
}

/// Three digits that count.
pub fn figure(value: f64) -> String {
    match value.abs() {
        below if below < 1.0 => format!("{value:.3}"),
        below if below < 10.0 => format!("{value:.2}"),
        below if below < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
