//! The messages of one channel that are on their way to another topic: dead letters, and those
//! that are brought back from there.
//!
//! Each is outstanding on its channel until the other topic has it, so a crash in between costs a
//! copy at most. How many there are is bounded: a channel that has as many waits for them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::journal::state::Range;
use crate::log::Position;
use crate::policy::Reason;

/// Messages of one channel under way at a time.
pub const TRANSFERS_MAX: usize = 1024;

/// A message under way.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Its place in the log, or [`Position::UNKNOWN`].
    pub at: Position,
    /// How often it was delivered.
    pub attempts: u16,
    /// Why it goes.
    pub purpose: Purpose,
}

/// Why a message goes to another topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It is a dead letter.
    DeadLetter(Reason),
    /// It goes back to where it was before it was one.
    Redrive,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Transfers {
    all: BTreeMap<u64, Transfer>,
    /// Those that are to be sent; some may not be there any more.
    unsent: VecDeque<u64>,
    /// Nothing is sent for a while: it would not be taken.
    blocked: bool,
}

impl Transfers {
    /// Adds a message.
    pub fn add(&mut self, sequence: u64, transfer: Transfer) {
        let before = self.all.insert(sequence, transfer);
        assert!(before.is_none(), "a message is on its way once");
        self.unsent.push_back(sequence);
    }

    /// The next message to be sent.
    pub fn next_unsent(&mut self) -> Option<(u64, Transfer)> {
        while let Some(&sequence) = self.unsent.front() {
            if let Some(transfer) = self.all.get(&sequence) {
                return Some((sequence, *transfer));
            }
            self.unsent.pop_front();
        }
        None
    }

    /// The message that `next_unsent` gave is sent.
    pub fn sent(&mut self) {
        self.unsent.pop_front();
    }

    /// A message that was sent was not taken. False when it is not wanted any more.
    pub fn refused(&mut self, sequence: u64) -> bool {
        let there = self.all.contains_key(&sequence);
        if there {
            self.unsent.push_back(sequence);
        }
        there
    }

    /// Nothing is sent until `unblock`.
    pub fn block(&mut self) {
        self.blocked = true;
    }

    /// What was not taken is tried again.
    pub fn unblock(&mut self) {
        self.blocked = false;
    }

    /// Takes a message out.
    pub fn take(&mut self, sequence: u64) -> Option<Transfer> {
        self.all.remove(&sequence)
    }

    /// Whether something can be sent.
    #[must_use]
    pub fn are_due(&self) -> bool {
        !self.unsent.is_empty() && !self.blocked
    }

    /// Whether no more can be added.
    #[must_use]
    pub fn are_full(&self) -> bool {
        self.all.len() >= TRANSFERS_MAX
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// How many of them wait to be sent.
    #[must_use]
    pub fn waiting(&self) -> usize {
        // Some of those to be sent may not be there any more.
        self.unsent.len().min(self.all.len())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether a message is among them.
    #[must_use]
    pub fn contains(&self, sequence: u64) -> bool {
        self.all.contains_key(&sequence)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Transfer)> {
        self.all.iter().map(|(&sequence, transfer)| (sequence, transfer))
    }

    /// Takes those of a range out.
    pub fn forget(&mut self, range: Range) -> Vec<(u64, Transfer)> {
        self.all.extract_if(range.first..=range.last, |_, _| true).collect()
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.all.clear();
        self.unsent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Purpose, Transfer, Transfers};
    use crate::journal::state::Range;
    use crate::log::Position;

    fn add(transfers: &mut Transfers, sequence: u64) {
        let (at, purpose) = (Position::UNKNOWN, Purpose::Redrive);
        transfers.add(sequence, Transfer { at, attempts: 1, purpose });
    }

    #[test]
    fn what_is_refused_is_sent_again() {
        let mut transfers = Transfers::default();
        (5..8).for_each(|sequence| add(&mut transfers, sequence));
        for sequence in 5..8 {
            assert_eq!(transfers.next_unsent().unwrap().0, sequence);
            transfers.sent();
        }
        assert!(!transfers.are_due() && transfers.next_unsent().is_none());
        assert!(transfers.refused(6));
        transfers.block();
        assert!(!transfers.are_due());
        transfers.unblock();
        assert!(transfers.are_due());
        assert_eq!(transfers.next_unsent().unwrap().0, 6);
        assert!(transfers.take(6).is_some() && transfers.take(6).is_none());
        assert!(transfers.next_unsent().is_none() && !transfers.refused(6));
        assert_eq!(transfers.forget(Range { first: 0, last: 5 }).len(), 1);
        assert_eq!(transfers.len(), 1);
        transfers.clear();
        assert!(transfers.is_empty());
    }
}
