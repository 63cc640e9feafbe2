//! Latencies: recorded in full, summed up in quantiles, and written down for other tools.

use std::io::{self, Write};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Some latencies, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// How many there are.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// Half are less.
    pub p50_us: f64,
    /// Nine in ten are less.
    pub p90_us: f64,
    /// 99 in a hundred are less.
    pub p99_us: f64,
    /// 999 in a thousand are less.
    pub p999_us: f64,
    /// 9,999 in ten thousand are less.
    pub p9999_us: f64,
    /// The most.
    pub max_us: f64,
}

/// Collects latencies: 1 µs to 100 s at three digits; what is beyond counts as the limit.
#[derive(Clone, Debug)]
pub struct Recorder(Histogram<u64>);

impl Recorder {
    /// Empty.
    pub fn new() -> Result<Self> {
        Histogram::new_with_bounds(1_000, 100_000_000_000, 3)
            .map(Self)
            .map_err(|error| Error::Protocol(format!("no histogram: {error}")))
    }

    /// One more.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// As many more, all alike.
    #[inline]
    pub fn record_many(&mut self, ns: u64, count: u64) {
        self.0.saturating_record_n(ns, count);
    }

    /// The sum of it; nothing when nothing was recorded.
    pub fn summary(&self) -> Option<Latency> {
        let all = &self.0;
        let at = |quantile| all.value_at_quantile(quantile) as f64 / 1e3;
        (!all.is_empty()).then(|| Latency {
            count: all.len(),
            mean_us: all.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: all.max() as f64 / 1e3,
        })
    }

    /// Writes the distribution in the text format of HdrHistogram, in milliseconds.
    pub fn write_hdr(&self, out: &mut impl Write) -> io::Result<()> {
        let ms = |ns: u64| ns as f64 / 1e6;
        writeln!(
            out,
            "{:>12} {:>14} {:>10} {:>14}",
            "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
        )?;
        writeln!(out)?;
        let mut total = 0;
        for step in self.0.iter_quantiles(TICKS_PER_HALF) {
            total += step.count_since_last_iteration();
            let (value, quantile) = (ms(step.value_iterated_to()), step.quantile_iterated_to());
            if quantile < 1.0 {
                let inverse = 1.0 / (1.0 - quantile);
                writeln!(out, "{value:12.3} {quantile:2.12} {total:10} {inverse:14.2}")?;
            } else {
                writeln!(out, "{value:12.3} {quantile:2.12} {total:10}")?;
            }
        }
        let (mean, deviation) = (self.0.mean() / 1e6, self.0.stdev() / 1e6);
        writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
        writeln!(out, "#[Max     = {:12.3}, Total count    = {:12}]", ms(self.0.max()), total)?;
        let (buckets, parts) = (self.0.buckets(), self.0.distinct_values());
        writeln!(out, "#[Buckets = {buckets:12}, SubBuckets     = {parts:12}]")
    }
}

/// Lines of the text format for each halving of what remains.
const TICKS_PER_HALF: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_summed_up_and_written_down() {
        let mut recorder = Recorder::new().unwrap();
        assert_eq!(recorder.summary(), None);
        for ms in 1..=1000 {
            recorder.record(ms * 1_000_000);
        }
        let summary = recorder.summary().unwrap();
        assert_eq!(summary.count, 1000);
        assert!((summary.p50_us / 1e3 - 500.0).abs() < 1.0, "{summary:?}");
        assert!((summary.p99_us / 1e3 - 990.0).abs() < 1.0, "{summary:?}");
        assert!((summary.max_us / 1e3 - 1000.0).abs() < 1.0, "{summary:?}");
        let mut text = Vec::new();
        recorder.write_hdr(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("Value     Percentile TotalCount 1/(1-Percentile)"), "{text}");
        let half = lines.iter().find(|line| line.contains(" 0.500000000000 ")).unwrap();
        let columns: Vec<&str> = half.split_whitespace().collect();
        assert_eq!((columns[2], columns[3]), ("500", "2.00"), "{text}");
        assert!(columns[0].starts_with("500."), "{text}");
        let last = lines.iter().find(|line| line.contains(" 1.000000000000 ")).unwrap();
        assert!(last.trim_end().ends_with("1000"), "{text}");
        assert!(text.contains("Total count    =         1000]"), "{text}");
    }
}
