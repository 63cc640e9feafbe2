//! Memory and disk: segments are stored before memory runs out, give their memory up when it is
//! wanted, and are read again when a channel comes to them.
//!
//! What is written first is what was filled last, and what gives way first is what lies furthest
//! from any cursor: a channel that keeps pace never waits for the disk, and one far behind reads
//! ahead. Publishing waits while memory is short and the disk is at work; it is refused when
//! neither memory nor the disk takes any more.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use hashbrown::HashMap;

use super::Shard;
use super::load::Loads;
use super::retire::Retiring;
use super::share::Publisher;
use crate::disk::{Content, DiskError, DiskEvent, DiskRequest, Place, Role};
use crate::limits::{INDEX_LEAD_MS, JOURNAL_RETRY_MS, READ_AHEAD_SEGMENTS};
use crate::log::pool::Block;
use crate::mail::Batch;
use crate::request::Publish;
use crate::slots::Key;

/// What is under way between memory and disk.
#[derive(Debug, Default)]
pub(super) struct Tiers {
    /// Segments to be stored, by topic and first message.
    to_store: VecDeque<(Key, u64)>,
    writes: HashMap<u32, Writing>,
    pub(super) loads: Loads,
    pub(super) retiring: Retiring,
    last_ticket: u32,
    /// The topic at which the search for memory goes on.
    hand: usize,
    /// Clients whose publish waits for room.
    waiting: Vec<Key>,
    /// Publishes of others that wait for room.
    pub(super) stalled: VecDeque<Stalled>,
    /// When it is next looked for store files of which little is wanted.
    tidy_at_ms: u64,
    /// The store takes nothing until then.
    pub(super) retry_at_ms: u64,
    pub(super) trouble: Option<String>,
}

#[derive(Debug)]
struct Writing {
    topic: Key,
    first: u64,
    place: Place,
}

/// A publish that waits for room.
#[derive(Debug)]
pub(super) enum Stalled {
    /// Of another worker.
    Batch(u16, Batch),
    /// Of HTTP on this worker.
    Http(u64, Publish),
}

/// For whom there is no room now.
#[derive(Debug, Default)]
struct Closed {
    /// For those who took more than their share of the journal.
    to_most: bool,
    to_all: bool,
}

impl Tiers {
    /// The clients whose publish waits, who wait no more.
    pub(super) fn take_waiting(&mut self) -> Vec<Key> {
        core::mem::take(&mut self.waiting)
    }

    /// Publishes, writes and reads that wait or are under way.
    pub(super) fn counts(&self) -> [usize; 3] {
        let publishes = self.waiting.len() + self.stalled.len();
        [
            publishes,
            self.to_store.len() + self.writes.len(),
            self.loads.wanted.len() + self.loads.running.len(),
        ]
    }

    pub(super) fn next_ticket(&mut self) -> u32 {
        self.last_ticket = (self.last_ticket + 1) & TICKETS;
        self.last_ticket
    }
}

impl Shard {
    pub(super) fn is_above(&self, eighths: usize) -> bool {
        self.space.pool.used_bytes() / 8 >= self.space.pool.limit_bytes() / 64 * eighths
    }

    /// Whether a publish of so many bytes has to wait: for memory that the disk is about to give
    /// back, or for the journal.
    pub(super) fn has_to_wait(&mut self, publisher: Publisher, bytes: usize) -> bool {
        if !self.journal.enabled || self.journal.trouble.is_some() || self.is_draining() {
            return false;
        }
        let slack = (self.space.pool.limit_bytes() / 16).min(1 << 20);
        if self.journal_has_plenty() && self.space.pool.has_room(bytes + 2 * slack) {
            // As nearly always: it does not matter who it is.
            return false;
        }
        let is_modest = self.is_modest(publisher, bytes);
        if self.journal_is_full(is_modest, bytes) {
            return true;
        }
        // A segment that somebody fills may take as much as that, and others want some then.
        let slack = if is_modest { slack / 16 } else { 2 * slack };
        // There is hope while segments are on their way to the disk.
        !self.make_room(bytes + slack) && self.tiers.trouble.is_none() && self.is_storing()
    }

    /// Whether what came earlier by way of a worker waits: what comes later waits behind it.
    pub(super) fn is_stalled(&self, worker: u16) -> bool {
        self.tiers.stalled.iter().any(|stalled| self.came_from(stalled) == worker)
    }

    fn came_from(&self, stalled: &Stalled) -> u16 {
        match stalled {
            Stalled::Batch(from, _) => *from,
            Stalled::Http(..) => self.placement.me,
        }
    }

    /// Lets a client's publish wait for room.
    pub(super) fn wait_for_room(&mut self, key: Key) {
        if !self.tiers.waiting.contains(&key) {
            self.tiers.waiting.push(key);
        }
        self.pause(key);
    }

    /// Lets those go on who waited for room, as far as there is some.
    pub(super) fn admit_waiting(&mut self) {
        if self.is_stopping() {
            // It would not be stored any more.
            return;
        }
        let mut closed = Closed::default();
        let mut kept: Vec<u16> = Vec::new();
        for stalled in core::mem::take(&mut self.tiers.stalled) {
            let from = self.came_from(&stalled);
            if kept.contains(&from) || self.is_closed(Publisher::Worker(from), &mut closed) {
                kept.push(from);
                self.tiers.stalled.push_back(stalled);
                continue;
            }
            match stalled {
                Stalled::Batch(from, batch) => self.publish_batch(from, batch),
                Stalled::Http(ticket, publish) => self.publish_for_http(ticket, &publish),
            }
        }
        let mut still = Vec::new();
        for key in self.tiers.take_waiting() {
            match self.is_closed(Publisher::Client(key), &mut closed) {
                true => still.push(key),
                false => self.wake(key),
            }
        }
        // Who had a turn and waits again comes behind those who had none.
        still.append(&mut self.tiers.waiting);
        self.tiers.waiting = still;
    }

    /// Whether somebody waits on. That there is no room is found out once: more does not come.
    fn is_closed(&mut self, publisher: Publisher, closed: &mut Closed) -> bool {
        let is_modest = self.is_modest(publisher, 0);
        if closed.to_all || closed.to_most && !is_modest {
            return true;
        }
        let waits = self.has_to_wait(publisher, 0);
        closed.to_most |= waits;
        closed.to_all |= waits && is_modest;
        waits
    }

    /// Whether something goes on only when the disk has done what it refused before, or gives
    /// memory back.
    #[must_use]
    pub fn waits_for_disk(&self) -> bool {
        self.is_short()
            || !self.tiers.loads.failed.waiting.is_empty()
            || self.indexes.wait_for_disk()
            || self.waits_to_transfer()
    }

    /// Whether somebody waits for room.
    fn is_short(&self) -> bool {
        !self.tiers.waiting.is_empty() || !self.tiers.stalled.is_empty()
    }

    /// When a read that failed is tried again.
    pub(super) fn read_deadline_ms(&self) -> Option<u64> {
        self.tiers.loads.failed.waiting.front().map(|&(_, _, due_ms)| due_ms)
    }

    /// Whether segments are being stored, which a later turn is told of.
    pub(super) fn is_storing(&self) -> bool {
        !self.tiers.writes.is_empty()
            || !self.tiers.to_store.is_empty()
            || self.indexes.are_written()
    }

    /// Whether segments are being read, which a later turn is told of.
    pub(super) fn is_loading(&self) -> bool {
        !(self.tiers.loads.running.is_empty()
            && self.tiers.loads.wanted.is_empty()
            && self.tiers.loads.failed.waiting.is_empty())
    }

    /// When segments are stored that the disk did not take before.
    pub(super) fn store_deadline_ms(&self) -> Option<u64> {
        let waits = self.now.mono_ms < self.tiers.retry_at_ms && !self.tiers.to_store.is_empty();
        waits.then_some(self.tiers.retry_at_ms)
    }

    /// Why segments cannot be stored, while that is so.
    pub(super) fn store_trouble(&self) -> Option<&str> {
        self.tiers.trouble.as_deref()
    }

    /// Why a publish is refused when there is no memory, as clients see it after `E_PUB_FAILED`.
    pub(super) fn full_reason(&self) -> String {
        match &self.tiers.trouble {
            Some(trouble) => alloc::format!("memory limit reached, and {trouble}"),
            None => String::from("memory limit reached"),
        }
    }

    /// One turn's work between memory and disk.
    pub(super) fn move_segments(&mut self) {
        if !self.journal.enabled {
            return;
        }
        if self.is_above(4) {
            self.store_ahead();
            self.store_indexes();
        }
        self.tidy_store();
        self.start_stores();
        if !self.is_storing() {
            self.tiers.trouble = None;
        }
        self.start_loads();
        self.retire();
        if self.is_short() {
            self.admit_waiting();
        }
    }

    /// Moves what little is wanted of an old store file elsewhere, so that the file can go.
    fn tidy_store(&mut self) {
        let due = self.now.mono_ms >= self.tiers.tidy_at_ms && !self.is_storing();
        if due && let Some(file) = self.space.store.sparse_file() {
            self.tiers.tidy_at_ms = self.now.mono_ms + TIDY_PAUSE_MS;
            self.thin_out(file);
        }
    }

    /// Has full segments stored before their memory is wanted.
    fn store_ahead(&mut self) {
        let seal = self.is_above(7);
        let topics = self.topics.slots();
        for _ in 0..topics.min(STORE_TOPICS_PER_TURN) {
            self.tiers.hand = (self.tiers.hand + 1) % topics;
            if self.tiers.to_store.len() >= STORE_QUEUE_MAX {
                return;
            }
            let Some(key) = self.topics.key_at(self.tiers.hand) else { continue };
            self.store_topic(key, seal);
        }
    }

    /// Has a topic's full segments stored, the newest first.
    fn store_topic(&mut self, key: Key, seal: bool) {
        let Some(topic) = self.topics.get_mut(key).filter(|topic| topic.is_kept()) else { return };
        if seal {
            topic.log.seal_last();
        }
        let wanted = topic
            .log
            .segments()
            .filter(|segment| segment.sealed && segment.is_homeless() && !segment.storing);
        let mut wanted: Vec<u64> = wanted.map(|segment| segment.first).collect();
        wanted.reverse();
        for first in wanted {
            self.queue_store(key, first);
        }
        self.evict_retained(key);
    }

    /// Has a segment stored that is full.
    pub(super) fn queue_store(&mut self, key: Key, first: u64) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        let Some(segment) = topic.log.by_first(first) else { return };
        if segment.is_homeless() && !core::mem::replace(&mut segment.storing, true) {
            self.tiers.to_store.push_back((key, first));
            self.goes_to_disk(key);
        }
    }

    /// From now on it is written down what becomes of a topic's messages.
    fn goes_to_disk(&mut self, key: Key) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        if core::mem::replace(&mut topic.journaled, true) {
            return;
        }
        topic.mark_journaled();
        for &channel in &topic.channels {
            if let Some(channel) = self.channels.get_mut(channel) {
                channel.journaled = !channel.name.is_ephemeral();
            }
        }
        self.note_whole_topic(key);
    }

    fn start_stores(&mut self) {
        // Where the channels of a topic that just came to the disk stand is written down first, or
        // a crash between the two would bring back what they have finished.
        let noted = self.journal.is_empty_handed() && !self.journal.has_missed();
        let ready = noted && self.now.mono_ms >= self.tiers.retry_at_ms;
        while let Some(&(key, first)) = self.tiers.to_store.front() {
            let Shard { topics, space, tiers, .. } = self;
            let found = topics.get_mut(key).and_then(|topic| {
                let (name, salt) = (topic.name, topic.log.salt);
                Some((name, salt, topic.log.by_first(first)?))
            });
            let Some((name, salt, segment)) = found.filter(|(.., segment)| segment.storing) else {
                // Nobody wants it any more; as long as it stood here the shard seemed to be busy.
                tiers.to_store.pop_front();
                continue;
            };
            if !ready {
                return;
            }
            segment.add_checksums(salt);
            let Some(write) = space.place(segment, name) else { return };
            tiers.to_store.pop_front();
            let ticket = tiers.next_ticket();
            let place = write.place;
            tiers.writes.insert(ticket, Writing { topic: key, first, place });
            let (file, offset, content) = (place.file, write.offset, write.content);
            space.requests.push_back(DiskRequest::Write { ticket, file, offset, content });
        }
    }

    /// Takes memory from segments that are on the disk, until there is room for so many bytes.
    /// False when there is not.
    pub(super) fn make_room(&mut self, bytes: usize) -> bool {
        for near_too in [false, true] {
            let topics = self.topics.slots();
            for _ in 0..topics {
                if self.space.pool.has_room(bytes) {
                    return true;
                }
                self.tiers.hand = (self.tiers.hand + 1) % topics;
                if let Some(key) = self.topics.key_at(self.tiers.hand) {
                    self.evict(key, bytes, near_too);
                }
            }
        }
        self.space.pool.has_room(bytes)
    }

    /// Memory for so many bytes, taken from segments that are on the disk if need be.
    pub(super) fn take_block(&mut self, bytes: usize) -> Option<Block> {
        let mut room = bytes;
        loop {
            let more = self.make_room(room);
            if let Some(block) = self.space.pool.take(0, bytes) {
                return Some(block);
            }
            if !more {
                return None;
            }
            // There is room, but not in one piece.
            room *= 2;
        }
    }

    /// Takes memory from a topic's segments, the furthest from any cursor first.
    fn evict(&mut self, key: Key, bytes: usize, near_too: bool) {
        let Shard { topics, channels, space, .. } = self;
        let Some(topic) = topics.get_mut(key) else { return };
        // What is due soon would be read again at once, and so on.
        let near_ms = self.now.mono_ms + 2 * INDEX_LEAD_MS;
        for &channel in &topic.channels {
            let Some(channel) = channels.get_mut(channel) else { continue };
            channel.outstanding.published.evict(bytes, near_ms, &mut space.pool);
        }
        let cursors = topic.channels.iter().filter_map(|&key| channels.get(key));
        let cursors: Vec<u64> = cursors.map(|channel| channel.cursor).collect();
        let near = |first: u64, last: u64| {
            !near_too
                && cursors.iter().any(|&cursor| {
                    let ahead = (last - first + 1) * READ_AHEAD_SEGMENTS as u64;
                    cursor <= last && first <= cursor.saturating_add(ahead)
                })
        };
        for segment in topic.log.segments_mut_newest_first() {
            if space.pool.has_room(bytes) {
                return;
            }
            if segment.home.is_some()
                && segment.is_resident()
                && !near(segment.first, segment.last)
                && let Some(block) = segment.evict()
            {
                space.pool.give_back(block);
            }
        }
    }

    /// Keeps no more than so many of a topic's messages in memory, besides those that are read or
    /// written just now: the newest go to the disk.
    pub(super) fn keep_in_memory(&mut self, key: Key, max: u64) {
        let Shard { topics, channels, space, journal, .. } = self;
        let Some(topic) = topics.get_mut(key).filter(|topic| topic.is_kept()) else { return };
        if !journal.enabled {
            return;
        }
        let cursors = topic.channels.iter().filter_map(|&key| channels.get(key));
        let cursors: Vec<u64> = cursors.map(|channel| channel.cursor).collect();
        let (mut count, mut to_store) = (0, Vec::new());
        let keeps = topic.retained.keep.is_set();
        let low = cursors.iter().copied().min().unwrap_or(topic.handed).min(topic.handed);
        for segment in topic.log.segments_mut().filter(|segment| segment.is_resident()) {
            let finished = keeps && segment.last < low;
            count += if finished { 0 } else { u64::from(segment.count) };
            let read = cursors.iter().any(|cursor| (segment.first..=segment.last).contains(cursor));
            if (count <= max && !finished) || !segment.sealed || segment.storing || read {
                continue;
            }
            if segment.home.is_none() {
                to_store.push(segment.first);
            } else if let Some(block) = segment.evict() {
                space.pool.give_back(block);
            }
        }
        to_store.into_iter().for_each(|first| self.queue_store(key, first));
    }

    /// The disk has done something, or was not able to.
    pub fn disk_event(&mut self, event: DiskEvent) {
        match event {
            DiskEvent::Opened(Role::Journal, result) => self.journal_opened(result),
            DiskEvent::Opened(Role::Store, result) => {
                self.space.store.opened(result.as_ref().ok().copied());
                if let Err(error) = result {
                    self.store_failed(&error);
                }
            }
            DiskEvent::Written { ticket, content, result } => {
                self.store_written(ticket, content, result)
            }
            DiskEvent::Read { ticket, result } => self.segment_read(ticket, result),
            DiskEvent::Synced { ticket, result } => {
                let retiring = self.tiers.retiring.waits_for(ticket);
                if ticket & super::promise::SYNC_TICKET != 0 {
                    self.journal_synced(ticket, result);
                } else if retiring {
                    self.retire_synced(result);
                } else {
                    self.checkpoint_synced(ticket, result);
                }
            }
        }
    }

    pub(super) fn store_failed(&mut self, error: &DiskError) {
        if error.full {
            self.press_for_disk();
        }
        self.tiers.retry_at_ms = self.now.mono_ms + JOURNAL_RETRY_MS;
        self.tiers.trouble = Some(error.text.clone());
    }

    fn store_written(&mut self, ticket: u32, content: Content, result: Result<(), DiskError>) {
        let Some(Writing { topic: key, first, place }) = self.tiers.writes.remove(&ticket) else {
            return self.index_written(ticket, content, result);
        };
        self.space.written(place.file, content, result.is_ok());
        let log = self.topics.get_mut(key).map(|topic| &mut topic.log);
        match result {
            Ok(()) => {
                self.tiers.trouble = None;
                self.touch(key);
                let log = self.topics.get_mut(key).map(|topic| &mut topic.log);
                match log.and_then(|log| log.stored(first, place)) {
                    Some(replaced) => {
                        self.tiers.retiring.add(key, first, place.file, replaced);
                    }
                    None => self.space.release(place),
                }
            }
            Err(error) => {
                if let Some(segment) = log.and_then(|log| log.by_first(first)) {
                    segment.storing = false;
                }
                self.space.release(place);
                self.store_failed(&error);
                self.queue_store(key, first);
            }
        }
    }
}

/// Topics looked at in one turn for something to store.
const STORE_TOPICS_PER_TURN: usize = 256;
/// Segments waiting to be stored at which no more are added.
const STORE_QUEUE_MAX: usize = 64;
/// Time in milliseconds between two looks for store files of which little is wanted.
const TIDY_PAUSE_MS: u64 = 250;
/// Bits of the tickets of reads and writes.
const TICKETS: u32 = (1 << 30) - 1;
