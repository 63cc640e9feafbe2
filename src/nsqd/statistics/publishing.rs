//! How long publishes take on a shard: from the turn that takes one in to the moment when what its
//! answer promises is true. Measured for all publishes of a turn together, so that a message costs
//! nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use shards::shard::Publishes;

use super::latency::{Sum, Window};

/// The quantiles that are told.
pub const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];
/// How far they look back.
const WINDOW_MS: u64 = 60_000;

/// The times of one shard.
#[derive(Debug, Default)]
pub struct PublishTimes {
    window: Window,
    /// Publishes that wait for a sync: when their turns began, and how many there were.
    unsynced: VecDeque<(Instant, u64)>,
}

/// What is told of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PublishNumbers {
    /// Publishes, ever.
    pub count: u64,
    /// What they took together.
    pub sum_seconds: f64,
    /// In the order of [`QUANTILES`], over the last minute.
    pub quantiles_seconds: [f64; QUANTILES.len()],
}

impl PublishTimes {
    /// A turn is over; `now_ms` is its time.
    pub fn turn(&mut self, publishes: Publishes, began: Instant, ended: Instant, now_ms: u64) {
        let Publishes { answered, to_be_synced, mut synced } = publishes;
        self.record(ended.saturating_duration_since(began), answered, now_ms);
        if to_be_synced > 0 {
            self.unsynced.push_back((began, to_be_synced));
        }
        while synced > 0 {
            let Some((began, count)) = self.unsynced.front_mut() else { return };
            let (began, now) = (*began, synced.min(*count));
            *count -= now;
            synced -= now;
            if *count == 0 {
                self.unsynced.pop_front();
            }
            self.record(ended.saturating_duration_since(began), now, now_ms);
        }
    }

    /// The numbers of this moment.
    pub fn numbers(&mut self, now_ms: u64) -> PublishNumbers {
        let mut sum = Sum::default();
        sum.add(&mut self.window, now_ms, WINDOW_MS / 2);
        let latency = sum.latency(&QUANTILES);
        let seconds = |ns: u64| Duration::from_nanos(ns).as_secs_f64();
        PublishNumbers {
            count: latency.total_count,
            sum_seconds: seconds(latency.total_ns),
            quantiles_seconds: std::array::from_fn(|at| seconds(latency.values_ns[at])),
        }
    }

    fn record(&mut self, took: Duration, count: u64, now_ms: u64) {
        if count > 0 {
            let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.window.record_many(us, count, now_ms, WINDOW_MS / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PublishTimes;
    use shards::shard::Publishes;
    use std::time::{Duration, Instant};

    #[test]
    fn publishes_take_their_turn_or_until_they_are_synced() {
        let mut times = PublishTimes::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let publishes =
            |answered, to_be_synced, synced| Publishes { answered, to_be_synced, synced };
        times.turn(publishes(90, 4, 0), at(0), at(1), 10);
        times.turn(publishes(0, 4, 0), at(10), at(11), 20);
        assert_eq!(times.numbers(20).count, 90);
        times.turn(publishes(0, 0, 6), at(20), at(100), 30);
        let numbers = times.numbers(30);
        assert_eq!(numbers.count, 96);
        let sum = 0.090 + 4.0 * 0.1 + 2.0 * 0.09;
        assert!((numbers.sum_seconds - sum).abs() < 1e-9, "{numbers:?}");
        let [median, .., most] = numbers.quantiles_seconds;
        assert!((0.00099..0.00101).contains(&median), "{numbers:?}");
        assert!((0.099..0.101).contains(&most), "{numbers:?}");
        times.turn(publishes(0, 0, 9), at(20), at(100), 30);
        assert_eq!(times.numbers(30).count, 98, "no more than there were");
        assert_eq!(times.numbers(200_000).quantiles_seconds, [0.0; 4], "a minute later");
    }
}
