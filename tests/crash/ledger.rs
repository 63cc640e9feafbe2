//! The ledger: what was published, what the broker answered, what came out of which channel, and
//! whether that fits together.
//!
//! A body says who published it as which number, and has a checksum of its own. The ledger hears of
//! each step from the clients, before they send and after they have received, and judges at the
//! end, when every consumer has finished whatever still comes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::random::Random;
use super::report::{Report, Rules};

/// Who published a body, as which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The publisher.
    pub producer: u32,
    /// Its own count.
    pub sequence: u32,
}

/// A body: its key as text, padding, and a checksum over both.
pub fn body(key: Key, padding: usize, random: &mut Random) -> Vec<u8> {
    let mut body = format!("{} {} ", key.producer, key.sequence).into_bytes();
    let end = body.len() + padding;
    while body.len() < end {
        body.extend_from_slice(&random.next().to_le_bytes());
    }
    body.truncate(end);
    body.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    body
}

/// The key of a body and its checksum, if it is as it was made.
pub fn parse(body: &[u8]) -> Option<(Key, u32)> {
    let (text, checksum) = body.split_last_chunk::<4>()?;
    let checksum = u32::from_le_bytes(*checksum);
    if crc32fast::hash(text) != checksum {
        return None;
    }
    let mut words = text.splitn(3, |byte| *byte == b' ').map(std::str::from_utf8);
    let producer = words.next()?.ok()?.parse().ok()?;
    let sequence = words.next()?.ok()?.parse().ok()?;
    Some((Key { producer, sequence }, checksum))
}

/// What a publisher was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `OK`: the promise of the mode holds.
    Acknowledged,
    /// An error: it may be published again.
    Refused,
    /// The connection ended first: it may come out or not.
    Unknown,
}

/// What a channel did with a message.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// It came out.
    Delivered {
        /// When.
        at: Instant,
        /// As the broker counts.
        attempts: u16,
    },
    /// The consumer of that delivery is about to send FIN.
    Finished {
        /// Which event.
        of: usize,
        /// When.
        at: Instant,
    },
    /// The consumer of that delivery is about to send REQ.
    Requeued {
        /// Which event.
        of: usize,
        /// When.
        at: Instant,
        /// For how long.
        delay: Duration,
    },
}

/// Everything about one body.
pub struct Entry {
    /// Where it was published.
    pub topic: String,
    /// Its length.
    pub bytes: usize,
    /// What is in its last four bytes.
    pub checksum: u32,
    /// What its publisher was told.
    pub answer: Answer,
    /// When it was sent.
    pub sent: Instant,
    /// When the answer was read, or when it was sent.
    pub answered: Instant,
    /// When a deferred one may come out first.
    pub due: Option<Instant>,
    /// What happened on each channel.
    pub channels: BTreeMap<String, Vec<Event>>,
}

/// One delivery, to say later what became of it.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Of what.
    pub key: Key,
    /// How often the broker had been killed when the consumer connected: what is said on that
    /// connection after the next time, nobody hears.
    pub life: usize,
    channel: String,
    serial: usize,
}

/// All that was heard.
#[derive(Default)]
pub struct Book {
    /// Everything that was sent.
    pub entries: BTreeMap<Key, Entry>,
    /// The channels that each topic has from its beginning.
    pub channels: BTreeMap<String, BTreeSet<String>>,
    /// When the broker was dead.
    pub kills: Vec<Instant>,
    /// Bodies that are not as they were sent.
    pub corrupt: Vec<String>,
    /// Bodies that were never sent.
    pub invented: Vec<String>,
    /// Bodies from a topic or channel that they were not meant for.
    pub crossed: Vec<String>,
}

/// Shared by all clients of a run.
#[derive(Default)]
pub struct Ledger(Mutex<Book>);

impl Ledger {
    /// Says that a channel is there before anything is published to its topic.
    pub fn channel(&self, topic: &str, channel: &str) {
        let mut book = self.book();
        book.channels.entry(topic.to_string()).or_default().insert(channel.to_string());
    }

    /// A body is about to be sent.
    pub fn sent(&self, topic: &str, body: &[u8], delay: Option<Duration>) -> Key {
        let (key, checksum) = parse(body).unwrap();
        let now = Instant::now();
        let entry = Entry {
            topic: topic.to_string(),
            bytes: body.len(),
            checksum,
            answer: Answer::Unknown,
            sent: now,
            answered: now,
            due: delay.map(|delay| now + delay),
            channels: BTreeMap::new(),
        };
        assert!(self.book().entries.insert(key, entry).is_none(), "{key:?} is sent twice");
        key
    }

    /// The broker's answer for these bodies has come.
    pub fn answered(&self, keys: &[Key], answer: Answer) {
        let mut book = self.book();
        for key in keys {
            let entry = book.entries.get_mut(key).unwrap();
            (entry.answer, entry.answered) = (answer, Instant::now());
        }
    }

    /// Something came out of a channel. Without a receipt it should not have.
    pub fn delivered(
        &self,
        topic: &str,
        channel: &str,
        attempts: u16,
        body: &[u8],
    ) -> Option<Receipt> {
        let mut book = self.book();
        let book = &mut *book;
        let place = format!("{topic}/{channel}");
        let Some((key, checksum)) = parse(body) else {
            book.corrupt.push(format!("{} bytes from {place}", body.len()));
            return None;
        };
        let Some(entry) = book.entries.get_mut(&key) else {
            book.invented.push(format!("{key:?} from {place}"));
            return None;
        };
        if entry.checksum != checksum {
            book.corrupt.push(format!("{key:?} from {place} is not what was sent"));
            return None;
        }
        let expected = book.channels.get(topic).is_some_and(|all| all.contains(channel));
        if entry.topic != topic || !expected {
            book.crossed.push(format!("{key:?} of {} came out of {place}", entry.topic));
            return None;
        }
        let events = entry.channels.entry(channel.to_string()).or_default();
        events.push(Event::Delivered { at: Instant::now(), attempts });
        let (life, serial) = (book.kills.len(), events.len() - 1);
        Some(Receipt { key, life, channel: channel.to_string(), serial })
    }

    /// How often the broker was killed so far.
    pub fn life(&self) -> usize {
        self.book().kills.len()
    }

    /// FIN is about to be sent.
    pub fn finished(&self, receipt: &Receipt) {
        let at = Instant::now();
        self.push(receipt, Event::Finished { of: receipt.serial, at });
    }

    /// REQ is about to be sent.
    pub fn requeued(&self, receipt: &Receipt, delay: Duration) {
        let at = Instant::now();
        self.push(receipt, Event::Requeued { of: receipt.serial, at, delay });
    }

    /// The broker did not accept that FIN or REQ: the message had timed out.
    pub fn void(&self, receipt: &Receipt) {
        let mut book = self.book();
        let entry = book.entries.get_mut(&receipt.key).unwrap();
        let events = entry.channels.get_mut(&receipt.channel).unwrap();
        for event in events {
            match *event {
                Event::Finished { of, at } if of == receipt.serial => {
                    // As good as nothing, but the serials of the others stay.
                    *event = Event::Requeued { of: usize::MAX, at, delay: Duration::ZERO };
                }
                Event::Requeued { of, at, .. } if of == receipt.serial => {
                    *event = Event::Requeued { of: usize::MAX, at, delay: Duration::ZERO };
                }
                _ => {}
            }
        }
    }

    /// The broker is dead: what it had not yet heard of or not yet written, it will not know.
    pub fn killed(&self) {
        self.book().kills.push(Instant::now());
    }

    /// Judges, once everything that still comes has been finished.
    pub fn report(&self, rules: Rules) -> Report {
        Report::new(&self.book(), rules)
    }

    fn push(&self, receipt: &Receipt, event: Event) {
        let mut book = self.book();
        if book.kills.len() != receipt.life {
            return;
        }
        let entry = book.entries.get_mut(&receipt.key).unwrap();
        entry.channels.get_mut(&receipt.channel).unwrap().push(event);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // A client that failed has said so itself.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
