//! Two results, and for each row whether the second one is faster, slower, or neither can be told.

mod statistics;

use std::collections::BTreeMap;
use std::fmt::Write;

use statistics::{Comparison, Verdict, compare};

use crate::broker::{Durability, Kind};
use crate::history::History;
use crate::rows::ROWS;
use crate::sample::Sample;

/// What is compared with what: the same work of the same broker.
type Key<'s> = (usize, &'s str, Kind, Option<Durability>, Figure);

/// Which of a measurement's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Figure {
    Cost,
    Latency,
    Idle,
}

impl Figure {
    fn of(self, sample: &Sample) -> Option<f64> {
        let report = &sample.report;
        match self {
            Self::Cost if report.messages > 0 => report.broker_us_per_message,
            Self::Cost => None,
            // Only of an open loop; results from before that was told have no other.
            Self::Latency if report.open_loop || report.mode == "e2e" => {
                Some(report.latency?.p99_us / 1e3)
            }
            Self::Latency => None,
            Self::Idle => Some(report.idle?.rss_bytes_per_connection? / 1024.0),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Cost => "CPU us/msg",
            Self::Latency => "p99 ms",
            Self::Idle => "KiB/connection",
        }
    }
}

/// The text, and whether Shoal is slower anywhere; nothing when the two have nothing in common.
pub fn render(before: &History, after: &History, raw: bool) -> Option<(String, bool)> {
    let mut text = String::new();
    for (name, history) in [("before", before), ("after", after)] {
        for heading in &history.headings {
            let _ = writeln!(text, "- {name}: {heading}");
        }
    }
    text.push_str("\n| work | broker | figure | before | after | after ÷ before | p | verdict |\n");
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    let (old, new) = (figures(before), figures(after));
    if !old.keys().any(|key| new.contains_key(key)) {
        return None;
    }
    let mut is_slower = false;
    for (key, old) in &old {
        let Some(new) = new.get(key) else { continue };
        let (_, row, kind, durability, figure) = *key;
        let controls = match (raw, kind, figure) {
            (false, Kind::Shoal | Kind::Original, Figure::Cost) => {
                floors(before, row).zip(floors(after, row))
            }
            _ => None,
        };
        let (found, unit) = match controls {
            None => (compare(&values(old), &values(new)), figure.name()),
            Some((before, after)) => {
                (compare(&relative(old, &before), &relative(new, &after)), "CPU ÷ floor")
            }
        };
        is_slower |= kind == Kind::Shoal && found.verdict == Verdict::Slower;
        let promise = durability.map_or(String::new(), |one| format!(", {}", one.name()));
        let who = format!("{kind:?}{promise}").to_lowercase();
        line(&mut text, (row, &who, unit), &found);
    }
    text.push_str(
        "\nFaster or slower is only what holds with p ≤ 0.01 by the exact rank-sum test, whose \
         95 % bootstrap interval leaves out 1, and whose medians differ by at least 2 %.\n",
    );
    Some((text, is_slower))
}

fn line(text: &mut String, (row, who, unit): (&str, &str, &str), found: &Comparison) {
    let Comparison { before, after, ratio, interval: (low, high), p, verdict } = *found;
    let _ = writeln!(
        text,
        "| {row} | {who} | {unit} | {before:.3} | {after:.3} | {ratio:.3} ({low:.3} to {high:.3}) \
         | {p:.3} | {verdict} |"
    );
}

/// By round, of measurements that are sound.
fn figures(history: &History) -> BTreeMap<Key<'_>, Vec<(usize, f64)>> {
    let mut all: BTreeMap<Key<'_>, Vec<(usize, f64)>> = BTreeMap::new();
    for sample in history.samples.iter().filter(|sample| sample.problem.is_none()) {
        let place = ROWS.iter().position(|row| row.name == sample.row).unwrap_or(ROWS.len());
        for figure in [Figure::Cost, Figure::Latency, Figure::Idle] {
            if let Some(value) = figure.of(sample) {
                let key = (place, sample.row.as_str(), sample.broker, sample.durability, figure);
                all.entry(key).or_default().push((sample.round, value));
            }
        }
    }
    all
}

/// What the floor cost in a row, by round; it tells how fast the machine was at that time.
fn floors(history: &History, row: &str) -> Option<BTreeMap<usize, f64>> {
    let of_row = history.samples.iter().filter(|sample| sample.row == row);
    let of_floor = of_row.filter(|sample| sample.broker == Kind::Floor);
    let all: BTreeMap<usize, f64> =
        of_floor.filter_map(|sample| Some((sample.round, Figure::Cost.of(sample)?))).collect();
    (!all.is_empty()).then_some(all)
}

fn values(by_round: &[(usize, f64)]) -> Vec<f64> {
    by_round.iter().map(|(_, value)| *value).collect()
}

/// Rounds without the floor are left out.
fn relative(by_round: &[(usize, f64)], floor: &BTreeMap<usize, f64>) -> Vec<f64> {
    by_round.iter().filter_map(|(round, value)| Some(value / floor.get(round)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::tests::sample;

    fn history(costs: &[f64], floors: &[f64]) -> History {
        let mut samples = Vec::new();
        for (kind, values) in [(Kind::Shoal, costs), (Kind::Floor, floors)] {
            for (round, us) in values.iter().enumerate() {
                samples.push(Sample { round, ..sample("mpub", kind, *us) });
            }
        }
        History { headings: vec!["then".to_owned()], samples }
    }

    fn verdict(before: &History, after: &History, raw: bool) -> (String, bool) {
        let (text, is_slower) = render(before, after, raw).unwrap();
        let line = text.lines().find(|line| line.starts_with("| mpub | shoal")).unwrap().to_owned();
        (line, is_slower)
    }

    #[test]
    fn a_slower_machine_is_no_slower_broker() {
        let floor = [0.10, 0.11, 0.10, 0.10, 0.12];
        let costs = [0.20, 0.22, 0.201, 0.199, 0.241];
        let twice = |values: &[f64]| values.iter().map(|value| value * 2.0).collect::<Vec<_>>();
        let before = history(&costs, &floor);
        let after = history(&twice(&costs), &twice(&floor));
        let (line, is_slower) = verdict(&before, &after, false);
        assert!(line.contains("CPU ÷ floor") && line.ends_with("cannot tell |"), "{line}");
        assert!(!is_slower);
        let (line, is_slower) = verdict(&before, &after, true);
        assert!(line.contains("CPU us/msg") && line.ends_with("slower |"), "{line}");
        assert!(is_slower);
        let (line, is_slower) = verdict(&after, &before, true);
        assert!(line.ends_with("faster |") && !is_slower, "{line}");
    }

    #[test]
    fn results_without_a_common_row_are_told_apart_from_equal_ones() {
        let before = history(&[0.2; 5], &[]);
        let samples = vec![sample("pub", Kind::Shoal, 0.2)];
        let after = History { headings: Vec::new(), samples };
        assert!(render(&before, &after, false).is_none());
    }

    #[test]
    fn wrong_measurements_are_left_out() {
        let mut before = history(&[0.2; 6], &[]);
        let after = history(&[0.4, 0.41, 0.42, 0.43, 0.44], &[]);
        assert!(verdict(&before, &after, false).0.ends_with("slower |"));
        for sample in &mut before.samples[..2] {
            sample.problem = Some("lost 3".to_owned());
        }
        assert!(verdict(&before, &after, false).0.ends_with("cannot tell |"), "four are too few");
    }
}
