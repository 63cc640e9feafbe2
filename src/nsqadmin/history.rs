//! The last polls of all nodes: rates and charts without anything else being installed.
//!
//! Every so often all nodes are asked for their numbers. From two polls come rates; sums for topics,
//! channels, nodes and the cluster are kept for a while, in bounded memory: what finds no room has
//! no history, and says so. Nothing here does I/O: [`poller`](super::poller) does.

mod poll;
pub mod rates;
mod rings;
mod view;

pub use poll::{NodePoll, Poll};
pub use rates::{Numbers, Totals};
pub use rings::{Key, Rings};
pub use view::{history_json, overview_json};

use std::time::Duration;

use rates::totals;

/// What is remembered.
#[derive(Debug)]
pub struct History {
    last: Option<Poll>,
    totals: Totals,
    rings: Rings,
    interval: Duration,
}

impl History {
    /// Nothing yet. `span` is how far back it will reach, in polls that are `interval` apart. An
    /// interval of nothing is for polls that do not come by themselves: they make no history.
    pub fn new(interval: Duration, span: Duration, memory_bytes: u64) -> History {
        let polls = span.as_millis().checked_div(interval.as_millis()).unwrap_or_default();
        let polls = usize::try_from(polls).unwrap_or(usize::MAX);
        History {
            last: None,
            totals: Totals::default(),
            rings: Rings::new(polls, memory_bytes),
            interval,
        }
    }

    /// Takes in a poll.
    pub fn take(&mut self, poll: Poll) {
        self.totals = totals(self.last.as_ref(), &poll);
        self.rings.push(poll.at_ms, &self.totals);
        self.last = Some(poll);
    }

    /// The last poll; `None` before the first.
    pub fn last(&self) -> Option<&Poll> {
        self.last.as_ref()
    }

    /// The sums of the last poll.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// What is remembered of earlier ones.
    pub fn rings(&self) -> &Rings {
        &self.rings
    }

    /// Time between two polls.
    pub fn interval(&self) -> Duration {
        self.interval
    }
}
