//! Words from another thread to a worker: they wait in a queue, a count says that there are some,
//! and the worker's doorbell rings.
//!
//! The count is what makes looking cheap: a worker looks once a turn, and between falling asleep
//! and sleeping, as with a mailbox. What bounds the queue is who speaks: each of the protocols
//! behind this has so many words under way at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flume::{Receiver, Sender};

use super::doorbell::Doorbell;

/// The end of the thread that speaks.
#[derive(Debug)]
pub struct Mouth<T> {
    words: Sender<T>,
    said: Arc<AtomicU64>,
    doorbell: Doorbell,
}

/// The worker's end.
#[derive(Debug)]
pub struct Ear<T> {
    words: Receiver<T>,
    /// Counts words; the other end writes it, and rings.
    said: Arc<AtomicU64>,
    heard: u64,
}

/// The two ends, for the worker whom this bell wakes.
pub fn pair<T>(doorbell: &Doorbell) -> (Mouth<T>, Ear<T>) {
    let (speak, words) = flume::unbounded();
    let said = Arc::new(AtomicU64::new(0));
    let mouth = Mouth { words: speak, said: said.clone(), doorbell: doorbell.clone() };
    (mouth, Ear { words, said, heard: 0 })
}

impl<T> Mouth<T> {
    /// Tells the worker something.
    pub fn say(&self, word: T) {
        // The worker has ended when nobody listens.
        let _ = self.words.send(word);
        self.said.fetch_add(1, Ordering::Release);
        self.doorbell.ring();
    }
}

impl<T> Ear<T> {
    /// Whether something was said. To be asked between falling asleep and sleeping.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.said.load(Ordering::Acquire) != self.heard
    }

    /// The next word.
    pub fn hear(&mut self) -> Option<T> {
        if !self.has_news() {
            return None;
        }
        // A word is in the queue before it is counted.
        let word = self.words.try_recv().ok()?;
        self.heard = self.heard.wrapping_add(1);
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::pair;
    use crate::nsqd::doorbell::Doorbell;

    #[test]
    fn words_come_in_order_and_wake() {
        let doorbell = Doorbell::new().unwrap();
        let (mouth, mut ear) = pair(&doorbell);
        assert!(!ear.has_news() && ear.hear().is_none());
        doorbell.fall_asleep();
        mouth.say(1);
        assert!(!doorbell.is_asleep(), "it was rung");
        mouth.say(2);
        assert!(ear.has_news());
        assert_eq!((ear.hear(), ear.hear(), ear.hear()), (Some(1), Some(2), None));
        assert!(!ear.has_news());
    }

    #[test]
    fn nobody_has_to_listen() {
        let (mouth, ear) = pair(&Doorbell::new().unwrap());
        drop(ear);
        mouth.say(());
    }
}
