//! Many more deferred messages than memory has room for: they outlive a stop and kill -9, come
//! when they are due and not before, and take the memory that the broker was given.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::start;
use crate::harness::{Broker, Client, Frame, Peer, TempDir, dpub, on_each_shoal, rss_bytes};

const COUNT: u64 = 100_000;
/// One in so many is due while the test runs.
const NEAR: u64 = 20;
/// When the first of those is due, long enough after the first publish for two starts.
const NEAR_MS: u64 = 60_000;
const NEAR_SPREAD_MS: u64 = 10_000;
const FAR_MS: u64 = 1_800_000;
const FAR_SPREAD_MS: u64 = 1_000_000;
/// On a busy machine, with a debug build.
const LATE_MS: u64 = 5_000;
const PIPELINED: u64 = 1000;
const FLAGS: [&str; 2] = ["--memory-limit=16MB", "--durability=written"];
/// A debug build with nothing to do has about a quarter of it.
const RSS_BYTES_MAX: u64 = 160 << 20;
const BODY_BYTES: usize = 200;

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Delays of every length, in no order.
fn delay_ms(number: u64) -> u64 {
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    match number.is_multiple_of(NEAR) {
        true => NEAR_MS + scattered % NEAR_SPREAD_MS,
        false => FAR_MS + scattered % FAR_SPREAD_MS,
    }
}

/// Each body says when it may come at the earliest.
fn fill(broker: &Broker) {
    let mut client = Client::new(broker);
    for from in (0..COUNT).step_by(PIPELINED as usize) {
        let mut batch = Vec::new();
        for number in from..from + PIPELINED {
            let mut body = format!("{number} {} ", now_ms() + delay_ms(number)).into_bytes();
            body.resize(BODY_BYTES, b'.');
            batch.extend(dpub("t", delay_ms(number), &body));
        }
        client.send(&batch);
        (0..PIPELINED).for_each(|_| client.ok());
    }
}

fn has_all(broker: &Broker) {
    for channel in ["a", "b"] {
        broker.await_channel("t", channel, "deferred_count", COUNT as i64);
        assert_eq!(broker.channel("t", channel)["depth"], 0);
    }
    let rss = rss_bytes(broker.pid());
    assert!(rss < RSS_BYTES_MAX, "{} MiB", rss >> 20);
}

/// Takes out what becomes due, each once and in time.
fn collect(broker: &Broker, channel: &str) {
    let mut consumer = Client::consumer(broker, "t", channel, 500);
    let connected_ms = now_ms();
    let mut seen = vec![false; COUNT as usize];
    for _ in 0..COUNT / NEAR {
        let message = loop {
            match consumer.next(Duration::from_millis(2 * NEAR_MS)) {
                Ok(Frame::Message(message)) => break message,
                Ok(_) => consumer.command("NOP"),
                Err(end) => panic!("{end:?} instead of a message"),
            }
        };
        let came_ms = now_ms();
        let mut words = message.text().split(' ').map(|word| word.parse::<u64>().ok());
        let (Some(Some(number)), Some(Some(due_ms))) = (words.next(), words.next()) else {
            panic!("{}", message.text());
        };
        assert!(came_ms >= due_ms, "{number} came {} ms early", due_ms - came_ms);
        let late_ms = came_ms - due_ms.max(connected_ms);
        assert!(late_ms < LATE_MS, "{number} came {late_ms} ms late");
        assert!(number.is_multiple_of(NEAR) && message.attempts == 1, "{number}");
        assert!(!std::mem::replace(&mut seen[number as usize], true), "{number} came twice");
        consumer.fin(&message.id);
    }
    consumer.silent(Duration::from_millis(500));
}

fn fill_and_restart(peer: Peer) {
    let flags = |dir| Broker::start_in(peer, &FLAGS, dir);
    let broker = flags(Arc::new(TempDir::new()));
    broker.post("/topic/create?topic=t");
    broker.post("/channel/create?topic=t&channel=a");
    broker.post("/channel/create?topic=t&channel=b");
    fill(&broker);
    has_all(&broker);
    let broker = flags(broker.stop());
    has_all(&broker);
    let broker = flags(broker.kill());
    has_all(&broker);
    thread::scope(|scope| {
        scope.spawn(|| collect(&broker, "a"));
        scope.spawn(|| collect(&broker, "b"));
    });
    let left = (COUNT - COUNT / NEAR) as i64;
    broker.await_channel("t", "a", "deferred_count", left);
    // What was finished stays finished, and what one channel drops stays with the other.
    broker.post("/channel/empty?topic=t&channel=a");
    broker.await_channel("t", "a", "deferred_count", 0);
    let broker = flags(broker.kill());
    broker.await_channel("t", "b", "deferred_count", left);
    broker.await_channel("t", "a", "deferred_count", 0);
    broker.post("/topic/delete?topic=t");
    let stats = broker.request("GET", "/stats?format=json&topic=t", b"").json();
    assert!(stats["topics"].as_array().is_none_or(Vec::is_empty), "{stats}");
}

#[test]
fn more_deferred_messages_than_memory() {
    on_each_shoal("the original forgets what is deferred", fill_and_restart);
}

/// All of them due at once while nobody was there: they come in order of nothing, but all.
#[test]
fn due_while_the_broker_was_down() {
    on_each_shoal("the original forgets what is deferred", |peer| {
        let broker = start(peer, "written", Arc::new(TempDir::new()));
        broker.post("/topic/create?topic=t");
        broker.post("/channel/create?topic=t&channel=c");
        let count = 30_000;
        let mut client = Client::new(&broker);
        for from in (0..count).step_by(1000) {
            let batch =
                (from..from + 1000).map(|number| dpub("t", 20_000, format!("{number}").as_bytes()));
            client.send(&batch.collect::<Vec<_>>().concat());
            (0..1000).for_each(|_| client.ok());
        }
        let published = std::time::Instant::now();
        let dir = broker.kill();
        thread::sleep(Duration::from_secs(20).saturating_sub(published.elapsed()));
        let broker = start(peer, "written", dir);
        broker.await_channel("t", "c", "depth", count);
        let mut consumer = Client::consumer(&broker, "t", "c", 2500);
        let mut seen = vec![false; count as usize];
        for _ in 0..count {
            let message = consumer.message_within(Duration::from_secs(20));
            let number: usize = message.text().parse().unwrap();
            assert!(!std::mem::replace(&mut seen[number], true), "{number} came twice");
            consumer.fin(&message.id);
        }
        broker.await_channel("t", "c", "in_flight_count", 0);
    });
}
