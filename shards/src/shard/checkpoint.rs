//! Getting the oldest journal file back: what it still covers goes to the store, where topics and
//! channels stand is written down anew, and when both are synced the file is free.
//!
//! The same is done for all topics at once when the broker stops.

use alloc::vec::Vec;

use super::Shard;
use crate::disk::{DiskError, DiskRequest};
use crate::limits::{
    CHECKPOINT_TOPICS_PER_TURN, Durability, JOURNAL_FILES_STEADY, JOURNAL_RETRY_MS,
};
use crate::log::{Cold, Segment, UNCOVERED};
use crate::slots::Key;
use crate::topic::Topic;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    stage: Stage,
    /// The journal file that is to be free; all files when the broker stops.
    file: u32,
    /// Where topics stand is written down in this journal file and in later ones.
    noted_from: u32,
    /// Topics that may depend on it.
    topics: Vec<Key>,
    /// Syncs that are not answered, by ticket and file, and whether one of them failed.
    tickets: Vec<(u32, u32)>,
    failed: bool,
    last_ticket: u32,
    retry_at_ms: u64,
    /// The journal file during which it was last tried to free the oldest one at no cost.
    looked_at: u32,
    /// Some shard got no file for want of space: what can be free at no cost is to be free. When it
    /// was last tried for that.
    disk_is_short: bool,
    looked_ms: u64,
    /// Files of earlier starts.
    old_files: OldFiles,
    /// Other shards may need these, too, with messages of ours in them.
    others_have_old_files: bool,
}

/// Files of earlier starts, of all shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OldFiles {
    /// Stores: messages only.
    pub stores: Vec<u32>,
    /// Journals: messages, and what became of them.
    pub journals: Vec<u32>,
}

impl OldFiles {
    /// In the order in which they go: messages before what says that they are finished.
    fn drain(&mut self) -> impl Iterator<Item = u32> {
        self.stores.drain(..).chain(self.journals.drain(..))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    /// Topics are stored and written down.
    Topics,
    /// What was written down is in the journal at the end of this turn.
    Noted,
    /// Syncs are under way.
    Syncing,
    /// Everything is on the disk, and nothing more comes.
    Stopped,
}

/// The file of a checkpoint before the broker stops.
const ALL: u32 = UNCOVERED - 1;
/// The file of the first checkpoint: no journal of ours, but all files of earlier starts.
const OLD: u32 = 0;

impl Shard {
    /// Begins to put everything on the disk that is to outlast the process. Nothing may arrive any
    /// more; turns go on until [`Shard::is_stopped`].
    pub fn begin_stop(&mut self) {
        if self.journal.files.is_empty() && self.topics.iter().all(|(_, topic)| topic.is_idle()) {
            self.checkpoint.stage = Stage::Stopped;
            return;
        }
        for (_, file) in self.checkpoint.tickets.drain(..) {
            self.space.store.not_synced(file);
        }
        self.checkpoint.topics = self.topics.iter().map(|(key, _)| key).collect();
        self.checkpoint.failed = false;
        self.checkpoint.file = ALL;
        self.checkpoint.noted_from = 0;
        self.checkpoint.stage = Stage::Topics;
    }

    /// Whether all that is to outlast the process is on the disk.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        !self.journal.enabled || self.checkpoint.stage == Stage::Stopped
    }

    /// Whether nothing is delivered any more.
    pub(super) fn is_stopping(&self) -> bool {
        self.checkpoint.file == ALL
    }

    /// One turn's work on a checkpoint. Comes before the turn is written down.
    pub(super) fn checkpoint(&mut self) {
        if self.journal.trouble.is_some() && self.drop_idle_files() {
            return;
        }
        match self.checkpoint.stage {
            Stage::Idle => self.begin_checkpoint(),
            Stage::Topics => self.checkpoint_topics(),
            Stage::Noted if !self.journal.is_empty_handed() => {}
            Stage::Noted => self.sync_checkpoint(),
            Stage::Syncing | Stage::Stopped => {}
        }
    }

    /// Whether a checkpoint goes on in the next turn without being told to.
    pub(super) fn is_checkpointing(&self) -> bool {
        match self.checkpoint.stage {
            Stage::Idle | Stage::Syncing | Stage::Stopped => false,
            Stage::Noted => self.journal.is_empty_handed(),
            Stage::Topics => !self.is_storing() && !self.is_loading(),
        }
    }

    /// When a checkpoint that failed is tried again.
    pub(super) fn checkpoint_deadline_ms(&self) -> Option<u64> {
        let retry_at_ms = self.checkpoint.retry_at_ms;
        let waits = self.checkpoint.stage == Stage::Idle && self.now.mono_ms < retry_at_ms;
        waits.then_some(retry_at_ms)
    }

    fn begin_checkpoint(&mut self) {
        if self.free_what_is_finished() {
            return;
        }
        let files = &self.journal.files;
        let many = files.len() > self.options.journal_files_max / 2;
        let broken = files.iter().any(|file| file.broken);
        let waits = self.now.mono_ms < self.checkpoint.retry_at_ms;
        if waits || !(many || broken || self.journal.short) {
            return;
        }
        let files = &self.journal.files;
        let oldest = files.front().filter(|_| files.len() > 1);
        let Some(number) = oldest.map(|file| file.number) else { return };
        self.checkpoint.topics = self.topics_covered_by(number);
        self.checkpoint.file = number;
        self.checkpoint.noted_from = files.back().map_or(0, |file| file.number);
        self.checkpoint.stage = Stage::Topics;
        self.checkpoint_topics();
    }

    /// Frees the oldest journal file without storing anything, when no message that it covers is
    /// still wanted: the common case, and the reason why the journal of a broker in steady flow
    /// stays small. All that has to be synced is the little that the newest file has by then.
    fn free_what_is_finished(&mut self) -> bool {
        let files = &self.journal.files;
        let Some(number) = files.front().map(|file| file.number) else { return false };
        let wanted = self.checkpoint.disk_is_short
            && self.now.mono_ms >= self.checkpoint.looked_ms + JOURNAL_RETRY_MS;
        let last = files.back().map_or(0, |file| file.number);
        let again = self.checkpoint.looked_at == last && !wanted;
        let few = if wanted { files.len() < 2 } else { files.len() < JOURNAL_FILES_STEADY };
        let plain = !self.space.store.has_given_up() && !files.iter().any(|file| file.broken);
        // Somebody waits for the sync of what is in it.
        let waited = files.front().is_some_and(|file| file.unsynced) && self.promises.are_waiting();
        if again || few || !plain || waited {
            return false;
        }
        // Once for each file that is begun, or now and then while others have none.
        self.checkpoint.looked_at = last;
        self.checkpoint.looked_ms = self.now.mono_ms;
        let unstored =
            |topic: &Topic| topic.log.segments().any(|s| s.is_homeless() && s.journal <= number);
        if self.topics.iter().any(|(_, topic)| topic.journal_from <= number && unstored(topic)) {
            return false;
        }
        self.topics_covered_by(number).into_iter().for_each(|key| self.renew(key));
        self.checkpoint.file = number;
        self.checkpoint.noted_from = self.journal.files.back().map_or(0, |file| file.number);
        self.checkpoint.stage = Stage::Noted;
        true
    }

    /// The topics that depend on a journal file, or on an older one.
    fn topics_covered_by(&self, number: u32) -> Vec<Key> {
        let covered = self.topics.iter().filter(|(_, topic)| topic.journal_from <= number);
        covered.map(|(key, _)| key).collect()
    }

    /// Writes down where a topic stands: from now on it depends on what is not stored, and on that.
    fn renew(&mut self, key: Key) {
        if let Some(topic) = self.topics.get_mut(key) {
            let unstored = topic.log.segments().filter(|segment| segment.is_homeless());
            topic.journal_from = unstored.map(|segment| segment.journal).min().unwrap_or(UNCOVERED);
        }
        self.note_whole_topic(key);
    }

    /// Gives up all files when there is no message: on a full disk that makes room. False when
    /// there is one, or when journals have to stay: where other shards still need files of earlier
    /// starts, it is our journals, old ones and new, that say that nothing in them is wanted.
    ///
    /// They go in an order that may be cut off anywhere: messages before what says that they are
    /// finished. So stores come first, then journals, the oldest of them first.
    fn drop_idle_files(&mut self) -> bool {
        let busy = matches!(self.checkpoint.stage, Stage::Syncing | Stage::Stopped);
        let busy = busy || self.is_storing() || self.is_loading();
        if busy || !self.topics.iter().all(|(_, topic)| topic.is_idle()) {
            return false;
        }
        let stopping = self.checkpoint.file == ALL;
        let says_nothing = self.topics.iter().next().is_none();
        let Shard { journal, checkpoint, space, .. } = self;
        let mut gone: Vec<u32> = space.store.abandon().into_iter().collect();
        gone.extend(checkpoint.old_files.stores.extract_if(.., |file| space.store.let_go(*file)));
        let all = says_nothing || !checkpoint.others_have_old_files;
        if all {
            gone.extend(checkpoint.old_files.drain().filter(|&file| space.store.let_go(file)));
            gone.extend(journal.files.drain(..).map(|file| file.number));
            journal.forget_notes();
        }
        if all || stopping {
            checkpoint.stage = if stopping { Stage::Stopped } else { Stage::Idle };
        }
        space.requests.extend(gone.into_iter().map(DiskRequest::Release));
        all || stopping
    }

    /// Whether the last file that a shard asked for was not to be had for want of space. Then one
    /// with little to do lets go of journals that another could use.
    pub fn disk_is_short(&mut self, is_short: bool) {
        self.checkpoint.disk_is_short = is_short;
    }

    /// Whether it makes a difference now if other shards still need files of earlier starts.
    #[must_use]
    pub fn watches_old_files(&self) -> bool {
        self.checkpoint.others_have_old_files && self.journal.trouble.is_some()
    }

    /// No shard needs files of earlier starts any more.
    pub fn old_files_are_gone(&mut self) {
        self.checkpoint.others_have_old_files = false;
    }

    fn checkpoint_topics(&mut self) {
        let mut left = CHECKPOINT_TOPICS_PER_TURN;
        let mut waiting = Vec::new();
        while left > 0
            && let Some(key) = self.checkpoint.topics.pop()
        {
            left -= 1;
            if !self.checkpoint_topic(key) {
                waiting.push(key);
            }
        }
        self.checkpoint.topics.append(&mut waiting);
        if self.checkpoint.topics.is_empty() {
            self.checkpoint.stage = Stage::Noted;
        }
    }

    /// Frees the file of a topic. False when that takes longer.
    fn checkpoint_topic(&mut self, key: Key) -> bool {
        let file = self.checkpoint.file;
        let stopping = file == ALL;
        let found = self.leave_given_up(key);
        let Some(topic) = self.topics.get_mut(key).filter(|topic| topic.is_kept()) else {
            return true;
        };
        // What is journaled need not be stored for a stop: the journal stays, if it can be trusted.
        let spoiled = self.journal.files.iter().any(|file| file.spoiled);
        let all = stopping && (spoiled || topic.durability == Durability::Memory);
        let covered = |journal: u32| all || journal == 0 || (!stopping && journal <= file);
        if topic.log.segments().last().is_some_and(|last| covered(last.journal)) {
            topic.log.seal_last();
        }
        let needed = topic.log.segments().filter(|s| s.is_homeless() && covered(s.journal));
        let needed: Vec<u64> = needed.map(|segment| segment.first).collect();
        for &first in &needed {
            self.queue_store(key, first);
        }
        if !needed.is_empty() || !found {
            return false;
        }
        self.renew(key);
        true
    }

    fn sync_checkpoint(&mut self) {
        if self.journal.has_missed() {
            return self.checkpoint_failed();
        }
        let Checkpoint { file, noted_from, .. } = self.checkpoint;
        let journals = self.journal.files.iter().filter(|journal| journal.number >= noted_from);
        let spoiled = journals.clone().any(|journal| journal.spoiled);
        if spoiled && file != ALL {
            return self.checkpoint_failed();
        }
        // Before a stop, what a spoiled file covers is in stores.
        let journals = journals.filter(|journal| !journal.spoiled).map(|journal| journal.number);
        for file in self.space.store.take_unsynced().into_iter().chain(journals) {
            self.checkpoint.last_ticket = (self.checkpoint.last_ticket + 1) & TICKETS;
            let ticket = self.checkpoint.last_ticket | CHECKPOINT_TICKET;
            self.checkpoint.tickets.push((ticket, file));
            self.space.requests.push_back(DiskRequest::Sync { ticket, file });
        }
        self.checkpoint.stage = Stage::Syncing;
        self.end_checkpoint();
    }

    /// A sync of a checkpoint is done.
    pub(super) fn checkpoint_synced(&mut self, ticket: u32, result: Result<(), DiskError>) {
        let mut tickets = self.checkpoint.tickets.iter();
        let Some(index) = tickets.position(|&(other, _)| other == ticket) else { return };
        let (_, number) = self.checkpoint.tickets.swap_remove(index);
        let journal = self.journal.synced(number, result.is_ok());
        self.checkpoint.failed |= !journal.unwrap_or(result.is_ok());
        match (journal, result) {
            (Some(_), Err(error)) => {
                self.journal_failed(&error);
                self.refuse_next_sync(&error.text);
            }
            (None, Err(_)) => self.move_out_of(number),
            (_, Ok(())) => {}
        }
        self.end_checkpoint();
    }

    fn end_checkpoint(&mut self) {
        if self.checkpoint.stage != Stage::Syncing || !self.checkpoint.tickets.is_empty() {
            return;
        }
        if core::mem::take(&mut self.checkpoint.failed) {
            return self.checkpoint_failed();
        }
        if self.checkpoint.file == ALL {
            self.checkpoint.stage = Stage::Stopped;
            return;
        }
        if self.checkpoint.file == OLD {
            self.checkpoint.stage = Stage::Idle;
            for file in core::mem::take(&mut self.checkpoint.old_files).drain() {
                if self.space.store.let_go(file) {
                    self.space.requests.push_back(DiskRequest::Release(file));
                }
            }
        } else {
            self.free_oldest();
        }
    }

    /// The oldest journal file is not needed any more.
    fn free_oldest(&mut self) {
        self.checkpoint.stage = Stage::Idle;
        if self.journal.has_missed() {
            return;
        }
        if let Some(freed) = self.journal.files.pop_front() {
            self.checkpoints += 1;
            self.space.requests.push_back(DiskRequest::Release(freed.number));
        }
    }

    /// What was restored is written down anew in this turn: then these files are not needed for
    /// it any more.
    pub(super) fn replace_old_files(&mut self, files: OldFiles) {
        let all = files.stores.iter().chain(&files.journals);
        all.for_each(|&file| self.space.store.hold(file));
        self.checkpoint.others_have_old_files =
            self.placement.shards > 1 && files != OldFiles::default();
        self.checkpoint.old_files = files;
        self.checkpoint.file = OLD;
        self.checkpoint.stage = Stage::Noted;
    }

    /// Tries again after a while. What was written down of topics may not be on the disk: they
    /// depend on all that they did before, or the next checkpoint would pass them over.
    fn checkpoint_failed(&mut self) {
        let stopping = self.checkpoint.file == ALL;
        let keys: Vec<Key> = self.topics.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(topic) = self.topics.get_mut(key) {
                topic.journal_from = topic.journal_from.min(self.checkpoint.file);
            }
        }
        self.checkpoint.retry_at_ms = self.now.mono_ms + JOURNAL_RETRY_MS;
        self.checkpoint.stage = Stage::Idle;
        if stopping {
            self.begin_stop();
        } else if self.checkpoint.file == OLD {
            self.checkpoint.noted_from = self.journal.files.back().map_or(0, |file| file.number);
            self.checkpoint.topics = self.topics.iter().map(|(key, _)| key).collect();
            self.checkpoint.stage = Stage::Topics;
        }
    }

    /// Little of a store file is wanted: what is in memory of that is stored elsewhere, and the
    /// rest is read, for the next time.
    pub(super) fn thin_out(&mut self, file: u32) {
        self.thin_out_indexes(file);
        let keys: Vec<Key> = self.topics.iter().map(|(key, _)| key).collect();
        for key in keys {
            let Some(topic) = self.topics.get_mut(key) else { continue };
            let (mut moved, mut cold) = (Vec::new(), Vec::new());
            for segment in topic.log.segments_mut() {
                let here = segment.home.filter(|home| home.file == file);
                let Some(place) = here else { continue };
                if segment.is_resident() {
                    segment.home = None;
                    segment.replaces.push(place);
                    moved.push(segment.first);
                } else {
                    cold.push(Cold { first: segment.first });
                }
            }
            moved.into_iter().for_each(|first| self.queue_store(key, first));
            cold.into_iter().for_each(|cold| self.want(key, cold));
        }
    }

    /// A store file cannot be trusted any more: what is in it is stored elsewhere before anything
    /// else is given up for it.
    pub(super) fn move_out_of(&mut self, file: u32) {
        if self.space.store.give_up(file) {
            self.space.requests.push_back(DiskRequest::Release(file));
        }
        let keys: Vec<Key> = self.topics.iter().map(|(key, _)| key).collect();
        for key in keys {
            let Some(topic) = self.topics.get_mut(key) else { continue };
            let here = |segment: &Segment| segment.home.is_some_and(|home| home.file == file);
            if topic.log.segments().any(here) {
                topic.journal_from = 0;
            }
        }
    }

    /// Has a topic's segments forget places that cannot be trusted. False when some have to be
    /// read first.
    fn leave_given_up(&mut self, key: Key) -> bool {
        let Shard { topics, space, .. } = self;
        let Some(topic) = topics.get_mut(key) else { return true };
        let mut cold = Vec::new();
        for segment in topic.log.segments_mut() {
            let Some(home) = segment.home.filter(|home| space.store.is_given_up(home.file)) else {
                continue;
            };
            if segment.is_resident() {
                segment.home = None;
                segment.replaces.push(home);
                segment.journal = 0;
            } else {
                cold.push(Cold { first: segment.first });
            }
        }
        cold.iter().for_each(|&cold| self.want(key, cold));
        cold.is_empty()
    }
}

const TICKETS: u32 = (1 << 30) - 1;
/// Set in the tickets of a checkpoint's syncs.
const CHECKPOINT_TICKET: u32 = 1 << 30;
