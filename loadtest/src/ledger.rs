//! Which messages came, on each channel: what is lost, came twice, or came on the wrong topic.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Words of 64 messages that are remembered behind the first one missing: 16 MiB for a channel.
const WORDS_MAX: usize = 2 * 1024 * 1024;

/// What became of the messages of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Bodies were compared with their checksums, not only counted.
    pub checksums: bool,
    /// Deliveries that were due: each message once on each channel.
    pub expected: u64,
    /// Of these, those that never came; none are called lost when the run was cut short.
    pub lost: u64,
    /// Deliveries of a message that its channel had finished already.
    pub duplicated: u64,
    /// Deliveries that were not the first attempt, as the broker said.
    pub redelivered: u64,
    /// Bodies that differ from what was sent.
    pub corrupt: u64,
    /// Messages of another run, or numbers that were never sent.
    pub foreign: u64,
    /// Messages that came on another topic than the one they were sent to.
    pub misrouted: u64,
}

impl Verification {
    /// Everything came, once, and as it was sent.
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.corrupt + self.foreign + self.misrouted == 0
    }
}

/// The messages that one channel has received.
#[derive(Default)]
struct Seen {
    /// All below have come, or are given up; a multiple of 64.
    base: u64,
    words: VecDeque<u64>,
    /// Different messages that came.
    distinct: u64,
}

/// The account of a run.
pub struct Ledger {
    channels: Vec<Seen>,
    /// What was counted so far.
    pub counts: Verification,
}

impl Ledger {
    /// For so many channels.
    pub fn new(channels: usize, checksums: bool) -> Self {
        let channels = (0..channels).map(|_| Seen::default()).collect();
        Self { channels, counts: Verification { checksums, ..Verification::default() } }
    }

    /// Message `number` came on a channel; false when it had come before.
    #[inline]
    pub fn receive(&mut self, channel: usize, number: u64) -> bool {
        let is_new = self.channels[channel].mark(number);
        if !is_new {
            self.counts.duplicated += 1;
        }
        is_new
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Different deliveries so far, over all channels.
    pub fn distinct(&self) -> u64 {
        self.channels.iter().map(|seen| seen.distinct).sum()
    }

    /// The account when `sent` messages were to come on each channel; what is missing is lost only
    /// if the run was `complete`.
    pub fn close(&self, sent: u64, complete: bool) -> Verification {
        let expected = sent * self.channels.len() as u64;
        let lost = if complete { expected - self.distinct().min(expected) } else { 0 };
        Verification { expected, lost, ..self.counts }
    }
}

impl Seen {
    fn mark(&mut self, number: u64) -> bool {
        if number < self.base {
            return false;
        }
        let (word, bit) = (((number - self.base) / 64) as usize, 1 << (number % 64));
        if word >= self.words.len() {
            self.make_room(word);
            return self.mark(number);
        }
        let bits = &mut self.words[word];
        if *bits & bit != 0 {
            return false;
        }
        *bits |= bit;
        self.distinct += 1;
        while self.words.front() == Some(&u64::MAX) {
            self.words.pop_front();
            self.base += 64;
        }
        true
    }

    /// Grows to hold `word`; the oldest words give way beyond the bound: what they miss stays
    /// missing, and a later delivery of it counts as a repetition.
    fn make_room(&mut self, word: usize) {
        if word >= WORDS_MAX {
            let given_up = word + 1 - WORDS_MAX;
            self.words.drain(..given_up.min(self.words.len()));
            self.base += given_up as u64 * 64;
            self.words.resize(WORDS_MAX, 0);
        } else {
            self.words.resize(word + 1, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_and_repetitions_are_counted_for_each_channel() {
        let mut ledger = Ledger::new(2, true);
        for number in 0..1000 {
            assert!(ledger.receive(0, number));
            // The other channel receives backwards, and not all.
            if number != 500 {
                assert!(ledger.receive(1, 999 - number));
            }
        }
        assert!(!ledger.receive(0, 3));
        assert!(!ledger.receive(1, 998));
        let verification = ledger.close(1000, true);
        assert_eq!((verification.expected, verification.lost), (2000, 1));
        assert_eq!(verification.duplicated, 2);
        assert!(!verification.is_clean());
        assert_eq!(ledger.close(1000, false).lost, 0, "a run that was cut short loses nothing");
        assert!(ledger.receive(1, 499));
        assert_eq!(ledger.close(1000, true).lost, 0);
    }

    #[test]
    fn what_has_come_takes_no_memory_and_what_is_missing_takes_a_bounded_one() {
        let mut seen = Seen::default();
        for number in 0..1_000_000 {
            seen.mark(number);
        }
        assert!(seen.words.len() <= 1 && seen.base >= 999_936, "{}", seen.base);
        let far = 64 * (WORDS_MAX as u64 * 3);
        assert!(seen.mark(far) && !seen.mark(far));
        assert_eq!(seen.words.len(), WORDS_MAX);
        assert!(!seen.mark(1_000_001), "given up");
        assert_eq!(seen.distinct, 1_000_001);
    }
}
