//! Sums of the last polls, in bounded memory.

use std::collections::{BTreeMap, VecDeque};

use super::rates::{Numbers, Totals};

/// What a series' key, its place in the map and its allocation take besides its samples.
const SERIES_OVERHEAD_BYTES: usize = 256;
/// The fewest polls that make a chart.
const POLLS_MIN: usize = 2;
/// The most polls: beyond this no screen shows them.
const POLLS_MAX: usize = 100_000;

/// Whose numbers a series holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Of everything.
    Cluster,
    /// Of a node, by its address.
    Node(String),
    /// Of a topic.
    Topic(String),
    /// Of a channel, after its topic.
    Channel(String, String),
}

/// What is kept of [`Numbers`] for one poll.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// See [`Numbers`].
    pub depth: f64,
    /// As above.
    pub channel_depth: f64,
    /// As above.
    pub in_flight: f32,
    /// As above.
    pub deferred: f32,
    /// As above.
    pub clients: f32,
    /// Per second; not a number where there is no rate.
    pub incoming: f32,
    /// As above.
    pub outgoing: f32,
    /// As above.
    pub requeues: f32,
    /// As above.
    pub timeouts: f32,
}

impl Sample {
    /// A poll in which it did not occur.
    const NONE: Sample = Sample {
        depth: f64::NAN,
        channel_depth: f64::NAN,
        in_flight: f32::NAN,
        deferred: f32::NAN,
        clients: f32::NAN,
        incoming: f32::NAN,
        outgoing: f32::NAN,
        requeues: f32::NAN,
        timeouts: f32::NAN,
    };

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    #[allow(clippy::allow_attributes_without_reason, reason = "charts have few digits")]
    fn of(numbers: &Numbers) -> Sample {
        let rate = |of: fn(&super::rates::Rates) -> f64| {
            numbers.rates.as_ref().map_or(f32::NAN, |rates| of(rates) as f32)
        };
        Sample {
            depth: numbers.depth as f64,
            channel_depth: numbers.channel_depth as f64,
            in_flight: numbers.in_flight as f32,
            deferred: numbers.deferred as f32,
            clients: numbers.clients as f32,
            incoming: rate(|rates| rates.incoming),
            outgoing: rate(|rates| rates.outgoing),
            requeues: rate(|rates| rates.requeues),
            timeouts: rate(|rates| rates.timeouts),
        }
    }

    fn is_none(&self) -> bool {
        self.depth.is_nan()
    }
}

/// The numbers of one key in polls that follow each other.
#[derive(Debug, Default)]
struct Series {
    /// The number of the poll after the last sample.
    end: u64,
    samples: VecDeque<Sample>,
}

impl Series {
    /// Adds the sample of a poll; polls in which it did not occur come before.
    fn push(&mut self, poll: u64, sample: Sample, polls_max: usize) {
        if self.samples.is_empty() {
            self.end = poll;
        }
        let missed = usize::try_from(poll - self.end).unwrap_or(usize::MAX).min(polls_max);
        self.samples.extend(std::iter::repeat_n(Sample::NONE, missed));
        self.samples.push_back(sample);
        while self.samples.len() > polls_max {
            self.samples.pop_front();
        }
        self.end = poll + 1;
    }

    fn get(&self, poll: u64) -> Option<Sample> {
        let length = u64::try_from(self.samples.len()).unwrap_or(u64::MAX);
        let at = poll.checked_sub(self.end.saturating_sub(length))?;
        let sample = *self.samples.get(usize::try_from(at).ok()?)?;
        (!sample.is_none()).then_some(sample)
    }
}

/// The series of all that there is room for.
#[derive(Debug)]
pub struct Rings {
    polls_max: usize,
    series_max: usize,
    /// When each of the last polls was, by the calendar.
    at_ms: VecDeque<u64>,
    /// The number of the next poll.
    next: u64,
    series: BTreeMap<Key, Series>,
    /// What found no room in the last poll.
    left_out: usize,
}

impl Rings {
    /// Room for so many polls of as many series as the memory allows.
    pub fn new(polls_max: usize, memory_bytes: u64) -> Rings {
        let polls_max = polls_max.clamp(POLLS_MIN, POLLS_MAX);
        let series_bytes = polls_max * size_of::<Sample>() + SERIES_OVERHEAD_BYTES;
        let memory_bytes = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
        Rings {
            polls_max,
            series_max: memory_bytes / series_bytes,
            at_ms: VecDeque::new(),
            next: 0,
            series: BTreeMap::new(),
            left_out: 0,
        }
    }

    /// Adds the sums of a poll. Those of the cluster, nodes and topics go before channels.
    pub fn push(&mut self, at_ms: u64, totals: &Totals) {
        if self.at_ms.len() == self.polls_max {
            self.at_ms.pop_front();
        }
        self.at_ms.push_back(at_ms);
        self.forget_gone();
        let before = std::mem::take(&mut self.left_out);
        self.add(Key::Cluster, &totals.cluster);
        for (address, numbers) in &totals.nodes {
            self.add(Key::Node(address.clone()), numbers);
        }
        for (topic, of) in &totals.topics {
            self.add(Key::Topic(topic.clone()), &of.numbers);
        }
        for (topic, of) in &totals.topics {
            for (channel, numbers) in &of.channels {
                self.add(Key::Channel(topic.clone(), channel.clone()), numbers);
            }
        }
        self.next += 1;
        if before == 0 && self.left_out > 0 {
            tracing::warn!(
                "{} of {} series of the history find no room; --history-memory gives more",
                self.left_out,
                self.left_out + self.series.len()
            );
        }
    }

    fn add(&mut self, key: Key, numbers: &Numbers) {
        let is_full = self.series.len() >= self.series_max;
        if is_full && !self.series.contains_key(&key) {
            self.left_out += 1;
            return;
        }
        let series = self.series.entry(key).or_default();
        series.push(self.next, Sample::of(numbers), self.polls_max);
    }

    /// Makes room: what has not occurred for as long as is remembered is forgotten.
    fn forget_gone(&mut self) {
        let oldest = self.first();
        self.series.retain(|_, series| series.end > oldest);
    }

    /// The number of the oldest poll that is remembered, the one being added included.
    fn first(&self) -> u64 {
        let length = u64::try_from(self.at_ms.len()).unwrap_or(u64::MAX);
        (self.next + 1).saturating_sub(length)
    }

    /// When the last polls were.
    pub fn at_ms(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.at_ms.iter().copied()
    }

    /// A series, one entry for each of the last polls; `None` when there is none.
    pub fn get(&self, key: &Key) -> Option<Vec<Option<Sample>>> {
        let series = self.series.get(key)?;
        let length = u64::try_from(self.at_ms.len()).unwrap_or(u64::MAX);
        let polls = self.next.saturating_sub(length)..self.next;
        Some(polls.map(|poll| series.get(poll)).collect())
    }

    /// Series that are kept, and those that found no room.
    pub fn counts(&self) -> (usize, usize) {
        (self.series.len(), self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Rings};
    use crate::nsqadmin::history::rates::{Numbers, Rates, TopicTotals, Totals};

    fn numbers(depth: i64) -> Numbers {
        let rates = Some(Rates { incoming: 1.5, ..Rates::default() });
        Numbers { depth, rates, ..Numbers::default() }
    }

    /// A poll in which these topics have these depths.
    fn totals(topics: &[(&str, i64)]) -> Totals {
        let mut totals = Totals { cluster: numbers(100), ..Totals::default() };
        for (name, depth) in topics {
            let mut of = TopicTotals { numbers: numbers(*depth), ..TopicTotals::default() };
            of.channels.insert("c".to_owned(), numbers(*depth + 1));
            totals.topics.insert((*name).to_owned(), of);
        }
        totals
    }

    fn depths(rings: &Rings, key: &Key) -> Vec<Option<f64>> {
        let samples = rings.get(key).unwrap();
        samples.into_iter().map(|sample| sample.map(|sample| sample.depth)).collect()
    }

    fn topic(name: &str) -> Key {
        Key::Topic(name.to_owned())
    }

    #[test]
    fn the_last_polls_are_remembered_and_no_more() {
        let mut rings = Rings::new(3, 1 << 20);
        for (at, depth) in (0..5).zip([10, 11, 12, 13, 14]) {
            rings.push(at, &totals(&[("t", depth)]));
        }
        assert_eq!(rings.at_ms().collect::<Vec<u64>>(), [2, 3, 4]);
        assert_eq!(depths(&rings, &topic("t")), [Some(12.0), Some(13.0), Some(14.0)]);
        let channel = Key::Channel("t".to_owned(), "c".to_owned());
        assert_eq!(depths(&rings, &channel), [Some(13.0), Some(14.0), Some(15.0)]);
        let sample = rings.get(&topic("t")).unwrap()[0].unwrap();
        assert_eq!(sample.incoming, 1.5);
    }

    #[test]
    fn what_comes_late_or_stays_away_has_gaps() {
        let mut rings = Rings::new(4, 1 << 20);
        rings.push(0, &totals(&[("a", 1)]));
        rings.push(1, &totals(&[("b", 2)]));
        rings.push(2, &totals(&[("a", 3), ("b", 4)]));
        assert_eq!(depths(&rings, &topic("a")), [Some(1.0), None, Some(3.0)]);
        assert_eq!(depths(&rings, &topic("b")), [None, Some(2.0), Some(4.0)]);
        for at in 3..6 {
            rings.push(at, &totals(&[("b", 5)]));
        }
        assert_eq!(depths(&rings, &topic("a")), [Some(3.0), None, None, None]);
        rings.push(6, &totals(&[("b", 5)]));
        assert!(rings.get(&topic("a")).is_none(), "nothing is left of it");
        rings.push(7, &totals(&[("a", 9)]));
        assert_eq!(depths(&rings, &topic("a")), [None, None, None, Some(9.0)]);
    }

    #[test]
    fn memory_is_bounded_and_topics_go_before_channels() {
        let series_bytes = 10 * size_of::<super::Sample>() + super::SERIES_OVERHEAD_BYTES;
        let mut rings = Rings::new(10, 3 * series_bytes as u64);
        rings.push(0, &totals(&[("a", 1), ("b", 2)]));
        assert_eq!(rings.counts(), (3, 2));
        assert!(rings.get(&Key::Cluster).is_some() && rings.get(&topic("b")).is_some());
        assert!(rings.get(&Key::Channel("a".to_owned(), "c".to_owned())).is_none());
    }
}
