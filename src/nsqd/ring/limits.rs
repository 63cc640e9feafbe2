//! The bounds of a shard's ring.

use std::time::Duration;

/// Requests that fit into the submission queue by default; more are submitted in several steps.
pub const ENTRIES: u32 = 256;

/// The completion queue is this many times as long as the submission queue: one multishot receive
/// completes many times.
pub const COMPLETIONS_PER_ENTRY: u32 = 4;

/// Receive buffers by default.
pub const BUFFERS: u16 = 64;

/// Most receive buffers that the kernel takes in one group.
pub const BUFFERS_MAX: u16 = 1 << 15;

/// Bytes of one receive buffer by default. All buffers together should stay in the processor's
/// cache, since the kernel goes round all of them: of 16 to 512 buffers of 4 to 64 KiB, those that
/// came to 1 MiB were the cheapest per byte, 4 MiB cost a third more; with 4 KiB large messages
/// fall into too many pieces, and with few buffers many connections at once run out of them.
pub const BUFFER_BYTES: usize = 16 << 10;

/// Most bytes of one receive buffer: what one connection may bring in one event.
pub const BUFFER_BYTES_MAX: usize = 1 << 20;

/// Most completions taken in one call of `events`, so that a flood of them cannot keep a shard
/// from its timers, its mailbox and its sends.
pub const EVENTS_PER_CALL_MAX: usize = 512;

/// Most reads, writes and opens of files that the kernel works on at a time, and most syncs. A few
/// of each keep a disk busy; more only make each of them wait longer in there than out here.
pub const FILE_TRANSFERS_MAX: usize = 32;

/// See [`FILE_TRANSFERS_MAX`].
pub const FILE_SYNCS_MAX: usize = 8;

/// Most bytes of a file in one request; what is more takes several.
pub const TRANSFER_BYTES_MAX: usize = 1 << 30;

/// Most bytes of a write to a file that the kernel may copy while it takes the request in. Some
/// file systems would copy any number of them then, and the shard would wait; what is larger is
/// left to the kernel's own threads.
pub const INLINE_WRITE_BYTES_MAX: usize = 64 << 10;

/// Longest single sleep. Nothing depends on waking after it; it keeps every `Duration` within what
/// the kernel takes.
pub const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// How often, and for how long each time, a ring that is dropped waits for the kernel to let go of
/// its buffers before it leaves them to the kernel for good.
pub const TEARDOWN_ROUNDS: usize = 100;

/// See [`TEARDOWN_ROUNDS`].
pub const TEARDOWN_ROUND: Duration = Duration::from_millis(10);
