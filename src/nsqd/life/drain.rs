//! Draining, as the process sees it: since when, until when, and how much is left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shards::shard::Remaining;

/// Whether the process drains. Workers read `on` when they are asked; the rest has a lock.
#[derive(Debug)]
pub struct Drain {
    on: AtomicBool,
    times: Mutex<Option<Times>>,
    /// How long it may take when nobody says so; zero for as long as it takes.
    timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    since: Instant,
    /// `None`: it may take as long as it takes.
    until: Option<Instant>,
}

/// How far draining has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// How long it has been draining.
    pub elapsed: Duration,
    /// How long it may go on; `None` for as long as it takes.
    pub left: Option<Duration>,
    /// Every worker has heard of it and counted: what is left can only become less.
    pub counted: bool,
    /// What is left, as far as it is counted.
    pub remaining: Remaining,
    /// The time is over.
    pub is_late: bool,
}

impl Progress {
    /// Whether nothing is left.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.counted && self.remaining.is_empty()
    }
}

impl Drain {
    /// It does not drain yet.
    pub fn new(timeout: Duration) -> Drain {
        Drain { on: AtomicBool::new(false), times: Mutex::new(None), timeout }
    }

    /// Drains from now on, for so long at most, or as long as the options say.
    pub fn begin(&self, timeout: Option<Duration>, now: Instant) {
        let mut times = self.lock();
        let until = |timeout: Duration| match timeout.is_zero() {
            true => None,
            // Beyond the end of the clock is as long as it takes.
            false => now.checked_add(timeout),
        };
        *times = Some(match (*times, timeout) {
            (Some(times), None) => times,
            (Some(times), Some(timeout)) => Times { until: until(timeout), ..times },
            (None, timeout) => Times { since: now, until: until(timeout.unwrap_or(self.timeout)) },
        });
        self.on.store(true, Ordering::Release);
    }

    /// Whether it drains.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// How far it has come, from what the workers have counted.
    pub fn progress(
        &self,
        counted: impl Iterator<Item = Option<Remaining>>,
        now: Instant,
    ) -> Option<Progress> {
        let times = (*self.lock())?;
        let (mut all, mut remaining) = (true, Remaining::default());
        for count in counted {
            all &= count.is_some();
            remaining = remaining.plus(count.unwrap_or_default());
        }
        Some(Progress {
            elapsed: now.saturating_duration_since(times.since),
            left: times.until.map(|until| until.saturating_duration_since(now)),
            counted: all,
            remaining,
            is_late: times.until.is_some_and(|until| until <= now),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Times>> {
        // It is whole at every moment, so that a panic elsewhere does not spoil it.
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::iter::{empty, once};
    use std::time::{Duration, Instant};

    use shards::shard::Remaining;

    use super::Drain;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn it_ends_when_all_have_counted_nothing() {
        let drain = Drain::new(MINUTE);
        let now = Instant::now();
        assert!(!drain.is_on() && drain.progress(empty(), now).is_none());
        drain.begin(None, now);
        let nothing = Some(Remaining::default());
        let one = Some(Remaining { in_flight: 1, ..Remaining::default() });
        assert!(drain.is_on());
        assert!(!drain.progress([nothing, None].into_iter(), now).unwrap().is_done());
        assert!(!drain.progress([nothing, one].into_iter(), now).unwrap().is_done());
        assert!(drain.progress([nothing, nothing].into_iter(), now).unwrap().is_done());
    }

    #[test]
    fn the_time_is_the_flags_until_somebody_sets_another() {
        let drain = Drain::new(MINUTE);
        let now = Instant::now();
        drain.begin(None, now);
        let at = |now| drain.progress(once(None), now).unwrap();
        assert_eq!(at(now).left, Some(MINUTE));
        assert!(!at(now + MINUTE / 2).is_late && at(now + MINUTE).is_late);
        drain.begin(None, now + MINUTE / 2);
        assert_eq!(at(now + MINUTE / 2).left, Some(MINUTE / 2), "asking again changes nothing");
        drain.begin(Some(Duration::ZERO), now);
        assert!(at(now + 1000 * MINUTE).left.is_none());
        assert!(!at(now + 1000 * MINUTE).is_late);
        drain.begin(Some(Duration::from_secs(1)), now + MINUTE);
        assert!(at(now + MINUTE + Duration::from_secs(1)).is_late);
        assert_eq!(at(now + MINUTE).elapsed, MINUTE, "it began when it began");
    }
}
