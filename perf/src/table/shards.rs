//! What work over several shards costs against the same work on one, round by round.

use super::{promised, ratio_line, ratios_of_rows};
use crate::broker::Kind;
use crate::rows::{Goal, Row};
use crate::sample::Sample;

/// The table, if rows were measured that are compared with another.
pub fn render(text: &mut String, rows: &[Row], samples: &[Sample]) {
    let mut lines = String::new();
    for row in rows {
        let Goal::TimesRow { factor, of } = row.goal else { continue };
        for durability in promised(row, samples) {
            let shoal = (Kind::Shoal, durability);
            let found = ratios_of_rows(samples, (row.name, shoal), (of, shoal));
            let goal = format!("≤ {factor}");
            ratio_line(&mut lines, row, (of, durability), &found, goal);
        }
    }
    if lines.is_empty() {
        return;
    }
    text.push_str(
        "\nShoal's CPU time in one row ÷ that in another, in the same round: \
         median (lowest to highest).\n\n",
    );
    text.push_str("| work | base | durability | work ÷ base | rounds | goal |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    text.push_str(&lines);
}
