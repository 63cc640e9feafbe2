//! Who gets the journal's room when it runs short.
//!
//! On a disk that is slower than what is published, room comes back a file at a time, and whoever
//! publishes most would take all of it at once: everybody else would wait for the next file. So
//! the first half of a file that has none behind it is anybody's. What follows is kept for those
//! who took no more than their share since the file was begun, and the end of the file for what
//! becomes of messages, which never waits: finishes, requeues, deletions, where things stand.

use alloc::vec::Vec;

use super::Shard;
use crate::slots::Key;

/// Of a file, what publishes leave to state.
const STATE_PART: u32 = 8;

/// Who publishes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Publisher {
    /// A client of this shard.
    Client(Key),
    /// Whoever publishes here by way of this worker; by way of this one: HTTP, and channels whose
    /// messages go to another topic.
    Worker(u16),
}

/// What somebody published since a file of the journal was begun.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    file: u32,
    bytes: u64,
}

/// What all took.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// The journal file that is written to.
    file: u32,
    /// How many published since it was begun.
    publishers: u64,
    /// What came by way of other workers.
    workers: Vec<Taken>,
    /// Bytes of publishes that are to be in the file at the end of the turn.
    pub(super) coming_bytes: u64,
}

impl Shares {
    /// Another file is written to.
    pub(super) fn begin(&mut self, file: u32) {
        (self.file, self.publishers) = (file, 0);
    }

    /// Somebody who took so much before publishes so many bytes here.
    pub(super) fn add(&mut self, taken: &mut Taken, bytes: usize) {
        if taken.file != self.file || taken.bytes == 0 {
            *taken = Taken { file: self.file, bytes: 0 };
            self.publishers += 1;
        }
        taken.bytes += bytes as u64;
    }
}

impl Shard {
    /// So many bytes are published here by way of a worker.
    pub(super) fn take_share_of(&mut self, worker: u16, bytes: usize) {
        let (shares, worker) = (&mut self.journal.shares, usize::from(worker));
        if shares.workers.len() <= worker {
            shares.workers.resize(worker + 1, Taken::default());
        }
        let mut taken = shares.workers[worker];
        shares.add(&mut taken, bytes);
        shares.workers[worker] = taken;
    }

    /// Whether somebody who publishes so much more has taken no more than a fair share since the
    /// current file was begun. All such shares together are half of what is kept for them.
    pub(super) fn is_modest(&self, publisher: Publisher, bytes: usize) -> bool {
        let shares = &self.journal.shares;
        let taken = match publisher {
            Publisher::Client(key) => self.clients.get(key).map(|client| client.taken),
            Publisher::Worker(from) => shares.workers.get(usize::from(from)).copied(),
        };
        let taken = taken.filter(|taken| taken.file == shares.file);
        let taken_bytes = taken.map_or(0, |taken| taken.bytes);
        let file_bytes = self.options.journal_file_bytes;
        let kept_bytes = u64::from(file_bytes / 2 - file_bytes / STATE_PART);
        let share_bytes = kept_bytes / 2 / shares.publishers.max(1);
        // One that is not too large anybody may, however many there are.
        let first = taken_bytes == 0 && bytes as u64 <= kept_bytes / 16;
        first || taken_bytes + bytes as u64 <= share_bytes
    }

    /// Whether nobody has to wait for the journal.
    pub(super) fn journal_has_plenty(&self) -> bool {
        let most_bytes = u64::from(self.options.journal_file_bytes / 4);
        !self.journal.has_no_next() && self.journal.shares.coming_bytes < most_bytes
    }

    /// Whether publishing has to wait: for the first file, or because so much of the journal is in
    /// use that some of it has to be free again first.
    pub(super) fn journal_is_full(&mut self, is_modest: bool, bytes: usize) -> bool {
        if self.journal.files.is_empty() {
            return self.journal.has_no_next();
        }
        let file_bytes = self.options.journal_file_bytes;
        let coming_bytes = self.journal.shares.coming_bytes;
        if !self.journal.has_no_next() {
            // What a turn takes in is to fit into a file, with what others may add to it.
            let most_bytes = if is_modest { file_bytes / 2 } else { file_bytes / 4 };
            return coming_bytes >= u64::from(most_bytes);
        }
        // Another one that is allowed only has to come, unless the disk is slow at that, too.
        let may_come = self.journal.files.len() < self.options.journal_files_max;
        let room = match (is_modest, may_come) {
            (true, _) => file_bytes - file_bytes / STATE_PART,
            (false, true) => file_bytes - file_bytes / STATE_PART / 2 * 3,
            (false, false) => file_bytes / 2,
        };
        let used = self.journal.current().map(|file| u64::from(file.offset) + coming_bytes);
        used.is_none_or(|used| {
            // A large one may have all of a file, but not what is kept in this one.
            let reaches_far = used + bytes as u64 > u64::from(file_bytes / 4 * 3);
            used >= u64::from(room) || !is_modest && !may_come && reaches_far
        })
    }
}
