//! REQ: at once, later, and with timeouts that make no sense.

use std::time::{Duration, Instant};

use crate::harness::{Broker, Client, Peer, assert_due, at_once, on_each_peer};

const SECOND: Duration = Duration::from_secs(1);

/// A message given back at once has one attempt more, the same id, time and body.
fn at_once_again(broker: &Broker) {
    let mut client = Client::consumer(broker, "again", "c", 1);
    client.publish("again", b"x");
    let first = client.message();
    for attempts in 2..=20 {
        client.req(&first.id, 0);
        let message = client.message();
        assert_eq!(message.attempts, attempts);
        assert_eq!((&message.id, message.timestamp), (&first.id, first.timestamp));
        assert_eq!(message.body, b"x");
    }
    client.fin(&first.id);
    broker.await_channel("again", "c", "in_flight_count", 0);
    let stats = broker.channel("again", "c");
    assert_eq!((&stats["requeue_count"], &stats["timeout_count"]), (&19.into(), &0.into()));
    assert_eq!((&stats["depth"], &stats["message_count"]), (&0.into(), &1.into()));
    let client = &stats["clients"][0];
    assert_eq!((&client["requeue_count"], &client["finish_count"]), (&19.into(), &1.into()));
    assert_eq!(client["message_count"], 20);
}

/// Given back with a delay, it comes no earlier, and waits among the deferred.
fn delayed(broker: &Broker, peer: Peer) {
    let mut client = Client::consumer(broker, "delayed", "c", 2);
    client.publish("delayed", b"x");
    let id = client.delivery("x", 1);
    let start = Instant::now();
    client.req(&id, 1500);
    client.alive();
    let stats = broker.channel("delayed", "c");
    assert_eq!((&stats["deferred_count"], &stats["in_flight_count"]), (&1.into(), &0.into()));
    assert_eq!((&stats["depth"], &stats["requeue_count"]), (&0.into(), &1.into()));
    let message = client.message_within(SECOND * 2 + peer.late());
    assert_due(start, Duration::from_millis(1500), peer.late());
    assert_eq!((message.attempts, message.id), (2, id));
    assert_eq!(broker.channel("delayed", "c")["deferred_count"], 0);
}

/// A longer delay than `--max-req-timeout` is shortened to it, without an error.
fn clamped(broker: &Broker, peer: Peer, asked: u64) {
    let topic = format!("clamped-{asked}");
    let mut client = Client::consumer(broker, &topic, "c", 1);
    client.publish(&topic, b"x");
    let id = client.delivery("x", 1);
    let start = Instant::now();
    client.req(&id, asked);
    let message = client.message_within(SECOND * 2 + peer.late());
    assert_due(start, SECOND * 2, peer.late());
    assert_eq!(message.attempts, 2);
}

/// Empty, and negative after the conversion to nanoseconds: both mean at once.
fn nonsense(broker: &Broker) {
    let mut client = Client::consumer(broker, "nonsense", "c", 1);
    client.publish("nonsense", b"x");
    let id = client.delivery("x", 1);
    let timeouts = ["", "0", "18446744073709551615", "9223372036855", "18446744073709551616"];
    for (attempts, timeout) in (2..).zip(timeouts) {
        let start = Instant::now();
        client.command(&format!("REQ {id} {timeout}"));
        client.delivery("x", attempts);
        assert!(start.elapsed() < SECOND * 2, "{timeout:?} took {:?}", start.elapsed());
    }
}

/// A message given back waits behind those that were there.
fn to_the_tail(broker: &Broker) {
    let mut client = Client::consumer(broker, "tail", "c", 1);
    for body in ["a", "b", "c"] {
        client.send(&crate::harness::publish("tail", body.as_bytes()));
    }
    let mut id = String::new();
    for _ in 0..4 {
        match client.frame() {
            crate::harness::Frame::Message(message) => id = message.id,
            frame => assert_eq!(frame.describe(), "OK"),
        }
    }
    broker.await_channel("tail", "c", "depth", 2);
    client.req(&id, 0);
    for body in ["b", "c"] {
        let id = client.delivery(body, 1);
        client.fin(&id);
    }
    client.delivery("a", 2);
}

#[test]
fn requeue() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &["--max-req-timeout=2s"]);
        at_once(&[
            &|| at_once_again(&broker),
            &|| delayed(&broker, peer),
            &|| clamped(&broker, peer, 2001),
            &|| clamped(&broker, peer, 9_000_000_000),
            &|| nonsense(&broker),
            &|| to_the_tail(&broker),
        ]);
    });
}
