//! The time of a turn, read once.

use std::time::{Instant, SystemTime};

use shards::shard::Now;

/// A worker's clock. Its monotonic time counts from the same moment on all workers.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    now: Instant,
}

impl Clock {
    /// A clock that counts from `started`.
    pub fn new(started: Instant) -> Clock {
        Clock { started, now: Instant::now() }
    }

    /// Reads the time for a turn.
    pub fn tick(&mut self) -> Now {
        self.now = Instant::now();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: self.mono_ms(), wall_ns: i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX) }
    }

    /// The monotonic time of this turn.
    pub fn mono_ms(&self) -> u64 {
        self.now.duration_since(self.started).as_millis() as u64
    }

    /// The same, for whoever counts in `Instant`s.
    pub fn instant(&self) -> Instant {
        self.now
    }

    /// The monotonic time as milliseconds, as an `Instant`.
    pub fn at(&self, mono_ms: u64) -> Instant {
        self.started + std::time::Duration::from_millis(mono_ms)
    }
}
