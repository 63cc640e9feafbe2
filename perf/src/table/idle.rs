//! What connections cost that do nothing.

use loadtest::connections::Idle;

use super::cells::{line, median, with_range};
use super::{measured, name, spread};
use crate::broker::Kind;
use crate::rows::{Goal, Row};
use crate::sample::Sample;

/// The table, if there are such rows.
pub fn render(text: &mut String, rows: &[Row], samples: &[Sample]) {
    let goal = |row: &Row| match row.goal {
        Goal::IdleKib(limit) => Some(limit),
        _ => None,
    };
    let rows: Vec<(&Row, f64)> = rows.iter().filter_map(|row| Some((row, goal(row)?))).collect();
    if rows.is_empty() {
        return;
    }
    text.push_str(
        "\nConnections that do nothing: resident memory for one (without the kernel's), and CPU \
         time of all while nothing happens.\n\n",
    );
    text.push_str(
        "| work | broker | KiB of one | goal | % of a core | ticks of 10 ms | s to open all |\n",
    );
    text.push_str("|---|---|---|---|---|---|---|\n");
    for (row, limit) in rows {
        for who in measured(row, samples) {
            let of = |value: fn(&Idle) -> Option<f64>| {
                spread(row, samples, who, |sample| {
                    sample.report.idle.as_ref().and_then(value).unwrap_or(f64::NAN)
                })
            };
            let kib = of(|idle| Some(idle.rss_bytes_per_connection? / 1024.0));
            let goal = if who.0 == Kind::Shoal { format!("≤ {limit}") } else { String::new() };
            let cells = [
                row.title.to_owned(),
                name(who),
                with_range(kib),
                goal,
                median(of(|idle| Some(idle.cpu_share? * 100.0))),
                median(of(|idle| idle.cpu_ticks)),
                median(of(|idle| Some(idle.open_seconds))),
            ];
            line(text, &cells);
        }
    }
}
