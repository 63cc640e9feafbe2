//! Shards with clients, turned by hand: bytes go in, messages come out and are finished.

use std::hint::black_box;

use rtrb::RingBuffer;
use shards::client::Peer;
use shards::disk::{DiskEvent, DiskRequest, Opened};
use shards::limits::{Durability, Options};
use shards::log::pool::{CHUNK_BYTES, Grow};
use shards::mail::Letter;
use shards::placement::Placement;
use shards::shard::{Now, Parts, Shard, Socket};
use shards::slots::Key;
use shards::wire::names::Name;

/// Messages in an MPUB.
pub const BATCH: usize = 200;

/// Letters that a lane holds.
const LANE: usize = 64;

/// Between 100 ms and so much more is what messages of [`dpubs`] are put off by.
pub const DEFERRAL_MS: usize = 1000;

/// Bytes of a message frame before its id, and of the id.
const ID: std::ops::Range<usize> = 18..34;

/// Messages that a consumer may have in flight, unless it is told otherwise.
const READY: usize = 2500;

/// What one consumer subscribes to.
#[derive(Clone, Copy)]
pub struct Consumer {
    topic: &'static str,
    channel: &'static str,
}

impl Consumer {
    /// Of that topic and channel.
    pub fn of(topic: &'static str, channel: &'static str) -> Self {
        Self { topic, channel }
    }
}

/// Memory for a log; it is never given back, like the broker's.
pub fn grow() -> Grow {
    Box::new(|| Some(Box::leak(vec![0; CHUNK_BYTES].into_boxed_slice())))
}

/// `DPUB` of the same body `count` times, due at different times.
pub fn dpubs(topic: &str, count: usize, body: &[u8]) -> Vec<u8> {
    let mut commands = Vec::new();
    for at in 0..count {
        // In no order, but the same in each run.
        let delay_ms = 100 + at * 37 % DEFERRAL_MS;
        commands.extend_from_slice(format!("DPUB {topic} {delay_ms}\n").as_bytes());
        commands.extend_from_slice(&(body.len() as u32).to_be_bytes());
        commands.extend_from_slice(body);
    }
    commands
}

/// `PUB` of the same body `count` times.
pub fn pubs(topic: &str, count: usize, body: &[u8]) -> Vec<u8> {
    let mut command = format!("PUB {topic}\n").into_bytes();
    command.extend_from_slice(&(body.len() as u32).to_be_bytes());
    command.extend_from_slice(body);
    command.repeat(count)
}

/// `MPUB` of the same body `count` times.
pub fn mpub(topic: &str, count: usize, body: &[u8]) -> Vec<u8> {
    let mut inner = (count as u32).to_be_bytes().to_vec();
    for _ in 0..count {
        inner.extend_from_slice(&(body.len() as u32).to_be_bytes());
        inner.extend_from_slice(body);
    }
    let mut command = format!("MPUB {topic}\n").into_bytes();
    command.extend_from_slice(&(inner.len() as u32).to_be_bytes());
    command.extend_from_slice(&inner);
    command
}

/// A disk that has done everything by the next turn, and keeps nothing.
#[derive(Default)]
struct Shelf {
    events: Vec<DiskEvent>,
    files: u32,
}

impl Shelf {
    fn submit(&mut self, request: DiskRequest) {
        let event = match request {
            DiskRequest::Open { role, .. } => {
                self.files += 1;
                DiskEvent::Opened(role, Ok(Opened { number: self.files, nonce: 7 }))
            }
            DiskRequest::Write { ticket, content, .. } => {
                DiskEvent::Written { ticket, content, result: Ok(()) }
            }
            DiskRequest::Sync { ticket, .. } => DiskEvent::Synced { ticket, result: Ok(()) },
            DiskRequest::Release(_) => return,
            DiskRequest::Read { .. } => unreachable!("all of it is in memory"),
        };
        self.events.push(event);
    }
}

/// One shard and its clients.
struct Worker {
    shard: Shard,
    shelf: Shelf,
    producer: Key,
    consumers: Vec<Key>,
    /// What a consumer answers to one turn's messages.
    answers: Vec<u8>,
    turns: u64,
    /// What went by besides the turns.
    passed_ms: u64,
}

impl Worker {
    fn new(
        placement: Placement,
        workers: u16,
        durability: Durability,
        consumers: &[Consumer],
    ) -> Self {
        let options = Options { durability, ..Options::default() };
        let now = Now { mono_ms: 1, wall_ns: 1 };
        let disk = durability != Durability::Memory;
        let parts = Parts { options, placement, workers, now, seed: 1, disk };
        let mut shard = Shard::new(parts, grow());
        // Nobody writes metadata here, so no answer waits for it.
        shard.metadata_settled(u64::MAX);
        let producer = shard.connect(Socket(0), Peer::default());
        let mut worker = Self {
            shard,
            shelf: Shelf::default(),
            producer,
            consumers: Vec::new(),
            answers: Vec::new(),
            turns: 0,
            passed_ms: 0,
        };
        while worker.shard.is_starting() {
            worker.turn();
        }
        worker.shard.received(producer, b"  V2");
        for (socket, Consumer { topic, channel }) in (1..).zip(consumers) {
            let key = worker.shard.connect(Socket(socket), Peer::default());
            let greeting = format!("  V2SUB {topic} {channel}\nRDY {READY}\n");
            worker.shard.received(key, greeting.as_bytes());
            worker.consumers.push(key);
        }
        worker.turn();
        worker
    }

    /// Ends the turn, takes everything that is to be sent, and begins the next one; returns how
    /// many messages came out, which are finished in that next turn.
    fn turn(&mut self) -> usize {
        self.write_journal();
        self.shard.finish_turn();
        while let Some(request) = self.shard.take_disk_request() {
            self.shelf.submit(request);
        }
        let effects = self.shard.take_effects();
        self.shard.reuse_effects(effects);
        while let Some((key, _)) = self.shard.take_dirty() {
            if key == self.producer {
                let bytes = self.shard.output(key).len();
                self.shard.sent(key, bytes);
            }
        }
        self.turns += 1;
        let mono_ms = 1 + self.turns / 1000 + self.passed_ms;
        self.shard.begin_turn(Now { mono_ms, wall_ns: 1 });
        for event in self.shelf.events.drain(..) {
            self.shard.disk_event(event);
        }
        (0..self.consumers.len()).map(|at| self.finish(self.consumers[at])).sum()
    }

    /// All that the shard wants appended is.
    fn write_journal(&mut self) {
        self.shard.prepare_journal();
        while let Some(batch) = self.shard.journal_batch() {
            black_box(batch.slices.iter().map(|slice| slice.len()).sum::<usize>());
            self.shard.journal_appended(Ok(()));
        }
    }

    /// Takes what one consumer is sent, and finishes it.
    fn finish(&mut self, consumer: Key) -> usize {
        let output = self.shard.output(consumer);
        let (bytes, mut at, mut messages) = (output.len(), 0, 0);
        self.answers.clear();
        while let Some(size) = output[at..].first_chunk::<4>() {
            let frame = &output[at..at + 4 + u32::from_be_bytes(*size) as usize];
            if frame[7] == 2 {
                self.answers.extend_from_slice(b"FIN ");
                self.answers.extend_from_slice(&frame[ID]);
                self.answers.push(b'\n');
                messages += 1;
            }
            at += frame.len();
        }
        self.shard.sent(consumer, bytes);
        let answers = std::mem::take(&mut self.answers);
        self.shard.received(consumer, &answers);
        self.answers = answers;
        messages
    }
}

/// A shard by itself.
pub struct Single(Worker);

impl Single {
    /// With these consumers, and a producer.
    pub fn new(consumers: &[Consumer]) -> Self {
        Self::with(Durability::Memory, consumers)
    }

    /// The same, with a disk where the promise needs one.
    pub fn with(durability: Durability, consumers: &[Consumer]) -> Self {
        Self(Worker::new(Placement::new(0, 1, &[]), 1, durability, consumers))
    }

    /// Publishes, and delivers until nothing is left; returns how many messages came out.
    pub fn exchange(&mut self, input: &[u8]) -> usize {
        self.publish(input);
        self.deliver()
    }

    /// Takes that in, to be answered in the next turn.
    pub fn publish(&mut self, input: &[u8]) {
        self.0.shard.received(self.0.producer, input);
    }

    /// One turn; returns how many messages came out.
    pub fn turn(&mut self) -> usize {
        self.0.turn()
    }

    /// Turns until nothing comes out any more; returns how many messages did.
    pub fn deliver(&mut self) -> usize {
        deliver(|| self.0.turn())
    }

    /// How many messages every consumer may have in flight from now on.
    pub fn ready(&mut self, count: usize) {
        let command = format!("RDY {count}\n");
        for at in 0..self.0.consumers.len() {
            self.0.shard.received(self.0.consumers[at], command.as_bytes());
        }
    }

    /// Lets so much time go by before the next turn.
    pub fn pass(&mut self, ms: u64) {
        self.0.passed_ms += ms;
    }
}

/// Turns until nothing comes out any more.
fn deliver(mut turn: impl FnMut() -> usize) -> usize {
    let mut messages = 0;
    loop {
        let some = turn();
        messages += some;
        if some == 0 {
            return messages;
        }
    }
}

/// Two shards and the lanes between them; a producer on the first publishes to both.
pub struct Pair {
    home: Worker,
    away: Worker,
    there: (rtrb::Producer<Letter>, rtrb::Consumer<Letter>),
    back: (rtrb::Producer<Letter>, rtrb::Consumer<Letter>),
}

impl Pair {
    /// Topic `t0` is at home, `t1` away.
    #[expect(clippy::new_without_default, reason = "it is no value, but two shards with clients")]
    pub fn new() -> Self {
        let name = |text: &[u8]| Name::parse(text).expect("a valid name");
        let placement = |me| Placement::new(me, 2, &[(name(b"t0"), 0), (name(b"t1"), 1)]);
        let consumer = |topic| [Consumer::of(topic, "c")];
        let home = Worker::new(placement(0), 2, Durability::Memory, &consumer("t0"));
        let away = Worker::new(placement(1), 2, Durability::Memory, &consumer("t1"));
        Self { home, away, there: RingBuffer::new(LANE), back: RingBuffer::new(LANE) }
    }

    /// PUBs to both topics in turn: who publishes to one topic elsewhere for long moves there.
    pub fn input(&self, body: &[u8]) -> Vec<u8> {
        let mut input = Vec::new();
        for at in 0..BATCH {
            input.extend_from_slice(format!("PUB t{}\n", at % 2).as_bytes());
            input.extend_from_slice(&(body.len() as u32).to_be_bytes());
            input.extend_from_slice(body);
        }
        input
    }

    /// Publishes, and delivers until nothing is left; returns how many messages came out.
    pub fn exchange(&mut self, input: &[u8]) -> usize {
        self.home.shard.received(self.home.producer, input);
        let mut messages = self.turn();
        // The answers of the other shard have to come back, too.
        messages += self.turn();
        messages + deliver(|| self.turn())
    }

    fn turn(&mut self) -> usize {
        let mut messages = self.home.turn();
        post(&mut self.home.shard, &mut self.there.0);
        take(&mut self.there.1, &mut self.away.shard, 0);
        messages += self.away.turn();
        post(&mut self.away.shard, &mut self.back.0);
        take(&mut self.back.1, &mut self.home.shard, 1);
        messages
    }
}

fn post(from: &mut Shard, lane: &mut rtrb::Producer<Letter>) {
    while let Some((_, letter)) = from.take_letter() {
        lane.push(letter).expect("a lane holds the letters of a turn");
    }
}

fn take(lane: &mut rtrb::Consumer<Letter>, to: &mut Shard, from: u16) {
    while let Ok(letter) = lane.pop() {
        to.mail(from, letter);
    }
}
