//! Bringing dead letters back to where they came from, at a given rate.

use crate::wheel::TimerId;

/// The highest rate, in messages a second.
pub const RATE_MAX: u64 = 1_000_000;
/// Time in milliseconds between two steps, at least.
const STEP_MS: u64 = 50;

/// What waited on a channel when it was asked for is brought back.
#[derive(Debug)]
pub struct Redrive {
    /// Messages a second.
    pub rate: u64,
    /// Messages that are still to be brought back.
    pub left: u64,
    /// Messages that are back where they came from.
    pub moved: u64,
    /// Messages that are none of ours, or whose channel is gone or paused: they stay.
    pub kept: u64,
    /// Fires for the next step.
    pub alarm: TimerId,
    /// When the last step was.
    stepped_ms: u64,
    /// Thousandths of a message that it may take.
    credit: u64,
}

impl Redrive {
    /// A redrive of so many messages.
    #[must_use]
    pub fn new(rate: u64, left: u64, now_ms: u64) -> Redrive {
        assert!((1..=RATE_MAX).contains(&rate), "a rate was checked before");
        let alarm = TimerId::NONE;
        // The first message need not wait.
        Redrive { rate, left, moved: 0, kept: 0, alarm, stepped_ms: now_ms, credit: 1000 }
    }

    /// How many messages it may take now.
    pub fn take(&mut self, now_ms: u64) -> u64 {
        let elapsed_ms = now_ms.saturating_sub(self.stepped_ms);
        self.stepped_ms = now_ms;
        // What a pause saved up is not spent at once.
        let most = 1000 * (1 + self.rate * 2 * STEP_MS.max(1000 / self.rate) / 1000);
        self.credit = (self.credit + self.rate * elapsed_ms).min(most);
        let count = (self.credit / 1000).min(self.left);
        self.credit -= count * 1000;
        self.left -= count;
        count
    }

    /// Messages that were taken were not there to be had just now.
    pub fn put_back(&mut self, count: u64) {
        self.left += count;
        self.credit += count * 1000;
    }

    /// When the next step is.
    #[must_use]
    pub fn next_ms(&self, now_ms: u64) -> u64 {
        now_ms + STEP_MS.max(1000 / self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::{RATE_MAX, Redrive};

    fn taken(rate: u64, for_ms: u64) -> u64 {
        let mut redrive = Redrive::new(rate, u64::MAX, 0);
        let (mut now_ms, mut taken) = (0, 0);
        while now_ms <= for_ms {
            taken += redrive.take(now_ms);
            now_ms = redrive.next_ms(now_ms);
        }
        taken
    }

    #[test]
    fn the_rate_is_kept() {
        for (rate, least, most) in [(1, 10, 11), (7, 69, 71), (1000, 9950, 10_001)] {
            let taken = taken(rate, 10_000);
            assert!((least..=most).contains(&taken), "{rate}: {taken}");
        }
        assert!(taken(RATE_MAX, 1000) >= 900_000);
    }

    #[test]
    fn no_more_are_taken_than_there_are() {
        let mut redrive = Redrive::new(100, 5, 0);
        assert_eq!(redrive.take(0), 1);
        assert_eq!(redrive.take(1000), 4);
        redrive.put_back(2);
        assert_eq!((redrive.take(1001), redrive.take(5000)), (2, 0));
        // A long pause is not made good at once.
        let mut redrive = Redrive::new(100, 1000, 0);
        assert!(redrive.take(60_000) <= 12);
    }
}
