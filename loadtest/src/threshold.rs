//! Thresholds: `p99>5ms` and its like, and whether a report crosses them.

use std::str::FromStr;

use loadtest::Report;
use loadtest::latency::Latency;
use serde::Serialize;

/// A condition under which a run has failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    metric: Metric,
    comparison: Comparison,
    limit: f64,
}

/// What became of a threshold.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// As it was given.
    pub fail_if: String,
    /// What was measured, in microseconds, messages a second, bytes or pieces; nothing if the run
    /// has no such value, which fails, too.
    pub value: Option<f64>,
    /// The threshold was crossed.
    pub failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// How a latency is picked from a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantile {
    Mean,
    P50,
    P90,
    P99,
    P999,
    P9999,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    /// To the receipt where there is one, otherwise to the confirmation.
    Latency(Quantile),
    Confirmed(Quantile),
    Late(Quantile),
    Rate,
    BrokerCpu,
    BrokerRss,
    ConnectionRss,
    IdleCpu,
    Lost,
    Duplicated,
    Corrupt,
}

/// The unit that a limit may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Time,
    Bytes,
    Count,
}

const QUANTILES: [(&str, Quantile); 7] = [
    ("mean", Quantile::Mean),
    ("p50", Quantile::P50),
    ("p90", Quantile::P90),
    ("p99", Quantile::P99),
    ("p99.9", Quantile::P999),
    ("p99.99", Quantile::P9999),
    ("max", Quantile::Max),
];

const OTHERS: [(&str, Metric); 8] = [
    ("rate", Metric::Rate),
    ("broker-cpu", Metric::BrokerCpu),
    ("broker-rss", Metric::BrokerRss),
    ("connection-rss", Metric::ConnectionRss),
    ("idle-cpu", Metric::IdleCpu),
    ("lost", Metric::Lost),
    ("duplicated", Metric::Duplicated),
    ("corrupt", Metric::Corrupt),
];

const COMPARISONS: [(&str, Comparison); 4] = [
    (">=", Comparison::GreaterOrEqual),
    ("<=", Comparison::LessOrEqual),
    (">", Comparison::Greater),
    ("<", Comparison::Less),
];

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = COMPARISONS.iter().find_map(|(sign, comparison)| {
            let (name, value) = text.split_once(sign)?;
            Some((name.trim(), *comparison, value.trim()))
        });
        let (name, comparison, value) = split.ok_or("neither < nor > in it")?;
        let metric = metric(name).ok_or_else(|| format!("no metric {name:?}: {}", names()))?;
        let limit = limit(value, metric.kind())?;
        Ok(Self { text: text.to_owned(), metric, comparison, limit })
    }
}

fn metric(name: &str) -> Option<Metric> {
    let quantile = |name: &str| {
        let found = QUANTILES.iter().find(|(known, _)| *known == name);
        found.map(|(_, quantile)| *quantile)
    };
    if let Some((_, metric)) = OTHERS.iter().find(|(known, _)| *known == name) {
        return Some(*metric);
    }
    match name.split_once(':') {
        None => quantile(name).map(Metric::Latency),
        Some(("confirm", rest)) => quantile(rest).map(Metric::Confirmed),
        Some(("late", rest)) => quantile(rest).map(Metric::Late),
        Some(_) => None,
    }
}

fn names() -> String {
    let quantiles = QUANTILES.iter().map(|(name, _)| *name);
    let all: Vec<&str> = quantiles.chain(OTHERS.iter().map(|(name, _)| *name)).collect();
    format!("there are {}; and confirm:p99, late:p99 and their like", all.join(", "))
}

/// A number with a unit: latencies in microseconds, memory in bytes.
fn limit(text: &str, kind: Kind) -> Result<f64, String> {
    let digits =
        text.len() - text.trim_start_matches(|one: char| one.is_ascii_digit() || one == '.').len();
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| format!("{text:?} is no number"))?;
    let factor = match (kind, unit.trim()) {
        (Kind::Time, "ns") => 1e-3,
        (Kind::Time, "us" | "µs") => 1.0,
        (Kind::Time, "ms") => 1e3,
        (Kind::Time, "s") => 1e6,
        (Kind::Time, _) => return Err(format!("{text:?} needs a unit: ns, us, ms or s")),
        (Kind::Bytes, "" | "B") | (Kind::Count, "") => 1.0,
        (Kind::Bytes, "KiB") => 1024.0,
        (Kind::Bytes, "MiB") => 1024.0 * 1024.0,
        (Kind::Bytes, "GiB") => 1024.0 * 1024.0 * 1024.0,
        (Kind::Count, "k") => 1e3,
        (Kind::Count, "M") => 1e6,
        (Kind::Count, "%") => 1e-2,
        (_, unit) => return Err(format!("{unit:?} is no unit here")),
    };
    Ok(number * factor)
}

impl Metric {
    fn kind(self) -> Kind {
        match self {
            Self::Latency(_) | Self::Confirmed(_) | Self::Late(_) | Self::BrokerCpu => Kind::Time,
            Self::BrokerRss | Self::ConnectionRss => Kind::Bytes,
            Self::Rate | Self::IdleCpu | Self::Lost | Self::Duplicated | Self::Corrupt => {
                Kind::Count
            }
        }
    }

    fn of(self, report: &Report) -> Option<f64> {
        let found = report.verification.as_ref();
        match self {
            Self::Latency(quantile) => {
                report.latency.or(report.confirmed).map(|all| quantile.of(&all))
            }
            Self::Confirmed(quantile) => report.confirmed.map(|all| quantile.of(&all)),
            Self::Late(quantile) => report.late.map(|all| quantile.of(&all)),
            Self::Rate => Some(report.rate),
            Self::BrokerCpu => report.broker_us_per_message,
            Self::BrokerRss => report.broker_memory.map(|memory| memory.rss_bytes as f64),
            Self::ConnectionRss => report.idle?.rss_bytes_per_connection,
            Self::IdleCpu => report.idle?.cpu_share,
            Self::Lost => found.map(|found| found.lost as f64),
            Self::Duplicated => found.map(|found| found.duplicated as f64),
            Self::Corrupt => found.map(|found| found.corrupt as f64),
        }
    }

    /// Of several reports, latencies are those of an open loop, sums are over all, and the rest is
    /// the first one's.
    fn of_all(self, reports: &[Report]) -> Option<f64> {
        match self {
            Self::Latency(_) | Self::Confirmed(_) | Self::Late(_) => {
                let open = reports.iter().find(|report| report.open_loop);
                self.of(open.or(reports.first())?)
            }
            Self::Lost | Self::Duplicated | Self::Corrupt => {
                reports.iter().map(|report| self.of(report)).sum()
            }
            _ => self.of(reports.first()?),
        }
    }
}

impl Quantile {
    fn of(self, latency: &Latency) -> f64 {
        match self {
            Self::Mean => latency.mean_us,
            Self::P50 => latency.p50_us,
            Self::P90 => latency.p90_us,
            Self::P99 => latency.p99_us,
            Self::P999 => latency.p999_us,
            Self::P9999 => latency.p9999_us,
            Self::Max => latency.max_us,
        }
    }
}

impl Threshold {
    /// Whether the reports cross it.
    pub fn judge(&self, reports: &[Report]) -> Verdict {
        let value = self.metric.of_all(reports);
        let failed = value.is_none_or(|value| match self.comparison {
            Comparison::Less => value < self.limit,
            Comparison::LessOrEqual => value <= self.limit,
            Comparison::Greater => value > self.limit,
            Comparison::GreaterOrEqual => value >= self.limit,
        });
        Verdict { fail_if: self.text.clone(), value, failed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadtest::window::{Counts, Measured};

    fn report(p99_us: f64) -> Report {
        let counts = Counts { published: 1000, received: 0 };
        let measured = Measured { counts, seconds: 2.0, driver_cpu_s: 0.1, broker: None };
        let mut report = Report::new("e2e", &measured, counts);
        report.latency = Some(Latency {
            count: 1000,
            mean_us: 1.0,
            p50_us: 1.0,
            p90_us: 2.0,
            p99_us,
            p999_us: 9e3,
            p9999_us: 9e4,
            max_us: 1e6,
        });
        report
    }

    fn fails(text: &str, report: &Report) -> bool {
        let threshold: Threshold = text.parse().unwrap();
        threshold.judge(std::slice::from_ref(report)).failed
    }

    #[test]
    fn thresholds_compare_with_their_units() {
        let report = report(5_000.0);
        for (text, failed) in [
            ("p99>5ms", false),
            ("p99>=5ms", true),
            ("p99 > 4.9 ms", true),
            ("p99<5001us", true),
            ("p99.9>0.008s", true),
            ("max<=1s", true),
            ("rate<500", false),
            ("rate<=0.5k", true),
            ("rate<1M", true),
        ] {
            assert_eq!(fails(text, &report), failed, "{text}");
        }
    }

    #[test]
    fn what_was_not_measured_fails() {
        assert!(fails("lost>0", &report(1.0)));
        assert!(fails("confirm:p99>1h".replace('h', "s").as_str(), &report(1.0)));
        assert!(fails("broker-rss>1GiB", &report(1.0)));
    }

    #[test]
    fn nonsense_is_refused_with_what_there_is() {
        for text in ["", "p99", "p99=5ms", "p98>5ms", "p99>5", "p99>ms", "p99>5MiB", "rate>5ms"] {
            assert!(text.parse::<Threshold>().is_err(), "{text}");
        }
        let error = "p98>5ms".parse::<Threshold>().unwrap_err();
        assert!(error.contains("p99.9, p99.99, max, rate"), "{error}");
    }
}
