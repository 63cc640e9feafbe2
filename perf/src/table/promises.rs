//! What one promise costs against another, round by round, so that a machine that is slower in
//! one round than in the next does not show.

use super::cells::missing;
use super::{promised, ratio_line, ratios};
use crate::broker::{Durability, Kind};
use crate::rows::Row;
use crate::sample::Sample;

/// So much may `written` cost against `memory`, where messages come and go.
const STEADY_MAX: f64 = 1.25;

/// The same while a backlog grows.
const GROWING_MAX: f64 = 2.0;

/// The table, if Shoal was measured with several promises.
pub fn render(text: &mut String, rows: &[Row], samples: &[Sample]) {
    let comparable = |row: &&Row| promised(row, samples).len() > 1;
    let rows: Vec<&Row> = rows.iter().filter(comparable).collect();
    if rows.is_empty() {
        return;
    }
    text.push_str(
        "\nShoal's CPU time with one promise ÷ that with another, in the same round: \
         median (lowest to highest).\n\n",
    );
    text.push_str("| work | base | durability | durability ÷ base | rounds | goal |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    for row in rows {
        let mut promises = promised(row, samples).into_iter().flatten();
        let Some(base) = promises.next() else { continue };
        for durability in promises {
            let promise = |durability| (Kind::Shoal, Some(durability));
            let found = ratios(row, samples, promise(durability), promise(base));
            let goal = match (base, durability) {
                (Durability::Memory, Durability::Written) => format!("≤ {}", ratio_max(row)),
                _ => missing(),
            };
            ratio_line(text, row, (base.name(), Some(durability)), &found, goal);
        }
    }
}

fn ratio_max(row: &Row) -> f64 {
    if row.load.is_growing() { GROWING_MAX } else { STEADY_MAX }
}
