//! One line of a result file, and what many of them say together.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use loadtest::Report;
use loadtest::report::Limit;
use serde::{Deserialize, Serialize};

use crate::broker::{Durability, Kind};
use crate::reserve::WarmMemory;
use crate::storage::{Disk, Rest};

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// The row's name.
    pub row: String,
    /// Which broker.
    pub broker: Kind,
    /// What it promised, as it said itself; only Shoal does.
    #[serde(default)]
    pub durability: Option<Durability>,
    /// Its arguments besides addresses and the data path.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Counted from 0.
    pub round: usize,
    /// Why the figures cannot be trusted.
    pub problem: Option<String>,
    /// Messages that the broker said were on disk at the end.
    #[serde(default)]
    pub on_disk: u64,
    /// What its files took at the end.
    #[serde(default)]
    pub disk: Disk,
    /// What it did when nothing more happened, in the rows that wait for that.
    pub rest: Option<Rest>,
    /// What of the broker's memory had been touched beforehand.
    #[serde(default)]
    pub warm_memory: WarmMemory,
    /// What was measured.
    pub report: Report,
}

impl Sample {
    /// The broker, and its promise if it makes one.
    pub fn who(&self) -> String {
        let promise = self.durability.map_or(String::new(), |one| format!(" {}", one.name()));
        format!("{:?}{promise}", self.broker)
    }

    /// Of this kind, and with this promise if it is Shoal's.
    pub fn is_of(&self, kind: Kind, durability: Option<Durability>) -> bool {
        self.broker == kind && (kind != Kind::Shoal || self.durability == durability)
    }

    /// CPU time on this machine that was neither side's, as a share of one core.
    pub fn noise(&self) -> f64 {
        self.report.other_cpu_seconds.unwrap_or(0.0) / self.report.seconds
    }

    /// The driver could not go faster, and the broker could have.
    pub fn is_driver_bound(&self) -> bool {
        self.report.limited_by == Limit::Driver
    }
}

/// The middle of some values, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of nothing there is no spread, and what could not be measured is no number.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let half = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(sorted[half - 1], sorted[half]),
            _ => sorted[half],
        };
        Some(Self { median, min, max })
    }
}

/// A file that one run appends its lines to.
pub struct Results {
    path: PathBuf,
}

impl Results {
    /// `<folder>/<date>-<host>.jsonl`.
    pub fn in_folder(folder: &Path, host: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let date = jiff::Zoned::now().strftime("%Y-%m-%d").to_string();
        Ok(Self { path: folder.join(format!("{date}-{host}.jsonl")) })
    }

    /// Appends one line.
    pub fn append(&self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(text.as_bytes())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
pub mod tests {
    use loadtest::window::{Counts, Measured};

    use super::*;

    /// A sound measurement, for tests of what is made of many.
    pub fn sample(row: &str, broker: Kind, us: f64) -> Sample {
        let counts = Counts { published: 1000, received: 0 };
        let measured = Measured { counts, seconds: 1.0, driver_cpu_s: 0.5, broker: None };
        let mut report = Report::new("mpub", &measured, counts);
        report.rate = 1_234_567.0;
        report.broker_cpu_seconds = Some(1.0);
        report.broker_us_per_message = Some(us);
        report.other_cpu_seconds = Some(0.01);
        Sample {
            row: row.to_owned(),
            broker,
            durability: (broker == Kind::Shoal).then_some(Durability::Written),
            arguments: Vec::new(),
            round: 0,
            problem: None,
            on_disk: 0,
            disk: Disk::default(),
            rest: None,
            warm_memory: WarmMemory::default(),
            report,
        }
    }

    #[test]
    fn the_median_lies_in_the_middle_whatever_the_order() {
        let odd = Spread::of([3.0, 1.0, 100.0]).unwrap();
        assert_eq!(odd, Spread { median: 3.0, min: 1.0, max: 100.0 });
        let even = Spread::of([4.0, 1.0, 2.0, 100.0]).unwrap();
        assert_eq!(even, Spread { median: 3.0, min: 1.0, max: 100.0 });
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN]), None);
    }
}
