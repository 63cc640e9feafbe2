//! What the parts of a shard cost without a kernel: parser, delivery, wheel, mailbox, log.
//!
//! `cargo bench -p perf` prints for each the quickest of its samples, which is what a busy
//! neighbour disturbs least, and what was allocated: nothing, in steady flow.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};

use parts::flow::{self, BATCH, Consumer, Pair, Single};
use shards::limits::Options;
use shards::log::record::{self, Salt};
use shards::log::{Log, Message, Pool};
use shards::store::Space;
use shards::wheel::{TimerId, Wheel};
use shards::wire::command::{Context, Progress, Step, parse};
use shards::wire::frame;
use shards::wire::names::Name;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Commands that one read brings.
const COMMANDS: usize = 64;

const BODY: [u8; 200] = [b'x'; 200];

/// All commands of a read, one after the other.
fn parse_all(bytes: &[u8], options: &Options, last_topic: Option<&Name>) -> usize {
    let (mut rest, mut commands) = (bytes, 0);
    while !rest.is_empty() {
        let context = Context { fresh: false, last_topic, options };
        let step = parse(rest, context, &mut Progress::default());
        let Step::Whole(command, length) = black_box(step) else {
            unreachable!("the input is whole and right")
        };
        black_box(command);
        rest = &rest[length..];
        commands += 1;
    }
    commands
}

fn bench_parse(bencher: Bencher<'_, '_>, one: &[u8]) {
    let (bytes, options) = (one.repeat(COMMANDS), Options::default());
    let topic = Name::parse(b"t").unwrap();
    bencher.counter(ItemsCount::new(COMMANDS)).bench_local(|| {
        let commands = parse_all(black_box(&bytes), &options, Some(&topic));
        assert_eq!(commands, COMMANDS);
    });
}

#[divan::bench]
fn parse_pub(bencher: Bencher<'_, '_>) {
    bench_parse(bencher, &flow::pubs("t", 1, &BODY));
}

/// For one command of 200 messages.
#[divan::bench]
fn parse_mpub_of_200(bencher: Bencher<'_, '_>) {
    bench_parse(bencher, &flow::mpub("t", BATCH, &BODY));
}

#[divan::bench]
fn parse_fin(bencher: Bencher<'_, '_>) {
    bench_parse(bencher, b"FIN 0123456789abcdef\n");
}

/// In by MPUB, out to consumers, finished: what steady flow costs without the kernel.
#[divan::bench(args = [1, 4, 16, 64])]
fn delivery_to_consumers(bencher: Bencher<'_, '_>, consumers: usize) {
    let mut single = Single::new(&vec![Consumer::of("t", "c"); consumers]);
    let input = flow::mpub("t", BATCH, &BODY);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        assert_eq!(single.exchange(&input), BATCH);
    });
}

/// The same to so many channels; a message counts once for each.
#[divan::bench(args = [1, 8])]
fn delivery_to_channels(bencher: Bencher<'_, '_>, channels: usize) {
    const NAMES: [&str; 8] = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"];
    let consumers: Vec<Consumer> =
        NAMES[..channels].iter().map(|name| Consumer::of("t", name)).collect();
    let mut single = Single::new(&consumers);
    let input = flow::mpub("t", BATCH, &BODY);
    bencher.counter(ItemsCount::new(BATCH * channels)).bench_local(|| {
        assert_eq!(single.exchange(&input), BATCH * channels);
    });
}

/// Half of the messages go to a topic of another shard, through its lane and back as an answer.
#[divan::bench]
fn delivery_through_the_mailbox(bencher: Bencher<'_, '_>) {
    let mut pair = Pair::new();
    let input = pair.input(&BODY);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        assert_eq!(pair.exchange(&input), BATCH);
    });
}

/// A message's timeout: set when it is delivered, cancelled when it is finished.
#[divan::bench]
fn wheel_set_and_cancel(bencher: Bencher<'_, '_>) {
    const TIMERS: usize = 1000;
    let mut wheel: Wheel<u64> = Wheel::new(1_000_000);
    let mut ids = vec![TimerId::NONE; TIMERS];
    bencher.counter(ItemsCount::new(TIMERS)).bench_local(|| {
        for (at, id) in (0..).zip(&mut ids) {
            *id = wheel.set(1_060_000 + at % 7, at);
        }
        for id in &ids {
            wheel.cancel(*id);
        }
    });
}

/// Deferred messages whose time comes.
#[divan::bench]
fn wheel_set_and_fire(bencher: Bencher<'_, '_>) {
    const TIMERS: u64 = 1000;
    let mut wheel: Wheel<u64> = Wheel::new(0);
    let mut now_ms = 0;
    bencher.counter(ItemsCount::new(TIMERS)).bench_local(|| {
        for at in 0..TIMERS {
            wheel.set(now_ms + 100 + at * 37 % 1000, at);
        }
        now_ms += 2000;
        let mut steps = u32::MAX;
        let mut fired = 0;
        while wheel.pop(now_ms, &mut steps).is_some() {
            fired += 1;
        }
        assert_eq!(fired, TIMERS);
    });
}

/// A message copied to the end of its topic's log.
#[divan::bench]
fn log_append(bencher: Bencher<'_, '_>) {
    const APPENDS: u64 = 1000;
    let mut space = Space::new(Pool::new(64 << 20, flow::grow()), 64 << 20);
    let mut log = Log::new(&Name::parse(b"t").unwrap());
    let header = frame::message_header(BODY.len() as u32, 1, b"0123456789abcdef");
    let mut sequence = 0;
    bencher.counter(ItemsCount::new(APPENDS)).bench_local(|| {
        for _ in 0..APPENDS {
            let message = Message { header: &header, body: &BODY, delay_ms: 0, note: b"" };
            log.append(&mut space, sequence, message).unwrap();
            sequence += 1;
        }
        // All of it is finished: its memory is used again while it is warm.
        log.free_below(log.end().segment, &mut space);
    });
}

/// The checksums of a turn's records, made when they are written down.
#[divan::bench]
fn log_seal(bencher: Bencher<'_, '_>) {
    let salt = Salt::of(&Name::parse(b"t").unwrap());
    let header = frame::message_header(BODY.len() as u32, 1, b"0123456789abcdef");
    let message = Message { header: &header, body: &BODY, delay_ms: 0, note: b"" };
    let mut run = Vec::new();
    (0..BATCH).for_each(|_| record::append(&mut run, &message, salt));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        record::seal_all(black_box(&mut run), salt);
    });
}
