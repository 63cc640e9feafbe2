//! What one promise costs against another, round by round, so that a machine that is slower in
//! one round than in the next does not show.

use super::cells::{line, missing, with_range};
use super::promised;
use crate::broker::{Durability, Kind};
use crate::rows::Row;
use crate::sample::{Sample, Spread};

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
            let ratios = ratios(row, samples, base, durability);
            let goal = match (base, durability) {
                (Durability::Memory, Durability::Written) => format!("≤ {}", ratio_max(row)),
                _ => missing(),
            };
            let cells = [
                row.title.to_owned(),
                base.name().to_owned(),
                durability.name().to_owned(),
                with_range(Spread::of(ratios.iter().copied())),
                ratios.len().to_string(),
                goal,
            ];
            line(text, &cells);
        }
    }
}

fn ratio_max(row: &Row) -> f64 {
    if row.load.is_growing() { GROWING_MAX } else { STEADY_MAX }
}

/// Of the rounds in which both were measured, and well.
fn ratios(row: &Row, samples: &[Sample], base: Durability, durability: Durability) -> Vec<f64> {
    let cost = |round, durability| {
        let mut of_round = samples.iter().filter(|sample| {
            sample.row == row.name
                && sample.round == round
                && sample.problem.is_none()
                && sample.is_of(Kind::Shoal, Some(durability))
        });
        of_round.next().and_then(|sample| sample.report.broker_us_per_message)
    };
    let rounds = samples.iter().map(|sample| sample.round + 1).max().unwrap_or(0);
    (0..rounds).filter_map(|round| Some(cost(round, durability)? / cost(round, base)?)).collect()
}
