//! How long to wait before the next try: longer each time, and never the same for everybody.

use std::time::Duration;

use crate::nsqd::control::limits::{LASTED, RETRY_MAX, RETRY_MIN};

/// The pauses of one peer.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Nothing has failed yet.
    pub fn new() -> Backoff {
        Backoff { next: RETRY_MIN }
    }

    /// The pause after a connection that lasted so long, or after a dial that failed. `chance` is
    /// a number below 1.
    pub fn pause(&mut self, lasted: Duration, chance: f64) -> Duration {
        if lasted >= LASTED {
            self.next = RETRY_MIN;
        }
        let pause = self.next;
        self.next = (pause * 2).min(RETRY_MAX);
        pause.mul_f64(0.75 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;
    use crate::nsqd::control::limits::{DIAL_TIMEOUT, LASTED, PING_INTERVAL, RETRY_MAX};

    #[test]
    fn pauses_grow_and_begin_anew_after_a_good_connection() {
        let mut backoff = Backoff::new();
        let mut pause = |lasted_s: u64| backoff.pause(Duration::from_secs(lasted_s), 0.5);
        for ms in [250, 500, 1000, 2000, 4000, 8000, 8000] {
            assert_eq!(pause(1), Duration::from_millis(ms));
        }
        assert_eq!(pause(LASTED.as_secs()), Duration::from_millis(250));
        assert_eq!(pause(0), Duration::from_millis(500));
    }

    #[test]
    fn chance_takes_a_quarter_off_or_adds_one() {
        let second = |chance: f64| Backoff::new().pause(Duration::ZERO, chance).as_millis();
        assert_eq!((second(0.0), second(1.0)), (187, 312));
    }

    /// After a partition everybody is registered again within the time of a ping.
    #[test]
    fn the_longest_pause_and_a_dial_take_no_longer_than_a_ping() {
        assert!(RETRY_MAX.mul_f64(1.25) + DIAL_TIMEOUT < PING_INTERVAL);
    }
}
