//! Every bound of nsqlookupd that is no flag.

use std::time::Duration;

/// The longest line of a command, its end included: two names need 140 bytes.
pub const LINE_BYTES_MAX: usize = 4096;

/// Bytes taken from a connection at once.
pub const READ_BYTES: usize = 16 * 1024;

/// How often the registry looks whether somebody has been silent for too long, for those who wait
/// for such changes.
pub const CLOCK_TICK: Duration = Duration::from_millis(250);

/// How long answers that are on their way may hold up the end.
pub const STOP_GRACE: Duration = Duration::from_secs(2);

/// An answer from this size on counts against [`LARGE_ANSWERS_BYTES_MAX`].
pub const LARGE_ANSWER_BYTES: usize = 64 * 1024;

/// What large answers may take in memory before they have left; what comes on top is refused.
pub const LARGE_ANSWERS_BYTES_MAX: usize = 256 << 20;
