//! What must be true, kept beside the shards: every message on every channel, from what clients
//! sent and were sent.
//!
//! It hears of commands when a shard receives them and of frames when they stand in a shard's
//! output, both with the time of the turn, so that it knows what a shard must answer. Which topics
//! and channels there are, and which of them are paused, it knows exactly: from what operators were
//! told and from the answers to SUB. Where the order of a message is open (a publish that is not
//! answered yet while a channel is made or emptied) it is `unsure` on that channel: it may be there
//! or not, and counts have that much room.

mod beyond;
mod compare;
mod deliver;
mod operate;
mod place;
mod replies;
mod restart;
mod seek;
mod wait;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use shards::policy::Limit;

use super::Settings;
use super::disk::Fact;
use super::wire::{Command, Frame};
use beyond::{Bounds, Seen};
use replies::Answer;

pub use operate::Order;
use wait::Wait;

/// A published message.
#[derive(Debug)]
pub struct Published {
    topic: usize,
    /// Nobody has received it yet when `None`; else in which tick and when. Of one that was
    /// forwarded: when its topic's shard received it.
    handed: Option<(u64, u64)>,
    outcome: Outcome,
    delay_ms: u64,
    bytes: usize,
    id: Option<[u8; 16]>,
    timestamp_ns: i64,
    /// The number in its body: its own, unless it is one that was brought back.
    base: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Open,
    Acknowledged,
    Refused,
    /// Nobody was told.
    Unknown,
}

/// A message on a channel that has not been finished.
#[derive(Clone, Copy, Debug)]
struct Entry {
    state: State,
    attempts: u16,
    unsure: bool,
    /// It was there before a crash: it may have been delivered less often than the ledger knows.
    loose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waiting,
    InFlight {
        connection: usize,
        until_ms: u64,
        since_ms: u64,
    },
    /// Due at the second time at the latest, and not before the first.
    Deferred(u64, u64),
}

#[derive(Debug, Default)]
pub struct Topic {
    paused: bool,
    was_paused: bool,
    /// It waits for its channels again, which may have had messages of it before.
    taken_back: bool,
    /// Acknowledged, not given to channels; whether that is unsure.
    held: BTreeMap<u32, bool>,
    channels: BTreeMap<usize, Channel>,
    /// Tick of the last change that makes publishes under way unsure.
    disturbed: u64,
    /// Whether it waits for its channels.
    wait: Wait,
    /// It may not exist: only publishes of which nobody was told can have made it.
    doubtful: bool,
}

#[derive(Debug, Default)]
pub struct Channel {
    created: u64,
    disturbed: u64,
    paused: bool,
    live: HashMap<u32, Entry>,
    finished: HashSet<u32>,
    consumers: Vec<usize>,
    /// Ephemeral or sampled: messages may vanish.
    lossy: bool,
    /// Emptied so far, less what was there at the start; `None` until it is measured anew.
    emptied: Option<i64>,
    /// Messages may turn out to be damaged.
    shaky: bool,
    /// Deliveries after which a message is a dead letter; 0 for any number.
    attempts_max: u16,
    /// Those that are.
    dead: HashSet<u32>,
    /// Those that were, or may have been.
    died: HashSet<u32>,
    /// Those that were before the power went: they are dead letters, or came again.
    owed: HashSet<u32>,
    /// How much it may hold.
    limit: Limit,
    /// What is too much becomes a dead letter.
    buries: bool,
    /// What is too much is dropped, and counted.
    drops: bool,
    /// When it was compared last.
    seen: Option<Seen>,
}

/// Messages of one publish: the number of the first, and how many.
pub type Publishes = (u32, u32);

#[derive(Debug)]
enum Expected {
    Ok,
    Publish {
        first: u32,
        count: u32,
    },
    Subscribe(usize, usize),
    CloseWait,
    /// Answered only when it fails.
    Answer {
        verb: &'static str,
        id: [u8; 16],
        fails: bool,
    },
    /// The same where the message may be lost.
    Perhaps {
        verb: &'static str,
        id: [u8; 16],
    },
    Fatal,
}

#[derive(Debug, Default)]
struct Client {
    expected: VecDeque<Expected>,
    subscription: Option<(usize, usize)>,
    ready: u64,
    msg_timeout_ms: u64,
    sample: bool,
    has: BTreeSet<u32>,
    last_first_id: [u8; 16],
    ended: bool,
    closing: bool,
    /// It makes noise, and so do the answers.
    ignored: bool,
    /// Its commands wait for a time that is not known: nothing exact is said of it.
    blurred: bool,
    /// The end of its output was taken back: a publish is refused now.
    cut: bool,
}

/// See the module's text.
pub struct Ledger {
    pub complaints: Vec<String>,
    /// Messages delivered, finished.
    pub delivered: u64,
    pub finished: u64,
    tick: u64,
    now_ms: u64,
    messages: Vec<Published>,
    topics: Vec<Option<Topic>>,
    /// The tick in which each topic was deleted last.
    deleted: Vec<u64>,
    clients: Vec<Client>,
    ids: HashMap<(usize, [u8; 16]), u32>,
    tickets: HashMap<u64, (u32, u32)>,
    topic_names: Vec<&'static str>,
    channel_names: Vec<&'static str>,
    attempts_max: u16,
    bounds: Bounds,
    /// Dead letters are brought back.
    redrives: bool,
    /// All shards end now and then.
    ends: bool,
    /// The power goes now and then.
    torn: bool,
    /// Operators delete nothing.
    gentle: bool,
    wall_ns: i64,
    msg_timeout_ms: u64,
    max_msg_timeout_ms: u64,
    /// Clients may seem silent.
    jumps: bool,
    /// The disk may fail.
    faulty: bool,
    /// Publishes may wait for the disk.
    patient: bool,
    /// The tick of the last time when nothing waited.
    rested: u64,
    /// What happened and is not in the journal yet.
    unwritten: Vec<Fact>,
    /// What was finished by a command that may not have been carried out.
    vague: HashSet<Fact>,
    /// Messages that the disk may have lost.
    damaged: HashSet<u32>,
    /// Messages that were to be acknowledged when everything ended: they may be there or not.
    unkept: HashSet<u32>,
    /// Topics that have let go of what they kept.
    pressed: HashSet<usize>,
}

impl Ledger {
    pub fn new(settings: &Settings) -> Ledger {
        Ledger {
            complaints: Vec::new(),
            delivered: 0,
            finished: 0,
            tick: 1,
            now_ms: 0,
            messages: Vec::new(),
            topics: settings.topics.iter().map(|_| None).collect(),
            deleted: settings.topics.iter().map(|_| 0).collect(),
            clients: Vec::new(),
            ids: HashMap::new(),
            tickets: HashMap::new(),
            topic_names: settings.topics.clone(),
            channel_names: settings.channels.clone(),
            attempts_max: settings.attempts,
            bounds: Bounds::new(settings),
            redrives: false,
            ends: !settings.ends.is_empty(),
            torn: settings.ends.contains(&super::End::PowerCut),
            gentle: !settings.destructive,
            wall_ns: 0,
            msg_timeout_ms: settings.options.msg_timeout_ms.unsigned_abs(),
            jumps: settings.jumps,
            faulty: settings.is_faulty(),
            patient: settings.disk.is_some(),
            rested: 0,
            unwritten: Vec::new(),
            vague: HashSet::new(),
            damaged: HashSet::new(),
            unkept: HashSet::new(),
            pressed: HashSet::new(),
            max_msg_timeout_ms: settings.options.max_msg_timeout_ms.unsigned_abs(),
        }
    }

    pub fn complain(&mut self, complaint: String) {
        if self.complaints.len() < 8 {
            self.complaints.push(complaint);
        }
    }

    /// Something goes into a shard: what came before is known, what follows came later.
    pub fn tick(&mut self) {
        self.tick += 1;
    }

    pub fn connected(&mut self, index: usize) {
        assert_eq!(self.clients.len(), index, "connections are numbered in order");
        let msg_timeout_ms = self.msg_timeout_ms;
        self.clients.push(Client { msg_timeout_ms, ..Client::default() });
    }

    /// What this client is sent says nothing.
    pub fn ignore(&mut self, index: usize) {
        self.clients[index].ignored = true;
    }

    /// Numbers for messages about to be published; the first of them.
    pub fn number(&mut self, topic: usize, delay_ms: u64, sizes: &[usize]) -> u32 {
        let first = self.messages.len() as u32;
        self.messages.extend((first..).zip(sizes).map(|(base, &bytes)| Published {
            topic,
            base,
            handed: None,
            outcome: Outcome::Open,
            delay_ms,
            bytes,
            id: None,
            timestamp_ns: 0,
        }));
        first
    }

    /// Has the ledger believe in a longer delay than the shard was told.
    pub fn lengthen(&mut self, number: u32, by_ms: u64) {
        self.messages[number as usize].delay_ms += by_ms;
    }

    /// The same for HTTP; `ticket` comes back with the reply.
    pub fn number_http(
        &mut self,
        topic: usize,
        delay_ms: u64,
        sizes: &[usize],
        ticket: u64,
    ) -> u32 {
        let first = self.number(topic, delay_ms, sizes);
        self.tickets.insert(ticket, (first, sizes.len() as u32));
        first
    }

    /// A shard received a whole command.
    pub fn handed(&mut self, index: usize, command: &Command, now_ms: u64) {
        self.now_ms = now_ms;
        let client = &mut self.clients[index];
        if client.ended {
            return;
        }
        match *command {
            Command::Publish { first, count, .. } => {
                client.expected.push_back(Expected::Publish { first, count });
                self.hand_messages(first, count);
            }
            Command::Subscribe { topic, channel } => {
                client.expected.push_back(Expected::Subscribe(topic, channel));
            }
            Command::Identify { msg_timeout_ms, sample_rate } => {
                client.expected.push_back(Expected::Ok);
                client.msg_timeout_ms = msg_timeout_ms;
                client.sample = sample_rate > 0;
            }
            Command::Ready(count) if !client.closing => client.ready = count,
            Command::Ready(_) => {}
            Command::Close => {
                client.ready = 0;
                client.closing = true;
                client.expected.push_back(Expected::CloseWait);
            }
            Command::Fatal => {
                client.expected.push_back(Expected::Fatal);
                client.ended = true;
            }
            Command::Nothing => {}
            Command::Finish(id) => self.answered(index, "FIN", id, Answer::Finish),
            Command::Requeue(id, ms) => self.answered(index, "REQ", id, Answer::Requeue(ms)),
            Command::Touch(id) => self.answered(index, "TOUCH", id, Answer::Touch),
        }
    }

    fn hand_messages(&mut self, first: u32, count: u32) {
        for number in first..first + count {
            self.messages[number as usize].handed = Some((self.tick, self.now_ms));
        }
    }

    /// A frame stands in a shard's output.
    pub fn produced(&mut self, index: usize, frame: &Frame, now_ms: u64) -> Option<Publishes> {
        self.now_ms = now_ms;
        if self.clients[index].ignored {
            return None;
        }
        match frame {
            Frame::Response(body) if body == b"_heartbeat_" => {}
            Frame::Response(body) => return self.responded(index, body),
            Frame::Error(text) => self.failed(index, text),
            Frame::Message(message) => {
                if let Err(complaint) = self.deliver(index, message) {
                    let text = format!(
                        "{complaint}: connection {index}, attempt {}, id {}, at {now_ms} ms",
                        message.attempts,
                        String::from_utf8_lossy(&message.id)
                    );
                    self.complain(text);
                }
            }
        }
        None
    }

    /// A client will not be told after all that its messages are queued: they may come or not.
    pub fn revoked(&mut self, (first, count): Publishes) {
        for number in first..first + count {
            self.messages[number as usize].outcome = Outcome::Unknown;
            self.doubt(number);
        }
    }

    /// The disk may have lost a message.
    pub fn endangered(&mut self, number: u32) {
        self.damaged.insert(number);
        self.doubt(number);
    }

    /// A message may be there or not.
    fn doubt(&mut self, number: u32) {
        let Some(message) = self.messages.get(number as usize) else { return };
        let Some(topic) = self.topics[message.topic].as_mut() else { return };
        if let Some(unsure) = topic.held.get_mut(&number) {
            *unsure = true;
        }
        for channel in topic.channels.values_mut() {
            (channel.emptied, channel.shaky) = (None, true);
            if let Some(entry) = channel.live.get_mut(&number) {
                entry.unsure = true;
            }
        }
    }

    /// The end of a client's output was taken back, because the disk failed.
    pub fn cut(&mut self, index: usize) {
        self.clients[index].cut = true;
    }

    /// The topic of an acknowledged publish, if it is still there.
    pub fn promised_topic(&self, (first, _): Publishes) -> Option<&'static str> {
        let message = &self.messages[first as usize];
        let gone = message.handed.is_none_or(|(since, _)| self.deleted[message.topic] >= since);
        (!gone).then(|| self.topic_names[message.topic])
    }

    /// The shard lets a client's commands wait: when they are carried out is not known then.
    pub fn paused(&mut self, index: usize) {
        self.clients[index].blurred = true;
    }

    /// A connection has ended.
    pub fn closed(&mut self, index: usize) {
        self.clients[index].ended = true;
        self.nobody_was_told(index);
        self.unsubscribed(index);
    }

    /// What a client that has ended waited for may have happened or not.
    fn nobody_was_told(&mut self, index: usize) {
        let client = &mut self.clients[index];
        for expected in std::mem::take(&mut client.expected) {
            // A SUB is answered at once, and answers are seen at once: it was not carried out.
            if let Expected::Publish { first, count } = expected {
                self.conclude(first, count, Outcome::Unknown);
            }
        }
    }

    fn unsubscribed(&mut self, index: usize) {
        let Some((topic, channel_index)) = self.clients[index].subscription else { return };
        let Some(channel) = self.channel_mut(topic, channel_index) else { return };
        channel.consumers.retain(|&other| other != index);
        let abandoned = channel.consumers.is_empty();
        if abandoned && self.channel_names[channel_index].ends_with("#ephemeral") {
            self.delete_channel(topic, channel_index);
        }
    }
}
