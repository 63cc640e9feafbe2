//! What the entries of all files, one after the other, say about each topic.
//!
//! Nothing is decided here: who exists, which messages are wanted and where they are found out
//! when everything was read.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::blocks::Piece;
use super::ranges::Ranges;
use crate::disk::{Place, Role};
use crate::journal::entry::Run;
use crate::journal::file::FileHeader;
use crate::journal::scan::Entry;
use crate::journal::state::{ChannelPart, ChannelState, Outstanding, Range, TopicState};
use crate::log::record::Salt;
use crate::sequences::SequenceSet;
use crate::wire::names::Name;

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) topics: BTreeMap<Name, TopicLog>,
    /// The last start of the broker that wrote anything into a journal.
    pub(super) newest: u64,
}

/// Whether a topic or channel exists, as far as journals say so.
///
/// A file may stay long after those behind it are gone, for the sake of one topic. What it says
/// of others is out of date, perhaps up to their deletion: only what the last start wrote counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mention {
    generation: u64,
    deleted: bool,
}

impl Mention {
    fn note(&mut self, from: &FileHeader, deleted: bool) {
        if from.role == Role::Journal {
            *self = Mention { generation: from.generation, deleted };
        }
    }

    /// Whether it exists although the metadata do not know it.
    pub(super) fn is_alive(self, newest: u64) -> bool {
        !self.deleted && self.generation > 0 && self.generation == newest
    }
}

/// One topic.
#[derive(Debug, Default)]
pub(super) struct TopicLog {
    pub(super) pieces: Vec<Piece>,
    /// Messages below went with an earlier topic of this name.
    pub(super) floor: u64,
    pub(super) handed: Option<u64>,
    /// The next message's sequence number.
    pub(super) head: u64,
    pub(super) channels: BTreeMap<Name, ChannelLog>,
    /// Parts of a channel's snapshot that is not complete yet.
    parts: Vec<(Name, ChannelPart)>,
    /// Messages below were the channels' when the topic's state was written last.
    given: u64,
    /// Messages below were the channels' when one was deleted last.
    pub(super) left_at: u64,
    pub(super) mention: Mention,
    /// What is finished is wanted as well.
    pub(super) keeps: bool,
}

/// One channel.
#[derive(Debug, Default)]
pub(super) struct ChannelLog {
    /// All below that is not outstanding is finished.
    pub(super) base: u64,
    /// All from here on was never delivered.
    pub(super) top: u64,
    /// All below that is not finished was delivered at least once, unless more is noted of it.
    pub(super) delivered: u64,
    /// A deferred message between the base and this is finished, unless it is noted: the channel
    /// had it, and nothing else tells of one that is finished ahead of the cursor.
    pub(super) given: u64,
    /// Finished from the base on, or not wanted.
    pub(super) done: Ranges,
    /// What was said of messages that are not finished, by sequence.
    pub(super) noted: BTreeMap<u64, Outstanding>,
    /// Not finished either: kept back for as long as their records say.
    pub(super) kept: SequenceSet,
    pub(super) mention: Mention,
}

impl Replay {
    /// Takes in what comes next.
    pub(super) fn apply(&mut self, entry: Entry, from: &FileHeader) {
        if from.role == Role::Journal {
            self.newest = self.newest.max(from.generation);
        }
        match entry {
            Entry::Run(run, place) => self.run(run, place, from),
            Entry::Topic { topic, state } => self.topic(topic).snapshot(state, from),
            Entry::TopicDeleted { topic, floor } => self.topic(topic).delete(floor, from),
            Entry::ChannelPart { topic, channel, number, part } => {
                self.topic(topic).take_part(channel, number, part);
            }
            Entry::Channel { topic, channel, state, parts } => {
                self.topic(topic).snapshot_channel(channel, state, parts, from);
            }
            Entry::Index { .. } => {}
            Entry::ChannelDeleted { topic, channel } => {
                self.topic(topic).delete_channel(channel, from);
            }
            Entry::Delivered { topic, channel, cursor } => {
                self.topic(topic).changed(channel, from, |channel| channel.deliver(cursor));
            }
            Entry::Finished { topic, channel, ranges } => {
                self.topic(topic).changed(channel, from, |channel| channel.finish(&ranges));
            }
            Entry::Requeued { topic, channel, list } => {
                self.topic(topic).changed(channel, from, |channel| channel.requeue(&list));
            }
        }
    }

    /// The run that was taken in last was the last entry of its file.
    pub(super) fn file_ends(&mut self, last_run: Option<(Name, Place)>) {
        let Some((topic, place)) = last_run else { return };
        let piece = self.topics.get_mut(&topic).and_then(|log| log.pieces.last_mut());
        if let Some(piece) = piece.filter(|piece| piece.place == place) {
            piece.is_last = true;
        }
    }

    fn topic(&mut self, name: Name) -> &mut TopicLog {
        self.topics.entry(name).or_default()
    }

    fn run(&mut self, run: Run, place: Place, from: &FileHeader) {
        let log = self.topic(run.topic);
        if run.last < log.floor {
            return;
        }
        log.mention.note(from, false);
        log.head = log.head.max(run.last.saturating_add(1));
        log.pieces.push(Piece {
            first: run.first,
            last: run.last,
            count: run.count,
            place,
            salt: Salt::of(&run.topic),
            deferred: run.deferred,
            in_journal: from.role == Role::Journal,
            is_cut: place.bytes < run.bytes,
            is_last: false,
        });
    }
}

impl TopicLog {
    fn snapshot(&mut self, state: TopicState, from: &FileHeader) {
        self.mention.note(from, false);
        self.handed = state.handed;
        self.given = state.handed.unwrap_or(state.head);
        self.head = self.head.max(state.head);
    }

    /// Parts of one snapshot are one behind the other.
    fn take_part(&mut self, channel: Name, number: u64, part: ChannelPart) {
        if number == 0 {
            self.parts.clear();
        }
        if self.parts.len() as u64 == number {
            self.parts.push((channel, part));
        }
    }

    fn snapshot_channel(
        &mut self,
        name: Name,
        mut state: ChannelState,
        parts: u64,
        from: &FileHeader,
    ) {
        self.mention.note(from, false);
        let given = self.given;
        let of_it = core::mem::take(&mut self.parts);
        let whole = parts == 0
            || of_it.len() as u64 == parts && of_it.iter().all(|(channel, _)| *channel == name);
        let channel = self.channels.entry(name).or_default();
        if !whole {
            // What a part that is missing lists would be taken for finished: what was known
            // before says more.
            return channel.mention.note(from, false);
        }
        if parts > 0 {
            state.complete(of_it.into_iter().map(|(_, part)| part));
        }
        channel.snapshot(state, given, from);
    }

    fn delete(&mut self, floor: u64, from: &FileHeader) {
        self.floor = self.floor.max(floor);
        self.pieces.retain(|piece| piece.last >= floor);
        self.head = self.head.max(floor);
        self.handed = None;
        self.channels.clear();
        (self.given, self.left_at) = (0, 0);
        // A new topic of this name may be further along in the same append.
        self.mention.note(from, self.pieces.is_empty());
    }

    fn delete_channel(&mut self, name: Name, from: &FileHeader) {
        self.left_at = self.handed.unwrap_or(self.head);
        let mut gone = ChannelLog { base: self.left_at, top: self.left_at, ..Default::default() };
        gone.mention.note(from, true);
        self.channels.insert(name, gone);
    }

    fn changed(&mut self, name: Name, from: &FileHeader, change: impl FnOnce(&mut ChannelLog)) {
        let channel = self.channels.entry(name).or_default();
        // Only a snapshot makes a channel anew.
        let deleted = channel.mention.deleted;
        channel.mention.note(from, deleted);
        change(channel);
    }
}

impl ChannelLog {
    fn snapshot(&mut self, state: ChannelState, given: u64, from: &FileHeader) {
        let (cursor, kept) = (state.cursor, state.kept);
        *self = ChannelLog { base: cursor, top: cursor, given, kept, ..ChannelLog::default() };
        self.mention.note(from, false);
        self.noted.extend(state.outstanding.iter().map(|message| (message.sequence, *message)));
        state.skips.iter().for_each(|&skip| self.pass(skip));
    }

    fn deliver(&mut self, cursor: u64) {
        self.delivered = self.delivered.max(cursor);
        self.top = self.top.max(cursor);
    }

    fn finish(&mut self, ranges: &[Range]) {
        for &range in ranges {
            self.pass(range);
            self.top = self.top.max(range.last.saturating_add(1));
        }
    }

    /// None of these is wanted any more.
    fn pass(&mut self, range: Range) {
        let Range { first, last } = range;
        if first > last {
            return;
        }
        while let Some((&sequence, _)) = self.noted.range(first..=last).next() {
            self.noted.remove(&sequence);
        }
        self.kept.remove_range(range);
        self.done.insert(Range { first: first.max(self.base), last });
    }

    fn requeue(&mut self, list: &[Outstanding]) {
        for message in list {
            let sequence = message.sequence;
            let known = self.noted.contains_key(&sequence) || self.kept.contains(sequence);
            let finished = sequence < self.base && !known;
            if !finished && !self.done.contains(sequence) {
                self.kept.remove(sequence);
                self.noted.insert(sequence, *message);
                self.top = self.top.max(sequence.saturating_add(1));
            }
        }
    }

    /// Whether it may deliver any of these messages.
    pub(super) fn wants(&self, range: Range) -> bool {
        let ahead = Range { first: range.first.max(self.base), last: range.last };
        (ahead.first <= ahead.last && !self.done.covers(ahead))
            || self.noted.range(range.first..=range.last).next().is_some()
            || self.kept.next(range.first).is_some_and(|kept| kept <= range.last)
    }

    /// All messages that it knows of are below.
    pub(super) fn end(&self) -> u64 {
        let noted = self.noted.last_key_value().map_or(0, |(&last, _)| last.saturating_add(1));
        let kept = self.kept.last().map_or(0, |last| last.saturating_add(1));
        self.top.max(self.done.end()).max(noted).max(kept)
    }
}
