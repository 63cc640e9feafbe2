//! Counting how long things take, in fixed buckets: what a shard can afford for every turn.

use std::time::Duration;

/// Upper bounds of the buckets; a last one takes what is longer than all of them.
pub const BOUNDS_NS: [u64; 15] = [
    10_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
    5_000_000_000,
];

/// How long something took, each time since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    counts: [u64; BOUNDS_NS.len() + 1],
    sum_ns: u64,
    max_ns: u64,
}

impl Durations {
    /// Counts one more.
    pub fn record(&mut self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[BOUNDS_NS.partition_point(|&bound| bound < ns)] += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds up.
    pub fn add(&mut self, other: &Durations) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// For each bound, how many took no longer.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> {
        let bounds = BOUNDS_NS.into_iter().map(Duration::from_nanos);
        bounds.zip(self.counts).scan(0, |before, (bound, count)| {
            *before += count;
            Some((bound, *before))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{BOUNDS_NS, Durations};
    use std::time::Duration;

    #[test]
    fn each_is_in_the_bucket_that_is_just_large_enough() {
        let mut durations = Durations::default();
        for bound in BOUNDS_NS {
            durations.record(Duration::from_nanos(bound));
        }
        durations.record(Duration::from_secs(60));
        let cumulative: Vec<u64> = durations.cumulative().map(|(_, count)| count).collect();
        assert_eq!(cumulative, (1..=BOUNDS_NS.len() as u64).collect::<Vec<_>>());
        assert_eq!(durations.count(), BOUNDS_NS.len() as u64 + 1);
        assert_eq!(durations.max(), Duration::from_secs(60));
        let mut both = durations;
        both.add(&durations);
        assert_eq!((both.count(), both.sum()), (2 * durations.count(), 2 * durations.sum()));
    }
}
