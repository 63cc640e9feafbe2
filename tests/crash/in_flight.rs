//! kill -9 with everything in flight, touched, deferred or given back: all of it comes again, and
//! what was put off comes when it was put off to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{LASTING, numbered, publish_all, start};
use crate::harness::{
    Broker, Client, Message, Peer, SOON, TempDir, at_once, dpub, on_each_peer, on_each_shoal,
};

const COUNT: usize = 300;
const DUE: Duration = Duration::from_secs(5);
const EARLY: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(2);
/// What consumers said is written within this time, also on a busy machine.
const SETTLED: Duration = Duration::from_millis(500);

/// Which third a message of `t` belongs to.
fn third(text: &str) -> usize {
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() % 3
}

/// Delivers everything: a third is put off, a third is touched, and a third just held. Gives a
/// moment before the first and one after the last was put off.
fn scatter(broker: &Broker, consumer: &mut Client) -> (Instant, Instant) {
    let mut client = Client::new(broker);
    publish_all(&mut client, "t", &numbered("t", COUNT));
    let messages: Vec<Message> = (0..COUNT).map(|_| consumer.message()).collect();
    let before = Instant::now();
    for message in &messages {
        match third(message.text()) {
            0 => consumer.req(&message.id, DUE.as_millis() as u64),
            1 => consumer.touch(&message.id),
            _ => {}
        }
    }
    for body in numbered("deferred", COUNT / 3) {
        client.send(&dpub("t", DUE.as_millis() as u64, body.as_bytes()));
        client.ok();
    }
    consumer.alive();
    broker.await_channel("t", "c", "deferred_count", 2 * COUNT as i64 / 3);
    (before, Instant::now())
}

/// Another channel gives everything back at once, twice, and takes nothing more.
fn give_back(broker: &Broker) {
    let mut consumer = Client::new(broker);
    consumer.subscribe("t", "back");
    for round in 1..=2 {
        consumer.command(&format!("RDY {COUNT}"));
        let messages: Vec<Message> = (0..COUNT).map(|_| consumer.message()).collect();
        consumer.command("RDY 0");
        consumer.alive();
        for message in &messages {
            assert_eq!(message.attempts, round);
            consumer.req(&message.id, 0);
        }
        consumer.alive();
        broker.await_channel("t", "back", "in_flight_count", 0);
    }
}

/// Each message of the channel within `within`, once; and when it came.
fn collect(
    consumer: &mut Client,
    count: usize,
    within: Duration,
) -> BTreeMap<String, (u16, Instant)> {
    let mut found = BTreeMap::new();
    for _ in 0..count {
        let message = consumer.message_within(within);
        let came = (message.attempts, Instant::now());
        let previous = found.insert(message.text().to_string(), came);
        assert!(previous.is_none(), "{} came twice", message.text());
        consumer.fin(&message.id);
    }
    found
}

fn kill_and_look(peer: Peer, mode: &str) {
    let broker = start(peer, mode, Arc::new(TempDir::new()));
    broker.post("/topic/create?topic=t");
    broker.post("/channel/create?topic=t&channel=c");
    broker.post("/channel/create?topic=t&channel=back");
    let mut consumer = Client::consumer(&broker, "t", "c", COUNT as u32);
    let (first, last) = scatter(&broker, &mut consumer);
    give_back(&broker);
    thread::sleep(SETTLED);
    let broker = start(peer, mode, broker.kill());
    let latest = Instant::now().max(last + DUE) + LATE;
    let mut consumer = Client::consumer(&broker, "t", "c", 2 * COUNT as u32);
    let mut back = Client::consumer(&broker, "t", "back", 2 * COUNT as u32);
    // First what was only in flight, then what was put off.
    for (body, (attempts, _)) in collect(&mut consumer, 2 * COUNT / 3, SOON) {
        assert!(body.starts_with("t ") && third(&body) != 0, "{body} came too early");
        assert!((1..=2).contains(&attempts), "{body} came with {attempts} attempts");
    }
    for (body, (attempts, at)) in collect(&mut consumer, 2 * COUNT / 3, DUE + SOON) {
        assert!(at + EARLY >= first + DUE, "{body} came {:?} early", first + DUE - at);
        assert!(at <= latest, "{body} came {:?} late", at - latest + LATE);
        let before = if body.starts_with("t ") { 1 } else { 0 };
        assert_eq!(attempts, before + 1, "{body}");
    }
    consumer.silent(Duration::from_millis(300));
    let found = collect(&mut back, COUNT + COUNT / 3, DUE + SOON);
    for (body, (attempts, _)) in found {
        let before = if body.starts_with("t ") { 2 } else { 0 };
        assert_eq!(attempts, before + 1, "{body} that was given back");
    }
    back.silent(Duration::from_millis(300));
}

#[test]
fn everything_in_flight() {
    on_each_shoal("the original loses what is in flight or deferred", |peer| {
        at_once(&[&|| kill_and_look(peer, LASTING[0]), &|| kill_and_look(peer, LASTING[1])]);
    });
}

/// Half is finished when the broker dies: that half does not come again.
#[test]
fn finished_long_ago() {
    on_each_peer(|peer| {
        for mode in LASTING {
            let broker = start(peer, mode, Arc::new(TempDir::new()));
            let mut consumer = Client::consumer(&broker, "t", "c", 1);
            publish_all(&mut Client::new(&broker), "t", &numbered("t", COUNT));
            let mut finished = Vec::new();
            for _ in 0..COUNT / 2 {
                let message = consumer.message();
                finished.push(message.text().to_string());
                consumer.fin(&message.id);
            }
            let held = consumer.message();
            thread::sleep(Duration::from_secs(1) + SETTLED);
            let broker = start(peer, mode, broker.kill());
            let mut consumer = Client::consumer(&broker, "t", "c", COUNT as u32);
            let mut expected: Vec<String> = numbered("t", COUNT);
            expected.retain(|body| !finished.contains(body));
            if peer.is_original() {
                expected.retain(|body| body != held.text());
            }
            let found = collect(&mut consumer, expected.len(), SOON);
            consumer.silent(Duration::from_millis(300));
            expected.sort();
            assert_eq!(found.into_keys().collect::<Vec<_>>(), expected, "{mode}");
        }
    });
}
