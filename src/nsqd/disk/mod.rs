//! The disk of one shard: carries out what the shard asks for, and tells it what came of it.
//!
//! Who does what: the journal is appended to right here, within the turn; reads, writes and syncs
//! go through the shard's ring (`ring/files.rs`) and come back in a later turn; files are made and
//! removed by the [`clerk`](Clerk), a thread that all shards share. Before there are shards,
//! [`listing`] puts the folder in order, [`FileReader`] and [`BlockWriter`] serve recovery, and
//! [`Shared`] counts who still needs a file of an earlier start.
//!
//! Every error goes to the shard, which knows what it means for whom; here it is only put into
//! words, counted, and logged once per cause.

mod append;
mod blocks;
mod clerk;
mod direct;
mod errors;
mod folder;
mod known;
pub mod limits;
pub mod listing;
mod make;
mod metrics;
mod names;
mod reader;
mod shared;
mod space;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Instant;

use shards::disk::{DiskError, DiskEvent, DiskRequest, Role};
use shards::page_buffer::PageBuffer;

use super::ring::{FileDone, FileOutcome, Ring};
pub use blocks::BlockWriter;
use clerk::Made;
pub use clerk::{Clerk, FileDesk};
use direct::bypass_cache;
use errors::{Complaints, failed};
pub use folder::Folder;
use known::{Access, KnownFiles};
pub use metrics::DiskMetrics;
pub use reader::FileReader;
pub use shared::Shared;
use shared::Watch;
pub use space::Space;
pub use usage::FolderUse;

/// The disk of one shard, on the shard's thread.
#[derive(Debug)]
pub struct Disk {
    folder: Arc<Folder>,
    desk: FileDesk,
    files: KnownFiles,
    /// Answers that the shard has not taken yet.
    events: VecDeque<DiskEvent>,
    /// Files that the shard does not need any more, but with which something is being done.
    releasing: Vec<u32>,
    /// Files of an earlier start that any shard still needs.
    old: Vec<Watch>,
    /// Files that were ordered and have not come.
    ordered: usize,
    complaints: Complaints,
    metrics: DiskMetrics,
}

impl Disk {
    /// The disk of the shard that `desk` belongs to, which has a hold on these files of an earlier
    /// start.
    pub fn new(folder: Arc<Folder>, desk: FileDesk, shared: Vec<Shared>) -> Disk {
        let mut files = KnownFiles::default();
        let old = shared.iter().map(Shared::watch).collect();
        shared.into_iter().for_each(|shared| files.insert_shared(shared));
        let quarantined = if desk.shard() == 0 { folder.quarantined() } else { 0 };
        Disk {
            metrics: DiskMetrics { quarantined, ..DiskMetrics::default() },
            folder,
            desk,
            files,
            events: VecDeque::new(),
            releasing: Vec::new(),
            old,
            ordered: 0,
            complaints: Complaints::default(),
        }
    }

    /// Writes all pieces, one after the other, to a file that was opened for this shard, at once.
    ///
    /// # Errors
    /// What the disk said. Anything may have been written then, of what is behind `offset`.
    pub fn append<'a>(
        &mut self,
        file: u32,
        offset: u32,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), DiskError> {
        let began = Instant::now();
        let result = match self.files.use_file(file).map(|known| &known.access) {
            Some(Access::Open(file)) => append::append(file, u64::from(offset), pieces),
            _ => Err(io::Error::from_raw_os_error(libc::EBADF)),
        };
        match result {
            Ok(bytes) => {
                self.metrics.appended(bytes, began.elapsed());
                Ok(())
            }
            Err(error) => Err(self.failed("append", file, &error)),
        }
    }

    /// Whether no shard needs a file of an earlier start any more.
    pub fn old_files_are_gone(&mut self) -> bool {
        self.old.retain(|file| !file.is_gone());
        self.old.is_empty()
    }

    /// Whether there was no space for the last file that a shard asked for.
    pub fn is_short(&self) -> bool {
        self.desk.is_short()
    }

    /// Starts what the shard asks for.
    pub fn submit(&mut self, request: DiskRequest, ring: &mut Ring) {
        match request {
            DiskRequest::Open { role, floor } => {
                self.folder.raise_sequence_floor(floor);
                self.ordered += 1;
                self.desk.order(role);
            }
            DiskRequest::Release(file) => self.release(file),
            DiskRequest::Write { file, .. } | DiskRequest::Sync { file, .. } => {
                self.transfer(file, request, ring);
            }
            DiskRequest::Read { place, .. } => self.transfer(place.file, request, ring),
        }
    }

    /// The next thing to tell the shard. To be asked in each turn, until there is none, after the
    /// ring's events.
    pub fn next_event(&mut self, ring: &mut Ring) -> Option<DiskEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if let Some(done) = ring.next_file_done() {
                self.file_done(done, ring);
            } else if let Some(made) = self.desk.next_answer() {
                self.made(made);
            } else {
                self.release_idle();
                return None;
            }
        }
    }

    /// Whether there is something to tell that the ring does not know of. To be asked between
    /// falling asleep and sleeping, as with a mailbox.
    pub fn has_news(&self) -> bool {
        !self.events.is_empty() || self.desk.has_answer()
    }

    /// Whether something that the shard asked for is not over.
    #[cfg(test)]
    pub fn is_busy(&self, ring: &Ring) -> bool {
        self.has_news() || self.ordered > 0 || ring.file_operations() > 0 || ring.has_file_done()
    }

    /// What was counted so far.
    pub fn metrics(&self) -> DiskMetrics {
        DiskMetrics { files: self.files.len() as u64, ..self.metrics }
    }

    /// Reads, writes or syncs, once the file is open.
    fn transfer(&mut self, file: u32, request: DiskRequest, ring: &mut Ring) {
        let Some(known) = self.files.use_file(file) else {
            return self.refuse(file, request, &io::Error::from_raw_os_error(libc::ENOENT));
        };
        match request {
            DiskRequest::Write { .. } => known.written(),
            DiskRequest::Sync { .. } => known.syncing(),
            _ => {}
        }
        match &mut known.access {
            Access::Open(open) => start(open.clone(), request, ring),
            Access::Opening(waiting) => waiting.push(request),
            Access::Closed => {
                let flags = if known.shared.is_some() { libc::O_RDONLY } else { libc::O_RDWR };
                let path = self.folder.path_of(file, known.role).into_os_string();
                let path =
                    CString::new(path.as_bytes()).expect("the folder was opened by its path");
                known.access = Access::Opening(vec![request]);
                ring.open_file(ticket(file, 0), path, flags);
            }
        }
    }

    fn file_done(&mut self, done: FileDone, ring: &mut Ring) {
        let (file, ticket) = ((done.ticket >> 32) as u32, done.ticket as u32);
        let event = match done.outcome {
            FileOutcome::Opened(result) => return self.opened(file, result, ring),
            FileOutcome::Read(result) => {
                let read = |bytes: &PageBuffer| self.metrics.read(bytes.len());
                let result =
                    result.inspect(read).map_err(|error| self.failed("read", file, &error));
                DiskEvent::Read { ticket, result }
            }
            FileOutcome::Written(content, result) => {
                let written = |()| self.metrics.written(content.len());
                let result =
                    result.map(written).map_err(|error| self.failed("write", file, &error));
                DiskEvent::Written { ticket, content, result }
            }
            FileOutcome::Synced(result) => {
                let synced = |()| self.metrics.synced(done.took);
                let result = result.map(synced).map_err(|error| self.failed("sync", file, &error));
                if let (Ok(()), Some(known)) = (&result, self.files.get_mut(file)) {
                    known.synced();
                }
                DiskEvent::Synced { ticket, result }
            }
        };
        self.events.push_back(event);
    }

    /// A file that was closed is open again, or cannot be opened.
    fn opened(&mut self, file: u32, result: io::Result<File>, ring: &mut Ring) {
        let Some(known) = self.files.use_file(file) else { return };
        let opening = std::mem::replace(&mut known.access, Access::Closed);
        let Access::Opening(waiting) = opening else {
            unreachable!("a file was opened without being asked for");
        };
        match result {
            Ok(open) => {
                if known.shared.is_none() && known.role == Role::Store {
                    bypass_cache(&open);
                }
                let open = Arc::new(open);
                known.access = Access::Open(open.clone());
                waiting.into_iter().for_each(|request| start(open.clone(), request, ring));
            }
            Err(error) => {
                waiting.into_iter().for_each(|request| self.refuse(file, request, &error));
            }
        }
        self.files.close_idle();
    }

    /// Answers a request that cannot even be started.
    fn refuse(&mut self, file: u32, request: DiskRequest, error: &io::Error) {
        let failed = self.failed("open", file, error);
        self.events.push_back(match request {
            DiskRequest::Read { ticket, .. } => DiskEvent::Read { ticket, result: Err(failed) },
            DiskRequest::Sync { ticket, .. } => DiskEvent::Synced { ticket, result: Err(failed) },
            DiskRequest::Write { ticket, content, .. } => {
                DiskEvent::Written { ticket, content, result: Err(failed) }
            }
            DiskRequest::Open { .. } | DiskRequest::Release(_) => {
                unreachable!("nothing to be opened")
            }
        });
    }

    /// A file that was ordered has come.
    fn made(&mut self, made: Made) {
        self.ordered -= 1;
        let result = made.result.map(|(opened, file)| {
            if made.role == Role::Store {
                bypass_cache(&file);
            }
            self.files.insert_own(opened.number, made.role, file);
            opened
        });
        self.metrics.errors += u64::from(result.is_err());
        self.events.push_back(DiskEvent::Opened(made.role, result));
    }

    /// Lets a file go, when nothing is done with it any more: it may be used again at once, and a
    /// write that is late must not hit what it is then.
    fn release(&mut self, file: u32) {
        match self.files.get(file) {
            Some(known) if known.is_busy() => self.releasing.push(file),
            Some(_) => self.let_go(file),
            None => tracing::warn!("disk: a shard released file {file}, which it did not have"),
        }
    }

    fn release_idle(&mut self) {
        let is_idle = |file: &mut u32| self.files.get(*file).is_none_or(|known| !known.is_busy());
        let idle: Vec<u32> = self.releasing.extract_if(.., is_idle).collect();
        idle.into_iter().for_each(|file| self.let_go(file));
    }

    fn let_go(&mut self, file: u32) {
        let Some(known) = self.files.remove(file) else { return };
        match known.shared {
            Some(shared) => shared.release(),
            None => self.desk.release(file, known.role),
        }
    }

    fn failed(&mut self, action: &'static str, file: u32, error: &io::Error) -> DiskError {
        self.metrics.errors += 1;
        let name = match self.files.get(file) {
            Some(known) => names::of_file(file, known.role),
            None => format!("file {file}"),
        };
        let failed = failed(action, &name, error);
        self.complaints.log(action, &failed);
        failed
    }
}

/// Hands a request to the ring.
fn start(open: Arc<File>, request: DiskRequest, ring: &mut Ring) {
    match request {
        DiskRequest::Read { ticket: number, place } => {
            let (offset, bytes) = (u64::from(place.offset), place.bytes as usize);
            ring.read_file(ticket(place.file, number), open, offset, bytes);
        }
        DiskRequest::Write { ticket: number, file, offset, content } => {
            ring.write_file(ticket(file, number), open, u64::from(offset), content);
        }
        DiskRequest::Sync { ticket: number, file } => ring.sync_file(ticket(file, number), open),
        DiskRequest::Open { .. } | DiskRequest::Release(_) => unreachable!("nothing for the ring"),
    }
}

/// The ring's ticket for an operation on a file.
fn ticket(file: u32, ticket: u32) -> u64 {
    u64::from(file) << 32 | u64::from(ticket)
}
