//! The results as a markdown table: median, spread, ratios, and what speaks against them.

use std::fmt::Write;

use loadtest::Report;

use crate::broker::Kind;
use crate::rows::{Goal, Row};
use crate::sample::{Sample, Spread};

/// From this share of a core on, other processes have disturbed a measurement.
const NOISE_MAX: f64 = 0.05;

/// The whole text: costs, latencies, then remarks.
pub fn render(rows: &[Row], samples: &[Sample]) -> String {
    let (costs, latencies): (Vec<Row>, Vec<Row>) =
        rows.iter().partition(|row| matches!(row.goal, Goal::CpuUs(_)));
    let mut text = String::new();
    if !costs.is_empty() {
        text.push_str(
            "CPU microseconds of the broker per message: median (lowest to highest).\n\n",
        );
        text.push_str(
            "| work | Shoal | original | floor | original ÷ Shoal | Shoal ÷ floor | goal \
             | Shoal msg/s | original msg/s | Shoal MiB | original MiB |\n",
        );
        text.push_str("|---|---|---|---|---|---|---|---|---|---|---|\n");
        costs.iter().for_each(|row| cost_line(&mut text, row, samples));
    }
    if !latencies.is_empty() {
        text.push_str("\nMilliseconds from the intended send time to the receipt: medians.\n\n");
        text.push_str(
            "| work | broker | p50 | p99 | p99.9 | max | goal | sent late, p99 | CPU us/msg |\n",
        );
        text.push_str("|---|---|---|---|---|---|---|---|---|\n");
        latencies.iter().for_each(|row| latency_lines(&mut text, row, samples));
    }
    let remarks = remarks(rows, samples);
    if !remarks.is_empty() {
        text.push('\n');
        text.push_str(&remarks);
    }
    text
}

fn cost_line(text: &mut String, row: &Row, samples: &[Sample]) {
    let spread = |kind, value: fn(&Report) -> f64| spread(row, samples, kind, value);
    let cost = |kind| spread(kind, |report| report.broker_us_per_message.unwrap_or(f64::NAN));
    let rate = |kind| spread(kind, |report| report.rate);
    let memory = |kind| {
        spread(kind, |report| {
            report.broker_memory.map_or(f64::NAN, |memory| memory.rss_max_bytes as f64 / 1048576.0)
        })
    };
    let (shoal, original, floor) = (cost(Kind::Shoal), cost(Kind::Original), cost(Kind::Floor));
    let goal = match row.goal {
        Goal::CpuUs(limit) => format!("≤ {}", figure(limit)),
        Goal::LatencyMs { .. } => String::new(),
    };
    let cells = [
        row.title.to_owned(),
        with_range(shoal),
        with_range(original),
        with_range(floor),
        ratio(original, shoal),
        ratio(shoal, floor),
        goal,
        whole(rate(Kind::Shoal)),
        whole(rate(Kind::Original)),
        whole(memory(Kind::Shoal)),
        whole(memory(Kind::Original)),
    ];
    line(text, &cells);
}

fn latency_lines(text: &mut String, row: &Row, samples: &[Sample]) {
    for (kind, name) in [(Kind::Shoal, "Shoal"), (Kind::Original, "original")] {
        let of = |value: fn(&Report) -> f64| spread(row, samples, kind, value);
        let Some(p50) = of(|report| report.latency.map_or(f64::NAN, |all| all.p50_us / 1e3)) else {
            continue;
        };
        let goal = match row.goal {
            Goal::LatencyMs { p50, p99 } if kind == Kind::Shoal => format!("≤ {p50} / {p99}"),
            _ => String::new(),
        };
        let cells = [
            row.title.to_owned(),
            name.to_owned(),
            figure(p50.median),
            median(of(|report| report.latency.map_or(f64::NAN, |all| all.p99_us / 1e3))),
            median(of(|report| report.latency.map_or(f64::NAN, |all| all.p999_us / 1e3))),
            median(of(|report| report.latency.map_or(f64::NAN, |all| all.max_us / 1e3))),
            goal,
            median(of(|report| report.latency.map_or(f64::NAN, |all| all.late_p99_us / 1e3))),
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
            let Sample { row, broker, round, .. } = sample;
            let _ = writeln!(text, "- WRONG: {row}, {broker:?}, round {round}: {problem}");
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

fn spread(row: &Row, samples: &[Sample], kind: Kind, value: fn(&Report) -> f64) -> Option<Spread> {
    let of_kind = samples.iter().filter(|sample| sample.row == row.name && sample.broker == kind);
    // A wrong measurement has no cost; it is listed below the table.
    let sound = of_kind.filter(|sample| sample.problem.is_none());
    Spread::of(sound.map(|sample| value(&sample.report)))
}

fn line(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn with_range(spread: Option<Spread>) -> String {
    spread.map_or_else(missing, |all| {
        format!("{} ({} to {})", figure(all.median), figure(all.min), figure(all.max))
    })
}

fn median(spread: Option<Spread>) -> String {
    spread.map_or_else(missing, |all| figure(all.median))
}

fn whole(spread: Option<Spread>) -> String {
    spread.map_or_else(missing, |all| thousands(all.median as u64))
}

fn ratio(above: Option<Spread>, below: Option<Spread>) -> String {
    match (above, below) {
        (Some(above), Some(below)) => format!("{:.1}", above.median / below.median),
        _ => missing(),
    }
}

fn missing() -> String {
    "–".to_owned()
}

/// Three digits that count.
fn figure(value: f64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reserve::WarmMemory;
    use crate::rows::ROWS;
    use loadtest::report::Limit;

    fn sample(row: &'static str, broker: Kind, us: f64) -> Sample {
        let report = Report {
            mode: "mpub",
            messages: 1000,
            published: 1000,
            received: 0,
            seconds: 1.0,
            rate: 1_234_567.0,
            driver_cpu_seconds: 0.5,
            broker_cpu_seconds: Some(1.0),
            broker_us_per_message: Some(us),
            other_cpu_seconds: Some(0.01),
            broker_memory: None,
            limited_by: Limit::Broker,
            latency: None,
            total_published: 1000,
            total_received: 0,
        };
        let warm_memory = WarmMemory { reserve_mib: 0, given_mib: 0 };
        Sample { row, broker, round: 0, problem: None, on_disk: 0, warm_memory, report }
    }

    #[test]
    fn ratios_are_of_medians_and_wrong_samples_count_for_nothing() {
        let mut wrong = sample("mpub", Kind::Shoal, 0.001);
        wrong.problem = Some("lost 3".to_owned());
        let samples = [
            sample("mpub", Kind::Shoal, 0.2),
            sample("mpub", Kind::Shoal, 0.3),
            sample("mpub", Kind::Shoal, 0.25),
            wrong,
            sample("mpub", Kind::Original, 1.5),
            sample("mpub", Kind::Floor, 0.1),
        ];
        let text = render(&ROWS[..1], &samples);
        assert!(text.contains("| 0.250 (0.200 to 0.300) |"), "{text}");
        assert!(text.contains("| 6.0 | 2.5 | ≤ 0.300 | 1,234,567 |"), "{text}");
        assert!(text.contains("WRONG: mpub, Shoal, round 0: lost 3"), "{text}");
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
