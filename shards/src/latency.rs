//! Measuring how long messages take. A shard says what happened when; whoever it tells keeps the
//! distributions, which are not the shard's business.

use core::fmt::Debug;

use crate::stats::Timing;

/// A message that was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The time since it was published, by the calendar.
    pub e2e_ns: u64,
    /// The time since it was last delivered.
    pub processing_ms: u64,
}

/// What measures the messages of a shard.
pub trait Stopwatch: Debug {
    /// Begins to measure a channel. The number stands for it from now on.
    fn open(&mut self) -> u32;

    /// Forgets a channel.
    fn close(&mut self, channel: u32);

    /// A message of a channel was finished at this time.
    fn finished(&mut self, channel: u32, message: Finished, now_ms: u64);

    /// What these channels come to together.
    fn read(&mut self, channels: &mut dyn Iterator<Item = u32>, now_ms: u64) -> Timing;
}
