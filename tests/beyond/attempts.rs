//! A message that is delivered in vain goes to the dead-letter topic after exactly its attempts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::{Broker, Client, Peer, SOON, TempDir, eventually, identify, on_each_shoal};

const REASON: &str = "the original has no limit of attempts";

/// A broker with a topic on the first shard, and its dead letters on the last.
fn flags(peer: Peer) -> Vec<String> {
    let last = match peer {
        Peer::Shoal { shards } => shards - 1,
        Peer::Original => 0,
    };
    vec!["--topic-shard=work=0".to_owned(), format!("--topic-shard=dead={last}")]
}

fn start(peer: Peer) -> Broker {
    let flags = flags(peer);
    Broker::start(peer, &flags.iter().map(String::as_str).collect::<Vec<_>>())
}

fn start_in(peer: Peer, dir: Arc<TempDir>) -> Broker {
    let flags = flags(peer);
    Broker::start_in(peer, &flags.iter().map(String::as_str).collect::<Vec<_>>(), dir)
}

pub fn configure(broker: &Broker, channel: &str, settings: &str) {
    broker.post("/topic/create?topic=work");
    broker.post(&format!("/channel/create?topic=work&channel={channel}"));
    broker.post(&format!("/channel/config?topic=work&channel={channel}&{settings}"));
}

/// What waits in the dead-letter topic, seen by an ordinary consumer.
fn dead(broker: &Broker, channel: &str, count: usize) -> Vec<String> {
    let mut consumer = Client::consumer(broker, "dead", channel, 100);
    let bodies = (0..count).map(|_| {
        let message = consumer.message();
        consumer.fin(&message.id);
        message.text().to_owned()
    });
    let bodies = bodies.collect();
    consumer.silent(Duration::from_millis(100));
    bodies
}

#[test]
fn a_message_goes_after_its_attempts() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer);
        configure(&broker, "c", "max_attempts=3&dead_letter_topic=dead");
        broker.post("/channel/create?topic=work&channel=other");
        let mut consumer = Client::consumer(&broker, "work", "c", 10);
        let mut producer = Client::new(&broker);
        producer.publish("work", b"poison");
        producer.publish("work", b"good");
        let mut deliveries = 0;
        let start = Instant::now();
        while deliveries < 4 {
            let message = consumer.message();
            deliveries += 1;
            match message.text() {
                "good" => consumer.fin(&message.id),
                _ => consumer.req(&message.id, 0),
            }
            assert!(start.elapsed() < SOON);
        }
        consumer.silent(Duration::from_millis(200));
        let stats = broker.channel("work", "c");
        assert_eq!((&stats["depth"], &stats["in_flight_count"]), (&0.into(), &0.into()));
        assert_eq!(stats["dead_letter_count"], 1);
        assert_eq!(broker.channel("work", "other")["depth"], 2, "the other channel has all");
        assert_eq!(dead(&broker, "d", 1), ["poison"]);
    });
}

#[test]
fn nobody_who_answers_counts_as_an_attempt() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer);
        configure(&broker, "c", "max_attempts=2&dead_letter_topic=dead");
        let mut consumer = Client::new(&broker);
        consumer.send(&identify(r#"{"msg_timeout":1000}"#));
        consumer.frame();
        consumer.subscribe("work", "c");
        consumer.command("RDY 1");
        Client::new(&broker).publish("work", b"slow");
        assert_eq!(consumer.message().attempts, 1);
        assert_eq!(consumer.message().attempts, 2);
        broker.await_channel("work", "c", "dead_letter_count", 1);
        assert_eq!(broker.channel("work", "c")["timeout_count"], 2);
        consumer.silent(Duration::from_millis(200));
        assert_eq!(dead(&broker, "d", 1), ["slow"]);
    });
}

#[test]
fn each_attempt_waits_its_time() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer);
        let settings = "max_attempts=4&dead_letter_topic=dead&retry_backoff=100ms,300ms";
        configure(&broker, "c", settings);
        let mut consumer = Client::consumer(&broker, "work", "c", 1);
        Client::new(&broker).publish("work", b"x");
        let mut message = consumer.message();
        for least_ms in [100, 300, 300] {
            let given_back = Instant::now();
            consumer.req(&message.id, 0);
            message = consumer.message();
            assert!(given_back.elapsed() >= Duration::from_millis(least_ms));
        }
        assert_eq!(message.attempts, 4);
        consumer.req(&message.id, 0);
        broker.await_channel("work", "c", "dead_letter_count", 1);
    });
}

/// The broker ends after every delivery, in every way, while the message is with a consumer or was
/// given back. The consumer sees it exactly as often as the channel allows.
#[test]
fn attempts_are_exact_over_restarts_and_kills() {
    on_each_shoal(REASON, |peer| {
        let mut broker = start(peer);
        configure(&broker, "c", "max_attempts=6&dead_letter_topic=dead");
        Client::new(&broker).publish("work", b"poison");
        for attempt in 1..=6 {
            let mut consumer = Client::consumer(&broker, "work", "c", 1);
            let message = consumer.message();
            assert_eq!((message.text(), message.attempts), ("poison", attempt));
            if attempt % 2 == 0 {
                consumer.command("RDY 0");
                consumer.req(&message.id, 0);
            }
            // What it did is carried out, and the turn in which it was is over.
            consumer.alive();
            consumer.alive();
            let dir = if attempt % 3 == 0 { broker.stop() } else { broker.kill() };
            broker = start_in(peer, dir);
        }
        let mut consumer = Client::consumer(&broker, "work", "c", 1);
        eventually("it is a dead letter", SOON, || broker.topic("dead")["depth"] != 0);
        consumer.silent(Duration::from_millis(100));
        assert_eq!(broker.channel("work", "c")["depth"], 0);
        let dir = broker.kill();
        let broker = start_in(peer, dir);
        // The end of the broker may have come while it was on its way: then it went twice.
        let mut letters = Client::consumer(&broker, "dead", "d", 10);
        let letters = letters.drain(Duration::from_millis(300));
        assert!(letters.iter().all(|letter| letter.text() == "poison"));
        assert!((1..=2).contains(&letters.len()), "{}", letters.len());
        assert_eq!(broker.channel("work", "c")["depth"], 0, "it is not here any more");
    });
}

#[test]
fn clients_own_limits_keep_working() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer);
        configure(&broker, "c", "max_attempts=5&dead_letter_topic=dead&retry_backoff=10ms");
        let mut consumer = Client::consumer(&broker, "work", "c", 1);
        Client::new(&broker).publish("work", b"x");
        // A client that gives up after two finishes the message itself.
        let message = consumer.message();
        let start = Instant::now();
        consumer.req(&message.id, 400);
        let message = consumer.message();
        assert!(start.elapsed() >= Duration::from_millis(400), "its own delay is longer");
        assert_eq!(message.attempts, 2);
        consumer.fin(&message.id);
        broker.await_channel("work", "c", "in_flight_count", 0);
        assert!(broker.channel("work", "c")["dead_letter_count"].is_null());
    });
}

#[test]
fn dead_letters_wait_while_their_topic_is_full() {
    on_each_shoal(REASON, |peer| {
        let broker = start(peer);
        configure(&broker, "c", "max_attempts=1&dead_letter_topic=dead");
        broker.post("/topic/create?topic=dead");
        broker.post("/topic/config?topic=dead&max_messages=1");
        let mut producer = Client::new(&broker);
        let mut consumer = Client::consumer(&broker, "work", "c", 1);
        for number in 0..3 {
            producer.publish("work", format!("{number}").as_bytes());
            let message = consumer.message();
            consumer.req(&message.id, 0);
            // Two that come in one turn are both taken.
            eventually("one is there", SOON, || broker.topic("dead")["depth"] == 1);
        }
        broker.await_channel("work", "c", "dead_lettering_count", 2);
        broker.post("/topic/config?topic=dead&max_messages=0");
        eventually("all are there", SOON, || broker.topic("dead")["depth"] == 3);
        let mut all = dead(&broker, "d", 3);
        all.sort();
        assert_eq!(all, ["0", "1", "2"]);
    });
}
