//! Between a worker and the control thread: reports one way, words the other.
//!
//! A worker sends one report at a time, and the next when the control thread has taken the last
//! in; what happens meanwhile goes into the next one. So nothing piles up, and no worker waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flume::{Receiver, Sender};
use shards::shard::Shard;
use shards::slots::Key;
use shards::wire::names::Name;

use super::Note;
use crate::nsqd::doorbell::Doorbell;

/// What a worker is told.
#[derive(Debug)]
enum Word {
    /// New topics ask for their channels from now on, or do not any more.
    Discover(bool),
    /// The channels that a new topic is to have.
    Channels(Key, Vec<Name>),
    /// The report was taken in.
    Taken,
}

/// A worker's end.
#[derive(Debug)]
pub struct Line {
    worker: usize,
    notes: Sender<Note>,
    words: Receiver<Word>,
    /// Counts words; the other end writes it, and rings.
    said: Arc<AtomicU64>,
    heard: u64,
    /// A report is under way.
    reported: bool,
    /// Whether new topics ask for their channels from the start.
    discovers: bool,
}

/// The control thread's end.
#[derive(Debug)]
pub struct End {
    words: Sender<Word>,
    said: Arc<AtomicU64>,
    doorbell: Doorbell,
}

/// The two ends, for the worker with this number.
pub fn pair(
    worker: usize,
    notes: &Sender<Note>,
    doorbell: &Doorbell,
    discovers: bool,
) -> (Line, End) {
    let (speak, words) = flume::unbounded();
    let said = Arc::new(AtomicU64::new(0));
    let end = End { words: speak, said: said.clone(), doorbell: doorbell.clone() };
    let notes = notes.clone();
    (Line { worker, notes, words, said, heard: 0, reported: false, discovers }, end)
}

impl Line {
    /// Tells a new shard what it has to know before it gets its topics.
    pub fn prepare(&self, shard: &mut Shard) {
        shard.discover(self.discovers);
    }

    /// Whether the shard is to be told something. To be asked between falling asleep and sleeping,
    /// as with a mailbox.
    pub fn has_news(&self) -> bool {
        self.said.load(Ordering::Acquire) != self.heard
    }

    /// Tells the shard what was said.
    pub fn hear(&mut self, shard: &mut Shard) {
        if !self.has_news() {
            return;
        }
        self.heard = self.said.load(Ordering::Acquire);
        for word in self.words.try_iter() {
            match word {
                Word::Discover(asks) => shard.discover(asks),
                Word::Channels(topic, channels) => {
                    // A topic that is gone, or has waited long enough, needs no answer.
                    shard.channels_found(topic, &channels);
                }
                Word::Taken => self.reported = false,
            }
        }
    }

    /// Reports what came and went on the shard, unless a report is under way.
    pub fn report(&mut self, shard: &mut Shard) {
        if self.reported {
            return;
        }
        if let Some(news) = shard.take_discovery_news() {
            self.reported = true;
            // At the end of the process the control thread goes first: nobody is told any more.
            let _ = self.notes.send(Note::News(self.worker, news));
        }
    }
}

impl End {
    /// New topics of the worker ask for their channels from now on, or do not any more.
    pub fn discover(&self, asks: bool) {
        self.say(Word::Discover(asks));
    }

    /// The answer to a question.
    pub fn channels(&self, topic: Key, channels: Vec<Name>) {
        self.say(Word::Channels(topic, channels));
    }

    /// A report was taken in.
    pub fn taken(&self) {
        self.say(Word::Taken);
    }

    fn say(&self, word: Word) {
        // The worker has ended when nobody listens.
        let _ = self.words.send(word);
        self.said.fetch_add(1, Ordering::Release);
        self.doorbell.ring();
    }
}
