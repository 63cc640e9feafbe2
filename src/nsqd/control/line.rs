//! Between a worker and the control thread: reports one way, words the other.
//!
//! A worker sends one report at a time, and the next when the control thread has taken the last
//! in; what happens meanwhile goes into the next one. So nothing piles up, and no worker waits.

use flume::Sender;
use shards::auth::Question;
use shards::shard::Shard;
use shards::slots::Key;
use shards::wire::names::Name;

use super::Note;
use super::auth::{Asker, Outcome};
use crate::nsqd::doorbell::Doorbell;
use crate::nsqd::words::{self, Ear, Mouth};

/// What a worker is told.
#[derive(Debug)]
enum Word {
    /// New topics ask for their channels from now on, or do not any more.
    Discover(bool),
    /// The channels that a new topic is to have.
    Channels(Key, Vec<Name>),
    /// The report was taken in.
    Taken,
    /// What a client may do.
    Authorized(Key, Outcome),
    /// The same for a request of HTTP.
    HttpAuthorized(u64, Outcome),
}

/// A worker's end.
#[derive(Debug)]
pub struct Line {
    worker: usize,
    notes: Sender<Note>,
    words: Ear<Word>,
    /// A report is under way.
    reported: bool,
    /// Whether new topics ask for their channels from the start.
    discovers: bool,
}

/// The control thread's end.
#[derive(Debug)]
pub struct End(Mouth<Word>);

/// The two ends, for the worker with this number.
pub fn pair(
    worker: usize,
    notes: &Sender<Note>,
    doorbell: &Doorbell,
    discovers: bool,
) -> (Line, End) {
    let (mouth, words) = words::pair(doorbell);
    let line = Line { worker, notes: notes.clone(), words, reported: false, discovers };
    (line, End(mouth))
}

impl Line {
    /// Tells a new shard what it has to know before it gets its topics.
    pub fn prepare(&self, shard: &mut Shard) {
        shard.discover(self.discovers);
    }

    /// Whether the shard is to be told something. To be asked between falling asleep and sleeping,
    /// as with a mailbox.
    pub fn has_news(&self) -> bool {
        self.words.has_news()
    }

    /// Tells the shard what was said, and whoever takes it what concerns HTTP.
    pub fn hear(&mut self, shard: &mut Shard, mut http: impl FnMut(u64, Outcome)) {
        while let Some(word) = self.words.hear() {
            match word {
                Word::Discover(asks) => shard.discover(asks),
                Word::Channels(topic, channels) => {
                    // A topic that is gone, or has waited long enough, needs no answer.
                    shard.channels_found(topic, &channels);
                }
                Word::Taken => self.reported = false,
                Word::Authorized(client, outcome) => {
                    shard.authorized(client, outcome.grant());
                }
                Word::HttpAuthorized(ticket, outcome) => http(ticket, outcome),
            }
        }
    }

    /// Asks what a request of HTTP may do.
    pub fn ask(&self, ticket: u64, question: Question) {
        self.note(Note::Question(Asker::Ticket(self.worker, ticket), question));
    }

    /// Asks what clients may do, and reports what came and went on the shard, unless a report is
    /// under way.
    pub fn report(&mut self, shard: &mut Shard) {
        while let Some((client, question)) = shard.take_question() {
            self.note(Note::Question(Asker::Client(self.worker, client), question));
        }
        if self.reported {
            return;
        }
        if let Some(news) = shard.take_discovery_news() {
            self.reported = true;
            self.note(Note::News(self.worker, news));
        }
    }

    fn note(&self, note: Note) {
        // At the end of the process the control thread goes first: nobody is told any more.
        let _ = self.notes.send(note);
    }
}

impl End {
    /// New topics of the worker ask for their channels from now on, or do not any more.
    pub fn discover(&self, asks: bool) {
        self.0.say(Word::Discover(asks));
    }

    /// The answer to a question.
    pub fn channels(&self, topic: Key, channels: Vec<Name>) {
        self.0.say(Word::Channels(topic, channels));
    }

    /// What a client may do.
    pub fn authorized(&self, client: Key, outcome: &Outcome) {
        self.0.say(Word::Authorized(client, outcome.clone()));
    }

    /// What a request of HTTP may do.
    pub fn http_authorized(&self, ticket: u64, outcome: &Outcome) {
        self.0.say(Word::HttpAuthorized(ticket, outcome.clone()));
    }

    /// A report was taken in.
    pub fn taken(&self) {
        self.0.say(Word::Taken);
    }
}
