//! The rows of the guards: each is a script, and how many messages a batch of it is.

use std::hint::black_box;

use shards::limits::Durability;
use shards::wheel::{TimerId, Wheel};

use crate::flow::{self, BATCH, Consumer, DEFERRAL_MS, Pair, Single};

/// Commands that one read brings.
const COMMANDS: usize = 64;

const BODY: [u8; 200] = [b'x'; 200];

const CHANNELS: [&str; 8] = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"];

/// One way of messages through a shard.
pub struct Row {
    /// What it is called in the record.
    pub name: &'static str,
    /// Messages in a batch; with several channels each counts once for each of them.
    pub messages: usize,
    /// How often it may allocate in a batch when everything is warm: never for a message on its
    /// way, but see [`Row::allocating`].
    pub allocations_max: usize,
    /// A shard that is ready for it.
    pub script: fn() -> Box<dyn Script>,
}

impl Row {
    const fn new(name: &'static str, messages: usize, script: fn() -> Box<dyn Script>) -> Row {
        Row { name, messages, allocations_max: 0, script }
    }

    /// Where something is made anew for each batch.
    const fn allocating(self, allocations_max: usize) -> Row {
        Row { allocations_max, ..self }
    }
}

/// What is done again and again.
pub trait Script {
    /// What belongs in front of so many batches and is not counted.
    fn prepare(&mut self, _batches: usize) {}

    /// That many batches, which are.
    fn run(&mut self, batches: usize);
}

/// All of them.
pub const ROWS: [Row; 11] = [
    Row::new("pub", COMMANDS, || {
        Publish::boxed(Durability::Memory, flow::pubs("t", COMMANDS, &BODY))
    }),
    Row::new("mpub", BATCH, || Publish::boxed(Durability::Memory, flow::mpub("t", BATCH, &BODY))),
    // What is left of a backlog's segments is merged now and then.
    Row::new("sub", BATCH, Subscribe::boxed).allocating(1),
    Row::new("flow", BATCH, || Flow::boxed(Durability::Memory, 1)),
    Row::new("fanout-8", BATCH * 8, || Flow::boxed(Durability::Memory, 8)),
    // Letters own what they bring, which is gathered as it comes.
    Row::new("mailbox", BATCH, Mailbox::boxed).allocating(18),
    // Leaves of the tree that knows which messages are kept back.
    Row::new("deferred", BATCH, Deferred::boxed).allocating(32),
    Row::new("wheel-cancel", TIMERS as usize, || Timers::boxed(true)),
    Row::new("wheel-fire", TIMERS as usize, || Timers::boxed(false)),
    // The list of what is appended borrows from the shard, so that each append has its own: one
    // for what came, one for what was finished.
    Row::new("written-mpub", BATCH, || {
        Publish::boxed(Durability::Written, flow::mpub("t", BATCH, &BODY))
    })
    .allocating(1),
    Row::new("written-flow", BATCH, || Flow::boxed(Durability::Written, 1)).allocating(2),
];

fn subscribed(durability: Durability) -> Single {
    Single::with(durability, &[Consumer::of("t", CHANNELS[0])])
}

/// Publishes while nobody is ready. In front of it, what there is goes out, so that the memory is
/// there and warm.
struct Publish {
    single: Single,
    input: Vec<u8>,
}

impl Publish {
    fn boxed(durability: Durability, input: Vec<u8>) -> Box<dyn Script> {
        Box::new(Publish { single: subscribed(durability), input })
    }
}

impl Script for Publish {
    fn prepare(&mut self, _: usize) {
        self.single.ready(BATCH);
        self.single.deliver();
        self.single.ready(0);
        // Buffers change hands with the first batch.
        self.run(1);
    }

    fn run(&mut self, batches: usize) {
        for _ in 0..batches {
            self.single.publish(&self.input);
            assert_eq!(self.single.turn(), 0, "nobody is ready");
        }
    }
}

/// Delivers and finishes what waits, a batch in each turn.
struct Subscribe {
    single: Single,
    input: Vec<u8>,
}

impl Subscribe {
    fn boxed() -> Box<dyn Script> {
        let single = subscribed(Durability::Memory);
        Box::new(Subscribe { single, input: flow::mpub("t", BATCH, &BODY) })
    }
}

impl Script for Subscribe {
    fn prepare(&mut self, batches: usize) {
        self.single.ready(0);
        // One more: buffers change hands with the first batch.
        for _ in 0..=batches {
            self.single.publish(&self.input);
            self.single.turn();
        }
        self.single.ready(BATCH);
        self.run(1);
    }

    fn run(&mut self, batches: usize) {
        for _ in 0..batches {
            assert_eq!(self.single.turn(), BATCH);
        }
    }
}

/// In by MPUB, out on every channel, finished.
struct Flow {
    single: Single,
    input: Vec<u8>,
    channels: usize,
}

impl Flow {
    fn boxed(durability: Durability, channels: usize) -> Box<dyn Script> {
        let consumers: Vec<_> =
            CHANNELS[..channels].iter().map(|channel| Consumer::of("t", channel)).collect();
        let single = Single::with(durability, &consumers);
        Box::new(Flow { single, input: flow::mpub("t", BATCH, &BODY), channels })
    }
}

impl Script for Flow {
    fn run(&mut self, batches: usize) {
        for _ in 0..batches {
            assert_eq!(self.single.exchange(&self.input), BATCH * self.channels);
        }
    }
}

/// Half of the messages go to a topic of another shard.
struct Mailbox {
    pair: Pair,
    input: Vec<u8>,
}

impl Mailbox {
    fn boxed() -> Box<dyn Script> {
        let pair = Pair::new();
        let input = pair.input(&BODY);
        Box::new(Mailbox { pair, input })
    }
}

impl Script for Mailbox {
    fn run(&mut self, batches: usize) {
        for _ in 0..batches {
            assert_eq!(self.pair.exchange(&self.input), BATCH);
        }
    }
}

/// Put off, then due, delivered and finished.
struct Deferred {
    single: Single,
    input: Vec<u8>,
}

impl Deferred {
    fn boxed() -> Box<dyn Script> {
        let single = subscribed(Durability::Memory);
        Box::new(Deferred { single, input: flow::dpubs("t", BATCH, &BODY) })
    }
}

impl Script for Deferred {
    fn run(&mut self, batches: usize) {
        for _ in 0..batches {
            self.single.publish(&self.input);
            assert_eq!(self.single.turn(), 0, "none is due");
            self.single.pass(2 * DEFERRAL_MS as u64);
            self.single.turn();
            assert_eq!(self.single.deliver(), BATCH);
        }
    }
}

/// Timers of a batch.
const TIMERS: u64 = 1000;

/// Timers alone, as messages in flight set and cancel them, or as they run out.
struct Timers {
    wheel: Wheel<u64>,
    ids: Vec<TimerId>,
    now_ms: u64,
    cancels: bool,
}

impl Timers {
    fn boxed(cancels: bool) -> Box<dyn Script> {
        let ids = Vec::with_capacity(TIMERS as usize);
        Box::new(Timers { wheel: Wheel::new(0), ids, now_ms: 0, cancels })
    }

    fn fire(&mut self) {
        let (mut steps, mut fired) = (u32::MAX, 0);
        while let Some(timer) = self.wheel.pop(self.now_ms, &mut steps) {
            black_box(timer);
            fired += 1;
        }
        assert_eq!(fired, TIMERS);
    }
}

impl Script for Timers {
    fn run(&mut self, batches: usize) {
        for _ in 0..batches {
            for at in 0..TIMERS {
                self.ids.push(self.wheel.set(self.now_ms + 100 + at * 37 % 1000, at));
            }
            if self.cancels {
                self.ids.drain(..).for_each(|id| self.wheel.cancel(id));
            } else {
                self.now_ms += 2000;
                self.fire();
                self.ids.clear();
            }
        }
    }
}
