//! A disk that takes so many bytes in a turn.

use shards::disk::DiskRequest;

use super::file::SECTOR_BYTES;
use super::{Folder, Queue};

impl Folder {
    /// Carries out what has been asked for as far as the disk has got by now. Files are made and
    /// removed by somebody else, and syncs do not wait for long writes to other files.
    pub(super) fn keep_pace(&mut self, queue: &mut Queue, pace_bytes: usize) {
        let bytes_of = |(_, request): &(u64, DiskRequest)| match request {
            DiskRequest::Write { content, .. } => content.len(),
            DiskRequest::Read { place, .. } => place.bytes as usize,
            DiskRequest::Sync { .. } => SECTOR_BYTES,
            DiskRequest::Open { .. } | DiskRequest::Release(_) => 0,
        };
        queue.moved_bytes += pace_bytes;
        while !queue.pending.is_empty() {
            let soon = queue.pending.iter().position(|request| bytes_of(request) <= SECTOR_BYTES);
            let next = soon.unwrap_or(0);
            let bytes = bytes_of(&queue.pending[next]);
            if queue.moved_bytes < bytes || !self.operate() {
                return;
            }
            queue.moved_bytes -= bytes;
            let (asked_at, request) = queue.pending.remove(next);
            queue.done.extend(self.carry_out(queue.worker, asked_at, request));
        }
        queue.moved_bytes = 0;
    }
}
