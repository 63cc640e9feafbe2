//! DPUB and `/pub?defer=`: a message that waits before its first delivery.

use std::time::{Duration, Instant};

use crate::harness::{Broker, Client, Peer, assert_due, at_once, dpub, on_each_peer};

const SECOND: Duration = Duration::from_secs(1);

fn over_tcp(broker: &Broker, peer: Peer) {
    let mut client = Client::consumer(broker, "tcp", "c", 5);
    let start = Instant::now();
    client.publish_deferred("tcp", 1500, b"x");
    broker.await_channel("tcp", "c", "deferred_count", 1);
    let stats = broker.channel("tcp", "c");
    assert_eq!((&stats["depth"], &stats["message_count"]), (&0.into(), &1.into()));
    let message = client.message_within(SECOND * 2 + peer.late());
    assert_due(start, Duration::from_millis(1500), peer.late());
    assert_eq!((message.text(), message.attempts), ("x", 1));
    assert_eq!(broker.channel("tcp", "c")["requeue_count"], 0);
}

fn over_http(broker: &Broker, peer: Peer) {
    let mut client = Client::consumer(broker, "http", "c", 5);
    let start = Instant::now();
    let reply = broker.request("POST", "/pub?topic=http&defer=1500", b"x");
    assert_eq!(reply.text(), "OK");
    let message = client.message_within(SECOND * 2 + peer.late());
    assert_due(start, Duration::from_millis(1500), peer.late());
    assert_eq!(message.attempts, 1);
}

/// No delay is no deferral.
fn zero(broker: &Broker) {
    let mut client = Client::consumer(broker, "zero", "c", 5);
    let start = Instant::now();
    client.publish_deferred("zero", 0, b"x");
    client.delivery("x", 1);
    assert_eq!(broker.request("POST", "/pub?topic=zero&defer=0", b"y").text(), "OK");
    client.delivery("y", 1);
    assert!(start.elapsed() < SECOND * 2, "{:?}", start.elapsed());
}

/// They come in the order of their times, not of their publishing, on every channel.
fn order(broker: &Broker, peer: Peer) {
    let mut clients =
        [Client::consumer(broker, "order", "c", 9), Client::consumer(broker, "order", "d", 9)];
    let start = Instant::now();
    for wait_ms in [2000, 500, 1500, 1000] {
        clients[0].publish_deferred("order", wait_ms, wait_ms.to_string().as_bytes());
    }
    clients[0].publish("order", b"now");
    for client in &mut clients {
        client.delivery("now", 1);
        for wait_ms in [500, 1000, 1500, 2000] {
            let message = client.message_within(SECOND * 2 + peer.late());
            assert_eq!(message.text(), wait_ms.to_string());
            assert_due(start, Duration::from_millis(wait_ms), peer.late());
        }
    }
}

/// Published before there is a channel: still not before its time.
fn before_any_channel(broker: &Broker, peer: Peer) {
    let start = Instant::now();
    Client::new(broker).publish_deferred("before", 2000, b"x");
    let mut client = Client::consumer(broker, "before", "c", 5);
    let message = client.message_within(SECOND * 2 + peer.late());
    assert_due(start, SECOND * 2, peer.late());
    assert_eq!(message.attempts, 1);
}

/// Many at the same time, all of them once.
fn many(broker: &Broker, peer: Peer) {
    let mut client = Client::consumer(broker, "many", "c", 2000);
    let start = Instant::now();
    let all: Vec<u8> = (0..1000_u64)
        .flat_map(|n| dpub("many", 1000 + n % 100, n.to_string().as_bytes()))
        .collect();
    client.send(&all);
    for _ in 0..1000 {
        client.ok();
    }
    let mut seen: Vec<u64> = Vec::new();
    for _ in 0..1000 {
        let message = client.message_within(SECOND * 2 + peer.late());
        let number: u64 = message.text().parse().unwrap();
        assert_due(start, Duration::from_millis(1000 + number % 100), peer.late());
        seen.push(number);
    }
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..1000));
}

#[test]
fn deferred() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        at_once(&[
            &|| over_tcp(&broker, peer),
            &|| over_http(&broker, peer),
            &|| zero(&broker),
            &|| order(&broker, peer),
            &|| before_any_channel(&broker, peer),
            &|| many(&broker, peer),
        ]);
    });
}
