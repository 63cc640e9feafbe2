//! What a shard's disk counts.

use std::fmt;
use std::time::Duration;

use crate::nsqd::statistics::durations::Durations;

/// Counters of one shard, from the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskMetrics {
    /// Batches appended to the journal, and how long that took.
    pub append_times: Durations,
    /// Their bytes.
    pub append_bytes: u64,
    /// Syncs that went well, and how long they took, from asking on.
    pub syncs: Durations,
    /// Places read.
    pub reads: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Writes, not counting appends.
    pub writes: u64,
    /// Their bytes.
    pub write_bytes: u64,
    /// Whatever failed.
    pub errors: u64,
    /// Files that the shard has now: its own, and those of an earlier start that it needs.
    pub files: u64,
    /// Files that made no sense at the start and were set aside; counted by the first shard.
    pub quarantined: u64,
}

/// On one line, for the log.
impl fmt::Display for DiskMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DiskMetrics { append_times, append_bytes, syncs, reads, writes, .. } = self;
        let DiskMetrics { errors, files, quarantined, .. } = self;
        write!(
            f,
            "{} appends of {append_bytes} bytes, the longest {} µs; {} syncs, the \
             longest {} µs; {reads} reads, {writes} writes, {errors} errors; {files} files, \
             {quarantined} set aside",
            append_times.count(),
            append_times.max().as_micros(),
            syncs.count(),
            syncs.max().as_micros()
        )
    }
}

impl DiskMetrics {
    pub(super) fn appended(&mut self, bytes: u64, took: Duration) {
        self.append_bytes += bytes;
        self.append_times.record(took);
    }

    pub(super) fn synced(&mut self, took: Duration) {
        self.syncs.record(took);
    }

    pub(super) fn read(&mut self, bytes: usize) {
        self.reads += 1;
        self.read_bytes += bytes as u64;
    }

    pub(super) fn written(&mut self, bytes: usize) {
        self.writes += 1;
        self.write_bytes += bytes as u64;
    }
}
