//! Whoever looks on while a load runs, and may end it.

use std::time::Duration;

/// How far a load has come.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Since it began.
    pub elapsed: Duration,
    /// Of the whole, from 0 to 1.
    pub share: f64,
    /// Messages that the broker has confirmed.
    pub published: u64,
    /// Messages that were received and finished.
    pub received: u64,
}

/// Is shown a running load several times a second.
pub trait Watcher {
    /// Looks; false ends the load with what it has.
    fn look(&mut self, seen: &Seen) -> bool;
}

/// Nobody looks.
pub struct Nobody;

impl Watcher for Nobody {
    fn look(&mut self, _: &Seen) -> bool {
        true
    }
}
