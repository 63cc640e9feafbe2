//! What a shard's disk counts.

use std::fmt;
use std::time::Duration;

/// Counters of one shard, from the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskMetrics {
    /// Batches appended to the journal.
    pub appends: u64,
    /// Their bytes.
    pub append_bytes: u64,
    /// The longest that one took.
    pub append_ns_max: u64,
    /// Syncs that went well.
    pub syncs: u64,
    /// How long syncs took, from asking on, all together.
    pub sync_ns: u64,
    /// The longest that one took.
    pub sync_ns_max: u64,
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
        let DiskMetrics { appends, append_bytes, append_ns_max, syncs, sync_ns_max, .. } = self;
        let DiskMetrics { reads, writes, errors, files, quarantined, .. } = self;
        let us = |ns: &u64| ns / 1000;
        write!(
            f,
            "{appends} appends of {append_bytes} bytes, the longest {} µs; {syncs} syncs, the \
             longest {} µs; {reads} reads, {writes} writes, {errors} errors; {files} files, \
             {quarantined} set aside",
            us(append_ns_max),
            us(sync_ns_max)
        )
    }
}

impl DiskMetrics {
    pub(super) fn appended(&mut self, bytes: u64, took: Duration) {
        self.appends += 1;
        self.append_bytes += bytes;
        self.append_ns_max = self.append_ns_max.max(nanoseconds(took));
    }

    pub(super) fn synced(&mut self, took: Duration) {
        self.syncs += 1;
        self.sync_ns += nanoseconds(took);
        self.sync_ns_max = self.sync_ns_max.max(nanoseconds(took));
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

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
