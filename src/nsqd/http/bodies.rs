//! Memory for bodies that are being read, of all connections together.
//!
//! A batch is published whole or not at all, so it is gathered before a shard sees it. Many large
//! ones at once are bounded by this: what finds no room waits a while, which holds its client
//! back, and is refused then. So bodies that hold each other up come to an end, and one after the
//! other, since what a refused one had may be enough for the rest. A body that is the only one
//! always has room. Small ones are not counted: their connections are as large.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::StatusCode;

use super::timers::Timers;
use crate::http::respond::Failure;

/// Bytes of each body that are not counted.
pub const FREE_BYTES: usize = 16 * 1024;
/// How long a body may wait for room.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The least time between two that are refused, for the rest to take what the first one had.
const REFUSAL_PAUSE_MS: u64 = 50;
/// How long it takes at most until all that have waited long enough are refused.
const REFUSALS_MS: u64 = 2000;
/// How often it is looked whether there is some.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The memory, for all threads.
#[derive(Debug)]
pub struct Bodies {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    waiting: AtomicUsize,
    refused: AtomicU64,
    began: Instant,
    /// When a body may be refused next, in milliseconds since it began.
    next_refusal_ms: AtomicU64,
}

/// What is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyNumbers {
    /// Bytes in use.
    pub used_bytes: usize,
    /// How many these may be.
    pub limit_bytes: usize,
    /// Bodies that wait for room.
    pub waiting: usize,
    /// Bodies that waited in vain.
    pub refused: u64,
}

impl Bodies {
    /// Room for so many bytes.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Bodies {
        Bodies {
            limit_bytes,
            used_bytes: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            began: Instant::now(),
            next_refusal_ms: AtomicU64::new(0),
        }
    }

    /// The part of a body that has not begun.
    #[must_use]
    pub fn share(&self) -> Share<'_> {
        Share { of: self, bytes: 0 }
    }

    /// Whether a body that has waited long enough is the one to be refused now.
    fn may_refuse(&self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.began).as_millis();
        let now_ms = u64::try_from(elapsed).unwrap_or(u64::MAX);
        let order = Ordering::Relaxed;
        let waiting = self.waiting.load(order).max(1) as u64;
        let pause_ms = REFUSAL_PAUSE_MS.min(REFUSALS_MS / waiting);
        let next = |at_ms| (now_ms >= at_ms).then_some(now_ms + pause_ms);
        self.next_refusal_ms.fetch_update(order, order, next).is_ok()
    }

    /// The numbers of this moment.
    #[must_use]
    pub fn numbers(&self) -> BodyNumbers {
        BodyNumbers {
            used_bytes: self.used_bytes.load(Ordering::Relaxed),
            limit_bytes: self.limit_bytes,
            waiting: self.waiting.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

/// What one body takes; dropping it gives that back.
#[derive(Debug)]
pub struct Share<'a> {
    of: &'a Bodies,
    bytes: usize,
}

impl Share<'_> {
    /// Takes as much as a body of this size needs, in memory, or gives back what it does not need.
    ///
    /// # Errors
    /// 503 when there is no room in time.
    pub async fn resize(&mut self, size_bytes: usize, timers: &Timers) -> Result<(), Failure> {
        let counted = if size_bytes <= FREE_BYTES { 0 } else { size_bytes };
        if self.try_resize(counted) {
            return Ok(());
        }
        let _waiting = Waiting::new(&self.of.waiting);
        let began = timers.now();
        loop {
            timers.sleep(LOOK_AGAIN).await;
            if self.try_resize(counted) {
                return Ok(());
            }
            let now = timers.now();
            let waited = now.saturating_duration_since(began);
            if waited >= PATIENCE && self.of.may_refuse(now) {
                break;
            }
        }
        self.of.refused.fetch_add(1, Ordering::Relaxed);
        Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_BODIES"))
    }

    fn try_resize(&mut self, bytes: usize) -> bool {
        let before = self.bytes;
        if bytes == before {
            return true;
        }
        if bytes < before {
            self.of.used_bytes.fetch_sub(before - bytes, Ordering::Relaxed);
            self.bytes = bytes;
            return true;
        }
        let limit = self.of.limit_bytes;
        let grown = self.of.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let others = used - before;
            let all = others.saturating_add(bytes);
            (others == 0 || all <= limit).then_some(all)
        });
        if grown.is_ok() {
            self.bytes = bytes;
        }
        grown.is_ok()
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.try_resize(0);
    }
}

/// Counts as waiting for as long as it lives: a connection may end meanwhile.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn new(waiting: &AtomicUsize) -> Waiting<'_> {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Bodies, FREE_BYTES, PATIENCE, REFUSAL_PAUSE_MS};
    use std::time::Duration;

    #[test]
    fn one_is_refused_after_the_other() {
        let bodies = Bodies::new(1);
        let now = bodies.began + PATIENCE;
        assert!(bodies.may_refuse(now));
        assert!(!bodies.may_refuse(now));
        assert!(bodies.may_refuse(now + Duration::from_millis(REFUSAL_PAUSE_MS)));
    }

    #[test]
    fn shares_are_bounded_together_and_given_back() {
        let bodies = Bodies::new(100_000);
        let (mut first, mut second) = (bodies.share(), bodies.share());
        assert!(first.try_resize(60_000));
        assert!(!second.try_resize(60_000));
        assert!(second.try_resize(40_000));
        assert!(!first.try_resize(60_001));
        assert_eq!(bodies.numbers().used_bytes, 100_000);
        drop(second);
        assert!(first.try_resize(1_000_000), "the only one always has room");
        assert!(!bodies.share().try_resize(FREE_BYTES + 1));
        assert!(first.try_resize(10));
        assert_eq!(bodies.numbers().used_bytes, 10);
        drop(first);
        assert_eq!(bodies.numbers().used_bytes, 0);
    }
}
