//! Places on the disk that others have taken the place of: they are given back when the others are
//! synced, so that a power cut finds one of the two.

use alloc::vec::Vec;

use super::Shard;
use crate::disk::{DiskError, DiskRequest, Place};
use crate::slots::Key;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Retiring {
    waiting: Vec<Retired>,
    /// Those that the sync under way is for, its ticket, and the file.
    syncing: Vec<Retired>,
    sync: Option<(u32, u32)>,
}

#[derive(Debug)]
struct Retired {
    topic: Key,
    first: u64,
    old: Place,
    /// The file of the new place.
    file: u32,
}

impl Retiring {
    /// The segment that starts with this message is in another file now.
    pub(super) fn add(&mut self, topic: Key, first: u64, file: u32, replaced: Vec<Place>) {
        let retired = |old| Retired { topic, first, old, file };
        self.waiting.extend(replaced.into_iter().map(retired));
    }

    /// Whether a ticket is that of its sync.
    pub(super) fn waits_for(&self, ticket: u32) -> bool {
        self.sync.is_some_and(|(waited, _)| waited == ticket)
    }
}

impl Shard {
    /// Syncs a file whose segments have taken the place of others, which are given back then.
    pub(super) fn retire(&mut self) {
        let Retiring { waiting, sync: None, .. } = &self.tiers.retiring else { return };
        let Some(file) = waiting.first().map(|retired| retired.file) else { return };
        let ticket = self.tiers.next_ticket();
        let Retiring { waiting, syncing, sync } = &mut self.tiers.retiring;
        syncing.extend(waiting.extract_if(.., |retired| retired.file == file));
        *sync = Some((ticket, file));
        self.space.requests.push_back(DiskRequest::Sync { ticket, file });
    }

    /// The sync of a file with segments in the place of others is done, or has failed.
    pub(super) fn retire_synced(&mut self, result: Result<(), DiskError>) {
        let Some((_, file)) = self.tiers.retiring.sync.take() else { return };
        let failed = result.is_err();
        if failed {
            self.move_out_of(file);
        }
        for Retired { topic, first, old, .. } in core::mem::take(&mut self.tiers.retiring.syncing) {
            let segment = self.topics.get_mut(topic).and_then(|topic| topic.log.by_first(first));
            match segment.filter(|_| failed) {
                Some(segment) => segment.replaces.push(old),
                None => self.space.release(old),
            }
        }
    }
}
