//! What every test uses: a broker process, a wire client, an HTTP client, and readings of `/proc`.
//!
//! Nothing here is shared with the broker: a bug on one side must not be cancelled by the other.

mod asked;
mod broker;
mod client;
mod http;
mod nobody;
mod peer;
mod ports;
mod process;
mod tempdir;
mod wire;

pub use asked::Asked;
pub use broker::{Broker, Exit, program};
pub use client::{Client, End};
pub use http::{HttpConnection, Reply, request};
pub use nobody::{NOBODY, as_nobody, is_root};
pub use peer::{Peer, at_once, on_each_peer, on_each_shoal};
pub use ports::lasting_address;
pub use process::{cpu_ticks, fd_count, rss_bytes, ticks_per_second};
pub use tempdir::TempDir;
pub use wire::{Frame, Message, bytes, dpub, identify, mpub, publish, show};

use std::time::{Duration, Instant};

/// Long enough for anything that should happen at once, on a machine that is busy with other work.
pub const SOON: Duration = Duration::from_secs(15);

/// Waits until `ready` holds, for what the broker does a moment after it answered.
pub fn eventually(what: &str, within: Duration, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asserts that something happened when it was due: never before, and not long after.
///
/// `start` is a moment before the broker's own clock began to run.
#[track_caller]
pub fn assert_due(start: Instant, due: Duration, late: Duration) {
    let elapsed = start.elapsed();
    let early = Duration::from_millis(2);
    assert!(elapsed + early >= due, "after {elapsed:?}, but due only after {due:?}");
    assert!(elapsed <= due + late, "after {elapsed:?}, but due after {due:?}");
}
