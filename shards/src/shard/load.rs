//! Segments that are read again when a channel comes to them, and ahead of that.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use hashbrown::{HashMap, HashSet};

use super::Shard;
use crate::disk::{DiskError, DiskRequest};
use crate::journal::state::Range;
use crate::limits::{JOURNAL_RETRY_MS, READ_AHEAD_SEGMENTS};
use crate::log::Cold;
use crate::log::pool::Block;
use crate::page_buffer::PageBuffer;
use crate::slots::Key;

/// How often a segment is read, a second apart, before it is taken for damaged.
const READS_MAX: u32 = 10;
/// Reads under way.
const LOADS_MAX: usize = 8;

/// What is read, and what is to be.
#[derive(Debug, Default)]
pub(super) struct Loads {
    /// Segments to be read.
    pub(super) wanted: VecDeque<(Key, u64)>,
    pub(super) running: HashMap<u32, Loading>,
    pub(super) failed: FailedReads,
}

/// Reads that failed, which happens for other reasons than damage, too.
#[derive(Debug, Default)]
pub(super) struct FailedReads {
    /// Segments that are read again, and when, in order.
    pub(super) waiting: VecDeque<(Key, u64, u64)>,
    /// How often each of them has failed.
    times: HashMap<(Key, u64), u32>,
    /// Files of which a segment was given up, and nothing has been read since: they are judged as
    /// a whole, or each of their segments would keep its channels waiting as long.
    unreadable: HashSet<u32>,
}

impl FailedReads {
    /// Whether a segment, which is in this file, is to be read again.
    fn try_again(&mut self, key: Key, first: u64, file: u32, now_ms: u64) -> bool {
        let times = self.times.entry((key, first)).or_default();
        *times += 1;
        if *times > READS_MAX || self.unreadable.contains(&file) {
            self.times.remove(&(key, first));
            self.unreadable.insert(file);
            return false;
        }
        self.waiting.push_back((key, first, now_ms + JOURNAL_RETRY_MS));
        true
    }

    fn next_due(&mut self, now_ms: u64) -> Option<(Key, u64)> {
        let (key, first, _) = self.waiting.pop_front_if(|&mut (_, _, due_ms)| due_ms <= now_ms)?;
        Some((key, first))
    }
}

#[derive(Debug)]
pub(super) struct Loading {
    topic: Key,
    first: u64,
    /// In which file it is.
    file: u32,
    /// Where to.
    block: Block,
}

impl Shard {
    /// Has a segment read that a channel has come to.
    pub(super) fn want(&mut self, key: Key, cold: Cold) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        let Some(segment) = topic.log.by_first(cold.first) else { return };
        if !segment.is_resident() && !core::mem::replace(&mut segment.loading, true) {
            self.tiers.loads.wanted.push_back((key, cold.first));
        }
    }

    pub(super) fn start_loads(&mut self) {
        while let Some((key, first)) = self.tiers.loads.failed.next_due(self.now.mono_ms) {
            self.tiers.loads.wanted.push_back((key, first));
        }
        for _ in 0..self.tiers.loads.wanted.len() {
            if self.tiers.loads.running.len() >= LOADS_MAX {
                return;
            }
            let Some((key, first)) = self.tiers.loads.wanted.pop_front() else { return };
            let segment = self.topics.get_mut(key).and_then(|topic| topic.log.by_first(first));
            let Some(place) = segment.and_then(|segment| segment.home) else { continue };
            let bytes = place.bytes as usize;
            let block = match self.take_block(bytes) {
                Some(block) => block,
                // One at a time goes over the limit, or consumers might wait for ever.
                None if self.tiers.loads.running.is_empty() => self.space.pool.take_anyway(bytes),
                None => {
                    self.tiers.loads.wanted.push_front((key, first));
                    return;
                }
            };
            let ticket = self.tiers.next_ticket();
            let loading = Loading { topic: key, first, file: place.file, block };
            self.tiers.loads.running.insert(ticket, loading);
            self.space.requests.push_back(DiskRequest::Read { ticket, place });
        }
    }

    /// Reads ahead of a channel that has come to a segment.
    pub(super) fn read_ahead(&mut self, topic_key: Key, segment: u32) {
        if !self.journal.enabled || self.is_above(6) {
            return;
        }
        let Some(topic) = self.topics.get(topic_key) else { return };
        let ahead = topic.log.segments_from(segment + 1).take(READ_AHEAD_SEGMENTS);
        let cold = ahead.filter(|(_, segment)| !segment.is_resident() && !segment.loading);
        let cold: Vec<Cold> = cold.map(|(_, segment)| Cold { first: segment.first }).collect();
        cold.into_iter().for_each(|cold| self.want(topic_key, cold));
    }

    pub(super) fn segment_read(&mut self, ticket: u32, result: Result<PageBuffer, DiskError>) {
        let Some(result) = self.peek_read(ticket, result) else { return };
        let Some(result) = self.seek_read(ticket, result) else { return };
        let Some(loading) = self.tiers.loads.running.remove(&ticket) else {
            return self.index_read(ticket, result);
        };
        let Loading { topic: key, first, file, block } = loading;
        if result.is_ok() {
            self.tiers.loads.failed.unreadable.remove(&file);
        }
        let Shard { topics, space, tiers, .. } = self;
        let salt = topics.get(key).map(|topic| topic.log.salt).unwrap_or_default();
        let segment = topics.get_mut(key).and_then(|topic| topic.log.by_first(first));
        let Some(segment) = segment.filter(|segment| segment.loading) else {
            return space.pool.give_back(block);
        };
        let bytes = match result {
            Ok(bytes) => bytes,
            Err(_) if tiers.loads.failed.try_again(key, first, file, self.now.mono_ms) => {
                return space.pool.give_back(block);
            }
            // What cannot be read is as good as damaged: the rest goes on. Its place is not
            // given back, so that the next start may find it.
            Err(_) => {
                segment.home = None;
                PageBuffer::default()
            }
        };
        let holes = segment.load(block, &bytes, salt);
        tiers.loads.failed.times.remove(&(key, first));
        if !holes.is_empty() {
            self.lose(key, &holes);
        }
        let channels = self.topics.get(key).map_or(Vec::new(), |topic| topic.channels.clone());
        channels.into_iter().for_each(|channel| self.mark(channel));
        self.touch(key);
    }

    /// Messages are damaged on the disk: no channel waits for them any more.
    fn lose(&mut self, key: Key, holes: &[core::ops::Range<u64>]) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        let ranges = holes.iter().map(|hole| Range { first: hole.start, last: hole.end - 1 });
        for range in ranges.clone() {
            topic.deferred.remove_range(range);
        }
        topic.add_holes(ranges.clone());
        for channel in topic.channels.clone() {
            ranges.clone().for_each(|range| self.drop_outstanding(channel, range));
            let Some(topic) = self.topics.get(key) else { return };
            let Some(channel) = self.channels.get_mut(channel) else { continue };
            for hole in holes {
                let to = hole.end.min(topic.handed);
                channel.skip_rest(hole.start, to, |to| topic.log.locate(to));
            }
        }
        self.note_whole_topic(key);
    }
}
