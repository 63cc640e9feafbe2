//! The bounds of the disk.

use std::time::Duration;

/// Bytes of a journal file, all of them there from the start, so that appends need no new extents.
pub const JOURNAL_BYTES: u64 = 16 << 20;

/// Journal files kept to be used again, for the whole process: making one from scratch costs the
/// disk as much as filling it.
pub const SPARES_MAX: usize = 4;

/// Files that a shard keeps open only because it read them and may do so again.
pub const IDLE_OPEN_FILES_MAX: usize = 64;

/// Bytes written at once where a file is filled with zeros.
pub const ZEROS_BYTES: usize = 1 << 20;

/// An error with the same cause is logged again after this long.
pub const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// Causes that are told apart when logging.
pub const COMPLAINTS_MAX: usize = 32;

/// How long the end of the process waits for files to be removed.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);
