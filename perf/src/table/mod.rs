//! The results as markdown tables: median, spread, ratios, and what speaks against them.

mod cells;
mod idle;
mod kept;
mod promises;
mod shards;

use std::fmt::Write;

use loadtest::Report;

use cells::{figure, line, median, missing, whole, with_range};

use crate::broker::{Durability, Kind};
use crate::rows::{Goal, Row};
use crate::sample::{Sample, Spread};

/// From this share of a core on, other processes have disturbed a measurement.
const NOISE_MAX: f64 = 0.05;

/// The whole text: costs, latencies, what promises cost, what is kept, then remarks.
pub fn render(rows: &[Row], samples: &[Sample]) -> String {
    let is_cost =
        |row: &&Row| matches!(row.goal, Goal::CpuUs(_) | Goal::Told | Goal::TimesRow { .. });
    let is_latency = |row: &&Row| matches!(row.goal, Goal::LatencyMs { .. });
    let costs: Vec<Row> = rows.iter().filter(is_cost).copied().collect();
    let latencies: Vec<Row> = rows.iter().filter(is_latency).copied().collect();
    let mut text = String::new();
    if !costs.is_empty() {
        text.push_str(
            "CPU microseconds of the broker per message, and ratios of them in the same round: \
             median (lowest to highest).\n\n",
        );
        text.push_str(
            "| work | durability | Shoal | original | floor | original ÷ Shoal | Shoal ÷ floor \
             | goal | Shoal msg/s | original msg/s | Shoal MiB | original MiB |\n",
        );
        text.push_str("|---|---|---|---|---|---|---|---|---|---|---|---|\n");
        for row in &costs {
            for durability in promised(row, samples) {
                cost_line(&mut text, row, durability, samples);
            }
        }
    }
    if !latencies.is_empty() {
        text.push_str("\nMilliseconds from the intended send time to the receipt: medians.\n\n");
        text.push_str(
            "| work | broker | p50 | p99 | p99.9 | max | goal | sent late, p99 | CPU us/msg |\n",
        );
        text.push_str("|---|---|---|---|---|---|---|---|---|\n");
        latencies.iter().for_each(|row| latency_lines(&mut text, row, samples));
    }
    idle::render(&mut text, rows, samples);
    promises::render(&mut text, rows, samples);
    shards::render(&mut text, rows, samples);
    kept::render(&mut text, rows, samples);
    let remarks = remarks(rows, samples);
    if !remarks.is_empty() {
        text.push('\n');
        text.push_str(&remarks);
    }
    text
}

fn cost_line(text: &mut String, row: &Row, durability: Option<Durability>, samples: &[Sample]) {
    let spread = |kind, value: fn(&Report) -> f64| {
        spread(row, samples, (kind, durability), |sample| value(&sample.report))
    };
    let cost = |kind| spread(kind, |report| report.broker_us_per_message.unwrap_or(f64::NAN));
    let rate = |kind| spread(kind, |report| report.rate);
    let memory = |kind| {
        spread(kind, |report| {
            report.broker_memory.map_or(f64::NAN, |memory| memory.rss_max_bytes as f64 / 1048576.0)
        })
    };
    let (shoal, original, floor) = (cost(Kind::Shoal), cost(Kind::Original), cost(Kind::Floor));
    let who = (Kind::Shoal, durability);
    let to_shoal = ratios(row, samples, (Kind::Original, None), who);
    let to_floor = ratios(row, samples, who, (Kind::Floor, None));
    let goal = match row.goal {
        Goal::CpuUs(limit) => format!("≤ {}", figure(limit)),
        Goal::TimesRow { factor, of } => format!("≤ {factor} × {of}"),
        Goal::Told | Goal::LatencyMs { .. } | Goal::IdleKib(_) => missing(),
    };
    let cells = [
        row.title.to_owned(),
        durability.map_or_else(missing, |one| one.name().to_owned()),
        with_range(shoal),
        with_range(original),
        with_range(floor),
        with_range(Spread::of(to_shoal)),
        with_range(Spread::of(to_floor)),
        goal,
        whole(rate(Kind::Shoal)),
        whole(rate(Kind::Original)),
        whole(memory(Kind::Shoal)),
        whole(memory(Kind::Original)),
    ];
    line(text, &cells);
}

fn latency_lines(text: &mut String, row: &Row, samples: &[Sample]) {
    for who in measured(row, samples) {
        let of =
            |value: fn(&Report) -> f64| spread(row, samples, who, |sample| value(&sample.report));
        let Some(p50) = of(|report| report.latency.map_or(f64::NAN, |all| all.p50_us / 1e3)) else {
            continue;
        };
        let goal = match row.goal {
            Goal::LatencyMs { p50, p99 } if who.0 == Kind::Shoal => format!("≤ {p50} / {p99}"),
            _ => String::new(),
        };
        let cells = [
            row.title.to_owned(),
            name(who),
            figure(p50.median),
            median(of(|report| report.latency.map_or(f64::NAN, |all| all.p99_us / 1e3))),
            median(of(|report| report.latency.map_or(f64::NAN, |all| all.p999_us / 1e3))),
            median(of(|report| report.latency.map_or(f64::NAN, |all| all.max_us / 1e3))),
            goal,
            median(of(|report| report.late.map_or(f64::NAN, |all| all.p99_us / 1e3))),
            median(of(|report| report.broker_us_per_message.unwrap_or(f64::NAN))),
        ];
        line(text, &cells);
    }
}

/// What a reader must know before believing a figure.
fn remarks(rows: &[Row], samples: &[Sample]) -> String {
    let mut text = String::new();
    let reserve_mib = samples.iter().map(|sample| sample.warm_memory.reserve_mib).max();
    if let Some(mib @ 1..) = reserve_mib {
        let _ = writeln!(
            text,
            "- the brokers grew into {mib} MiB of memory touched beforehand; what the host charges \
             for a first touch is left out, and --warm-memory=0 shows it"
        );
    }
    for sample in samples {
        if let Some(problem) = &sample.problem {
            let Sample { row, round, .. } = sample;
            let who = sample.who();
            let _ = writeln!(text, "- WRONG: {row}, {who}, round {round}: {problem}");
        }
    }
    for row in rows {
        let of_row = || samples.iter().filter(|sample| sample.row == row.name);
        let noise = Spread::of(of_row().map(Sample::noise)).map_or(0.0, |noise| noise.median);
        if noise > NOISE_MAX {
            let percent = noise * 100.0;
            let name = row.name;
            let _ = writeln!(text, "- noisy: {name}: others used {percent:.0} % of a core");
        }
        for kind in [Kind::Shoal, Kind::Original] {
            let outgrown =
                of_row().filter(|sample| sample.broker == kind && sample.warm_memory.is_used_up());
            let count = outgrown.count();
            if count > 0 {
                let name = row.name;
                let _ = writeln!(
                    text,
                    "- {name}, {kind:?}: outgrew the warm memory {count} times; raise --warm-memory"
                );
            }
            let bound = of_row().filter(|sample| sample.broker == kind && sample.is_driver_bound());
            let count = bound.count();
            if count > 0 {
                let name = row.name;
                let _ = writeln!(
                    text,
                    "- {name}, {kind:?}: the driver was the bottleneck {count} times; the rate \
                     is the driver's"
                );
            }
        }
    }
    text
}

/// A broker, and what it promised if it is Shoal.
type Who = (Kind, Option<Durability>);

/// Who was measured in a row, in the order of the tables.
fn measured(row: &Row, samples: &[Sample]) -> Vec<Who> {
    let mut all: Vec<Who> = Vec::new();
    for sample in samples.iter().filter(|sample| sample.row == row.name) {
        let who = (sample.broker, sample.durability);
        if !all.contains(&who) {
            all.push(who);
        }
    }
    all.sort_by_key(|(kind, durability)| (*kind as u8, durability.map(|one| one as u8)));
    all
}

/// What Shoal promised in a row; a line without a promise where it was not measured.
fn promised(row: &Row, samples: &[Sample]) -> Vec<Option<Durability>> {
    let all = measured(row, samples).into_iter();
    let mut promises: Vec<_> =
        all.filter(|(kind, _)| *kind == Kind::Shoal).map(|(_, durability)| durability).collect();
    if promises.is_empty() {
        promises.push(None);
    }
    promises
}

fn name((kind, durability): Who) -> String {
    let kind = match kind {
        Kind::Shoal => "Shoal",
        Kind::Original => "original",
        Kind::Floor => "floor",
    };
    durability.map_or_else(|| kind.to_owned(), |one| format!("{kind}, {}", one.name()))
}

/// A line of a table of ratios: what was done, what it is compared with, and what was found.
fn ratio_line(
    text: &mut String,
    row: &Row,
    (base, durability): (&str, Option<Durability>),
    found: &[f64],
    goal: String,
) {
    let cells = [
        row.title.to_owned(),
        base.to_owned(),
        durability.map_or_else(missing, |one| one.name().to_owned()),
        with_range(Spread::of(found.iter().copied())),
        found.len().to_string(),
        goal,
    ];
    line(text, &cells);
}

/// What one broker cost for what another did, round by round, so that a machine that is slower in
/// one round than in the next does not show.
fn ratios(row: &Row, samples: &[Sample], above: Who, below: Who) -> Vec<f64> {
    ratios_of_rows(samples, (row.name, above), (row.name, below))
}

/// The same for two rows.
fn ratios_of_rows(samples: &[Sample], above: (&str, Who), below: (&str, Who)) -> Vec<f64> {
    let cost = |round, (row, (kind, durability)): (&str, Who)| {
        let mut of_round = samples.iter().filter(|sample| {
            sample.row == row
                && sample.round == round
                && sample.problem.is_none()
                && sample.is_of(kind, durability)
        });
        of_round.next().and_then(|sample| sample.report.broker_us_per_message)
    };
    let rounds = samples.iter().map(|sample| sample.round + 1).max().unwrap_or(0);
    (0..rounds).filter_map(|round| Some(cost(round, above)? / cost(round, below)?)).collect()
}

fn spread(
    row: &Row,
    samples: &[Sample],
    (kind, durability): Who,
    value: impl Fn(&Sample) -> f64,
) -> Option<Spread> {
    let of_row = samples.iter().filter(|sample| sample.row == row.name);
    // A wrong measurement has no cost; it is listed below the table.
    let sound = of_row.filter(|sample| sample.problem.is_none());
    Spread::of(sound.filter(|sample| sample.is_of(kind, durability)).map(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reserve::WarmMemory;
    use crate::rows::ROWS;
    use crate::sample::tests::sample;
    use crate::storage::{Disk, Rest};
    use loadtest::connections::Idle;
    use loadtest::cpu::{Io, Memory};
    use loadtest::report::Limit;

    #[test]
    fn ratios_are_of_the_same_round_and_wrong_samples_count_for_nothing() {
        let mut wrong = sample("mpub", Kind::Shoal, 0.001);
        wrong.problem = Some("lost 3".to_owned());
        let mut samples = vec![wrong];
        // The machine was twice as slow in the second round, for all.
        for (round, factor) in [1.0, 2.0, 1.0].into_iter().enumerate() {
            for (kind, us) in [(Kind::Shoal, 0.25), (Kind::Original, 1.5), (Kind::Floor, 0.1)] {
                samples.push(Sample { round, ..sample("mpub", kind, us * factor) });
            }
        }
        let text = render(&ROWS[..1], &samples);
        assert!(text.contains("| written | 0.250 (0.250 to 0.500) |"), "{text}");
        assert!(!text.contains("÷ base"), "of one promise there is no ratio: {text}");
        let ratios = "| 6.00 (6.00 to 6.00) | 2.50 (2.50 to 2.50) | ≤ 0.300 | 1,234,567 |";
        assert!(text.contains(ratios), "{text}");
        assert!(text.contains("WRONG: mpub, Shoal written, round 0: lost 3"), "{text}");
    }

    #[test]
    fn idle_connections_have_a_table_of_their_own() {
        let row = ROWS.iter().find(|row| row.name == "idle-10k").unwrap();
        let mut idle = sample("idle-10k", Kind::Shoal, 1.0);
        idle.report.idle = Some(Idle {
            opened: 1000,
            closed: 0,
            open_seconds: 0.5,
            heartbeats: 3,
            rss_bytes: Some((1 << 20, 3 << 20)),
            rss_bytes_per_connection: Some(1536.0),
            cpu_share: Some(0.004),
            cpu_ticks: Some(0.8),
        });
        let text = render(&[*row], &[idle]);
        let line = "| Shoal, written | 1.50 (1.50 to 1.50) | ≤ 2 | 0.400 | 0.800 | 0.500 |";
        assert!(text.contains(line), "{text}");
        assert!(!text.contains("per message"), "{text}");
    }

    #[test]
    fn promises_are_compared_round_by_round() {
        let mut samples = Vec::new();
        // The machine was twice as slow in the second round, for both.
        for (round, us) in [0.2, 0.4, 0.2].into_iter().enumerate() {
            for (durability, factor) in [(Durability::Memory, 1.0), (Durability::Written, 1.5)] {
                let mut one = sample("mpub", Kind::Shoal, us * factor);
                one.durability = Some(durability);
                one.round = round;
                samples.push(one);
            }
        }
        // Nothing to compare it with.
        samples.push(sample("mpub", Kind::Shoal, 90.0));
        samples.last_mut().unwrap().round = 3;
        let text = render(&ROWS[..1], &samples);
        assert!(text.contains("| MPUB of 200, backlog growing | memory | 0.200 (0.2"), "{text}");
        assert!(text.contains("| written | 1.50 (1.50 to 1.50) | 3 | ≤ 2 |"), "{text}");
    }

    #[test]
    fn what_is_kept_is_told_for_one_message() {
        let row = ROWS.iter().find(|row| row.name == "quiet-topics").unwrap();
        let mut kept = sample("quiet-topics", Kind::Shoal, 1.0);
        let memory = Memory { rss_bytes: 3 << 20, rss_max_bytes: 7 << 20 };
        kept.report.broker_memory = Some(memory);
        kept.report.broker_io = Some(Io { write_bytes: 5_000, wchar: 6_000 });
        kept.disk = Disk { log_bytes: 8_000, journal_bytes: 1 << 20 };
        kept.rest = Some(Rest { cpu_share: 0.015, memory });
        let text = render(&[*row], &[kept]);
        let line = "| Shoal, written | 7 | 3 | 1.50 | 5.00 | 6.00 | 8.00 | 1 |";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn a_bound_driver_and_noise_are_told() {
        let mut bound = sample("mpub", Kind::Shoal, 0.2);
        bound.report.limited_by = Limit::Driver;
        bound.report.other_cpu_seconds = Some(0.4);
        let text = render(&ROWS[..1], &[bound]);
        assert!(text.contains("the driver was the bottleneck 1 times"), "{text}");
        assert!(text.contains("others used 40 % of a core"), "{text}");
        let mut outgrown = sample("mpub", Kind::Original, 1.5);
        outgrown.warm_memory = WarmMemory { reserve_mib: 64, given_mib: 64 };
        let text = render(&ROWS[..1], &[outgrown]);
        assert!(text.contains("mpub, Original: outgrew the warm memory 1 times"), "{text}");
        assert!(text.contains("grew into 64 MiB of memory touched beforehand"), "{text}");
        let quiet = render(&ROWS[..1], &[sample("mpub", Kind::Shoal, 0.2)]);
        assert!(!quiet.contains("- "), "{quiet}");
    }
}
