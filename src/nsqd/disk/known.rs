//! The files that a shard has: its own, and those of an earlier start that it needs.
//!
//! There may be hundreds, so most are closed: one is opened when it is to be read, and closed when
//! too many others were used since. What is written to stays open until it is synced.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use shards::disk::{DiskRequest, Role};

use super::limits::IDLE_OPEN_FILES_MAX;
use super::shared::Shared;

/// A file of the shard.
#[derive(Debug)]
pub(super) struct Known {
    pub role: Role,
    /// The shard's hold on a file of an earlier start; its own files have none.
    pub shared: Option<Shared>,
    pub access: Access,
    /// Writes that were asked for, and how many of them the last sync covers that was asked for.
    writes: u64,
    covered: u64,
    /// There may be writes that no sync has covered.
    dirty: bool,
    /// When it was last used, counted in uses.
    used: u64,
}

/// Whether a file can be read and written just now.
#[derive(Debug)]
pub(super) enum Access {
    Closed,
    /// With what is to be done then.
    Opening(Vec<DiskRequest>),
    Open(Arc<File>),
}

impl Known {
    /// Whether it stays open: appends cannot wait for an open, and a sync is to hear of what
    /// became of writes.
    fn is_pinned(&self) -> bool {
        self.dirty || (self.shared.is_none() && self.role == Role::Journal)
    }

    /// A write is asked for.
    pub fn written(&mut self) {
        self.writes += 1;
        self.dirty = true;
    }

    /// A sync is asked for.
    pub fn syncing(&mut self) {
        self.covered = self.writes;
    }

    /// A sync went well. If it was not the last one, the file is busy until that is over.
    pub fn synced(&mut self) {
        self.dirty = self.writes != self.covered;
    }

    /// Whether something is being done with it.
    pub fn is_busy(&self) -> bool {
        match &self.access {
            Access::Closed => false,
            Access::Opening(_) => true,
            // The ring has the other handles.
            Access::Open(file) => Arc::strong_count(file) > 1,
        }
    }

    fn is_idle(&self) -> bool {
        matches!(self.access, Access::Open(_)) && !self.is_pinned() && !self.is_busy()
    }
}

/// The table of them.
#[derive(Debug, Default)]
pub(super) struct KnownFiles {
    files: HashMap<u32, Known>,
    uses: u64,
}

impl KnownFiles {
    /// Takes in a file that was made for the shard.
    pub fn insert_own(&mut self, number: u32, role: Role, file: File) {
        self.insert(number, role, None, Access::Open(Arc::new(file)));
        self.close_idle();
    }

    /// Takes in a file of an earlier start.
    pub fn insert_shared(&mut self, shared: Shared) {
        self.insert(shared.number(), shared.role(), Some(shared), Access::Closed);
    }

    fn insert(&mut self, number: u32, role: Role, shared: Option<Shared>, access: Access) {
        self.uses += 1;
        let (used, dirty) = (self.uses, false);
        let known = Known { role, shared, access, writes: 0, covered: 0, dirty, used };
        assert!(self.files.insert(number, known).is_none(), "there are two files {number}");
    }

    /// A file, which counts as used now.
    pub fn use_file(&mut self, number: u32) -> Option<&mut Known> {
        let known = self.files.get_mut(&number)?;
        self.uses += 1;
        known.used = self.uses;
        Some(known)
    }

    pub fn get(&self, number: u32) -> Option<&Known> {
        self.files.get(&number)
    }

    pub fn get_mut(&mut self, number: u32) -> Option<&mut Known> {
        self.files.get_mut(&number)
    }

    pub fn remove(&mut self, number: u32) -> Option<Known> {
        self.files.remove(&number)
    }

    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Closes what was not used for the longest time, until few enough are open for no reason.
    pub fn close_idle(&mut self) {
        let idle = || self.files.iter().filter(|(_, known)| known.is_idle());
        let mut idle: Vec<(u64, u32)> =
            idle().map(|(&number, known)| (known.used, number)).collect();
        if idle.len() <= IDLE_OPEN_FILES_MAX {
            return;
        }
        idle.sort_unstable();
        for (_, number) in &idle[..idle.len() - IDLE_OPEN_FILES_MAX] {
            if let Some(known) = self.files.get_mut(number) {
                known.access = Access::Closed;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shards::disk::Role;

    use super::{Access, IDLE_OPEN_FILES_MAX, KnownFiles};

    fn is_open(files: &KnownFiles, number: u32) -> bool {
        matches!(files.get(number).unwrap().access, Access::Open(_))
    }

    fn insert(files: &mut KnownFiles, numbers: std::ops::Range<u32>, role: Role) {
        for number in numbers {
            files.insert_own(number, role, tempfile::tempfile().unwrap());
        }
    }

    #[test]
    fn what_was_not_used_for_long_is_closed_unless_it_is_needed() {
        let max = IDLE_OPEN_FILES_MAX as u32;
        let mut files = KnownFiles::default();
        insert(&mut files, 0..3, Role::Journal);
        insert(&mut files, 10..14, Role::Store);
        files.get_mut(10).unwrap().written();
        let Access::Open(busy) = &files.get(11).unwrap().access else { panic!("not open") };
        let busy = busy.clone();
        insert(&mut files, 100..100 + max - 1, Role::Store);
        assert!(!is_open(&files, 12) && is_open(&files, 13), "the older one is closed");
        files.use_file(13).unwrap();
        insert(&mut files, 300..300 + max - 1, Role::Store);
        assert!(is_open(&files, 13) && !is_open(&files, 100 + max - 2), "a use counts");
        for number in [0, 1, 2, 10, 11] {
            assert!(is_open(&files, number), "{number} is needed");
        }
        drop(busy);
        files.get_mut(10).unwrap().syncing();
        files.get_mut(10).unwrap().synced();
        files.close_idle();
        assert!(!is_open(&files, 10) && !is_open(&files, 11) && is_open(&files, 13));
    }

    #[test]
    fn a_sync_covers_what_was_written_before_it_was_asked_for() {
        let mut files = KnownFiles::default();
        insert(&mut files, 1..2, Role::Store);
        let file = files.get_mut(1).unwrap();
        file.written();
        file.syncing();
        file.written();
        file.synced();
        assert!(file.is_pinned(), "the second write is not covered");
        file.syncing();
        assert!(file.is_pinned(), "the sync has not gone well yet");
        file.synced();
        assert!(!file.is_pinned());
    }
}
