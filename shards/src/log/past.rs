//! The part of a log that lies behind the lowest cursor, and how to find one's way in it: by time,
//! and by how many messages there are.

use super::{Log, Segment, UNTOLD, record};

/// What is known of the place where messages of a time begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// At this message, or at the first one behind it.
    At(u64),
    /// First it has to be known when the segment that starts with this message begins.
    Untold(u64),
    /// Somewhere in the segment that starts with this message, which is not in memory.
    Cold(u64),
}

impl Log {
    /// The oldest message that a channel can go back to, unless there is none.
    #[must_use]
    pub fn earliest(&self) -> Option<u64> {
        self.segments.front().map(|segment| segment.first)
    }

    /// Number of the first numbered segment.
    #[must_use]
    pub fn first_number(&self) -> u32 {
        self.first
    }

    /// The numbered segment with this number.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Option<&Segment> {
        self.segments.get(number.checked_sub(self.first)? as usize)
    }

    /// The numbered segments below this one.
    pub fn numbered_below_mut(&mut self, number: u32) -> impl Iterator<Item = &mut Segment> {
        let below = number.saturating_sub(self.first) as usize;
        self.segments.iter_mut().take(below)
    }

    /// Numbered segments.
    #[must_use]
    pub fn numbered_count(&self) -> usize {
        self.segments.len()
    }

    /// Bytes of the numbered segments below this one.
    #[must_use]
    pub fn bytes_below(&self, number: u32) -> u64 {
        let Some(first) = self.segments.front() else { return 0 };
        let end = match self.numbered(number) {
            Some(segment) => segment.start,
            None => self.segments.back().map_or(0, Segment::end),
        };
        end.saturating_sub(first.start)
    }

    /// Messages of the numbered segments below this one.
    #[must_use]
    pub fn count_below(&self, number: u32) -> u64 {
        let below = number.saturating_sub(self.first) as usize;
        self.segments.iter().take(below).map(|segment| u64::from(segment.count)).sum()
    }

    /// Messages from one to before another: at least and at most so many.
    #[must_use]
    pub fn count_between(&mut self, from: u64, to: u64) -> (u64, u64) {
        let start = self.segments.partition_point(|segment| segment.last < from);
        let (mut least, mut most) = (0, 0);
        for segment in self.segments.range_mut(start..) {
            if segment.first >= to {
                break;
            }
            let all = u64::from(segment.count);
            match (segment.rank(from), segment.rank(to)) {
                (Some(before), Some(below)) => {
                    let count = u64::from(below.saturating_sub(before));
                    (least, most) = (least + count, most + count);
                }
                _ => most += all.min(to.min(segment.last + 1) - from.max(segment.first)),
            }
        }
        (least, most)
    }

    /// Where the messages begin that were published at this time or later; those before it if the
    /// clock was set back between them.
    #[must_use]
    pub fn since(&self, time_ns: i64) -> Since {
        let (mut low, mut high) = (0, self.segments.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.segments[middle].since_ns {
                UNTOLD => return Since::Untold(self.segments[middle].first),
                since_ns if since_ns < time_ns => low = middle + 1,
                _ => high = middle,
            }
        }
        let Some(segment) = low.checked_sub(1).map(|index| &self.segments[index]) else {
            return Since::At(self.earliest().unwrap_or(0));
        };
        match segment.bytes() {
            None => Since::Cold(segment.first),
            Some(run) => {
                let mut records = record::walk_trusted(run);
                let found = records.find(|(_, found)| found.timestamp_ns >= time_ns);
                Since::At(found.map_or(segment.last + 1, |(_, found)| found.sequence))
            }
        }
    }

    /// Notes when a segment begins. Nobody knows better than the segments before it when it cannot
    /// be read.
    pub fn tell_since(&mut self, first: u64, since_ns: Option<i64>) {
        let index = self.segments.partition_point(|segment| segment.first < first);
        let before = self.segments.iter().take(index).rev();
        let before = before.map(|segment| segment.since_ns).find(|&since_ns| since_ns != UNTOLD);
        if let Some(segment) = self.segments.get_mut(index).filter(|found| found.first == first) {
            segment.since_ns = since_ns.or(before).unwrap_or(0);
        }
    }
}
