//! Distributions of how long messages take, per channel, over a sliding window.
//!
//! As in the original the window consists of two halves that take turns: one is filled, the other
//! still counts. A half is made with the first message that falls into it, so a channel without
//! consumers takes nothing. At most a channel takes four histograms of [`HISTOGRAM_BYTES`].

use hdrhistogram::Histogram;
use shards::latency::{Finished, Stopwatch};
use shards::stats::{Latency, Timing};
use slab::Slab;

/// Decimal digits that values are kept with: they are right to one percent.
const DIGITS: u8 = 2;
/// The longest time that is told apart from longer ones: a week, in microseconds.
const LONGEST_US: u64 = 7 * 24 * 3600 * 1_000_000;
/// Memory of one histogram.
#[cfg(test)]
const HISTOGRAM_BYTES: usize = 18 * 1024;
const NS_PER_US: u64 = 1_000;
const US_PER_MS: u64 = 1_000;

/// What the flags say.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The percentiles that are told, above 0 and up to 1.
    pub percentiles: Vec<f64>,
    /// How far they look back.
    pub window_ms: u64,
}

/// Measures all channels of one shard.
#[derive(Debug)]
pub struct Meters {
    settings: Settings,
    channels: Slab<Meter>,
}

/// One channel's.
#[derive(Debug, Default)]
struct Meter {
    e2e: Window,
    processing: Window,
}

/// A distribution over a sliding window.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The half that is filled, and the one before it.
    halves: [Option<Half>; 2],
    /// When the first of them began.
    since_ms: u64,
    total_count: u64,
    total_us: u64,
}

impl Meters {
    /// No channels yet.
    #[must_use]
    pub fn new(settings: Settings) -> Meters {
        Meters { settings, channels: Slab::new() }
    }
}

impl Stopwatch for Meters {
    fn open(&mut self) -> u32 {
        let key = self.channels.insert(Meter::default());
        u32::try_from(key).expect("memory ends long before 2^32 channels")
    }

    fn close(&mut self, channel: u32) {
        self.channels.remove(channel as usize);
    }

    fn finished(&mut self, channel: u32, message: Finished, now_ms: u64) {
        let half_ms = self.settings.window_ms / 2;
        let meter = &mut self.channels[channel as usize];
        meter.e2e.record(message.e2e_ns / NS_PER_US, now_ms, half_ms);
        meter.processing.record(message.processing_ms * US_PER_MS, now_ms, half_ms);
    }

    fn read(&mut self, channels: &mut dyn Iterator<Item = u32>, now_ms: u64) -> Timing {
        let half_ms = self.settings.window_ms / 2;
        let (mut e2e, mut processing) = (Sum::default(), Sum::default());
        for channel in channels {
            let meter = &mut self.channels[channel as usize];
            e2e.add(&mut meter.e2e, now_ms, half_ms);
            processing.add(&mut meter.processing, now_ms, half_ms);
        }
        let percentiles = &self.settings.percentiles;
        Timing { e2e: e2e.latency(percentiles), processing: processing.latency(percentiles) }
    }
}

impl Window {
    fn record(&mut self, us: u64, now_ms: u64, half_ms: u64) {
        self.record_many(us, 1, now_ms, half_ms);
    }

    /// So many of the same length.
    pub(super) fn record_many(&mut self, us: u64, count: u64, now_ms: u64, half_ms: u64) {
        self.slide(now_ms, half_ms);
        self.total_count += count;
        self.total_us = self.total_us.saturating_add(us.saturating_mul(count));
        let half = self.halves[0].get_or_insert_with(Half::new);
        half.histogram.saturating_record_n(us, u32::try_from(count).unwrap_or(u32::MAX));
        half.max_us = half.max_us.max(us);
    }

    /// Lets go of what is too old.
    fn slide(&mut self, now_ms: u64, half_ms: u64) {
        let half_ms = half_ms.max(1);
        let passed = now_ms.saturating_sub(self.since_ms) / half_ms;
        if passed == 0 {
            return;
        }
        self.since_ms += passed * half_ms;
        let [newer, older] = &mut self.halves;
        let mut free = older.take();
        if passed == 1 {
            std::mem::swap(newer, older);
        } else {
            *newer = None;
        }
        // The memory is used again: a busy channel asks for none.
        if let Some(free) = &mut free {
            free.histogram.reset();
            free.max_us = 0;
        }
        *newer = free;
    }
}

/// What was measured in half a window.
#[derive(Debug)]
struct Half {
    histogram: Histogram<u32>,
    /// The longest, exactly.
    max_us: u64,
}

impl Half {
    fn new() -> Half {
        Half { histogram: histogram(), max_us: 0 }
    }
}

fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("the bounds are sound")
}

/// Several windows together.
#[derive(Default)]
pub(super) struct Sum {
    all: Option<Half>,
    total_count: u64,
    total_us: u64,
}

impl Sum {
    pub(super) fn add(&mut self, window: &mut Window, now_ms: u64, half_ms: u64) {
        window.slide(now_ms, half_ms);
        self.total_count += window.total_count;
        self.total_us = self.total_us.saturating_add(window.total_us);
        for half in window.halves.iter().flatten().filter(|half| !half.histogram.is_empty()) {
            let sum = self.all.get_or_insert_with(Half::new);
            sum.histogram.add(&half.histogram).expect("all have the same bounds");
            sum.max_us = sum.max_us.max(half.max_us);
        }
    }

    pub(super) fn latency(&self, percentiles: &[f64]) -> Latency {
        let ns = |us: u64| us.saturating_mul(NS_PER_US);
        let value = |&percentile: &f64| match &self.all {
            Some(all) => ns(all.histogram.value_at_quantile(percentile).min(all.max_us)),
            None => 0,
        };
        Latency {
            count: self.all.as_ref().map_or(0, |all| all.histogram.len()),
            values_ns: percentiles.iter().map(value).collect(),
            total_count: self.total_count,
            total_ns: ns(self.total_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DIGITS, HISTOGRAM_BYTES, Meters, Settings, histogram};
    use shards::latency::{Finished, Stopwatch};

    const MS: u64 = 1_000_000;

    fn meters(window_ms: u64) -> Meters {
        Meters::new(Settings { percentiles: vec![1.0, 0.99, 0.5], window_ms })
    }

    fn finish(meters: &mut Meters, channel: u32, e2e_ms: u64, now_ms: u64) {
        let message = Finished { e2e_ns: e2e_ms * MS, processing_ms: e2e_ms / 2 };
        meters.finished(channel, message, now_ms);
    }

    #[test]
    fn percentiles_are_right_to_one_percent() {
        let mut meters = meters(60_000);
        let channel = meters.open();
        for ms in 1..=1000 {
            finish(&mut meters, channel, ms, 5);
        }
        let timing = meters.read(&mut [channel].into_iter(), 5);
        assert_eq!(timing.e2e.count, 1000);
        for (value, exact) in timing.e2e.values_ns.iter().zip([1000, 990, 500]) {
            let exact = exact * MS;
            assert!(value.abs_diff(exact) <= exact / 100, "{value} instead of {exact}");
        }
        assert_eq!(timing.e2e.values_ns[0], 1000 * MS, "the longest is never told too long");
        assert_eq!((timing.e2e.total_count, timing.e2e.total_ns), (1000, 500_500 * MS));
        assert_eq!(timing.processing.values_ns[0], 500 * MS);
    }

    #[test]
    fn what_is_older_than_the_window_counts_no_more() {
        let mut meters = meters(1000);
        let channel = meters.open();
        let count =
            |meters: &mut Meters, now_ms| meters.read(&mut [channel].into_iter(), now_ms).e2e.count;
        finish(&mut meters, channel, 7, 10_000);
        assert_eq!(count(&mut meters, 10_499), 1);
        finish(&mut meters, channel, 9, 10_500);
        assert_eq!(count(&mut meters, 10_999), 2);
        assert_eq!(count(&mut meters, 11_000), 1, "the first half is over");
        assert_eq!(count(&mut meters, 11_500), 0);
        finish(&mut meters, channel, 9, 60_000);
        let timing = meters.read(&mut [channel].into_iter(), 90_000);
        assert_eq!((timing.e2e.count, timing.e2e.total_count), (0, 3));
        assert_eq!(timing.e2e.values_ns, [0, 0, 0]);
    }

    #[test]
    fn channels_are_added_up_and_forgotten() {
        let mut meters = meters(60_000);
        let (first, second) = (meters.open(), meters.open());
        finish(&mut meters, first, 10, 1);
        finish(&mut meters, second, 1000, 1);
        let both = meters.read(&mut [first, second].into_iter(), 1);
        assert_eq!((both.e2e.count, both.e2e.values_ns[0]), (2, 1000 * MS));
        meters.close(first);
        let again = meters.open();
        assert_eq!(meters.read(&mut [again].into_iter(), 1).e2e.total_count, 0);
    }

    #[test]
    fn times_without_end_and_memory_within_bounds() {
        let mut meters = meters(60_000);
        let channel = meters.open();
        let endless = Finished { e2e_ns: u64::MAX, processing_ms: u64::MAX / 2000 };
        meters.finished(channel, endless, 1);
        meters.finished(channel, endless, 1);
        let timing = meters.read(&mut [channel].into_iter(), 1);
        assert_eq!(timing.e2e.count, 2);
        assert!(timing.e2e.values_ns[0] >= 7 * 24 * 3600 * 1_000 * MS);
        let bytes = histogram().distinct_values() * size_of::<u32>();
        assert!(
            (HISTOGRAM_BYTES / 2..=HISTOGRAM_BYTES).contains(&bytes),
            "{bytes}, {DIGITS} digits"
        );
    }
}
