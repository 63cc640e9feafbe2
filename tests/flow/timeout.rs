//! Messages that nobody finishes in time come back, and only then.

use std::time::{Duration, Instant};

use super::with_timeout;
use crate::harness::{Broker, Client, Peer, assert_due, at_once, on_each_peer};

const SECOND: Duration = Duration::from_secs(1);

/// The broker's own timeout: back with one attempt more, counted, and a late FIN fails.
fn broker_timeout(broker: &Broker, peer: Peer) {
    let mut client = Client::consumer(broker, "own", "c", 1);
    let start = Instant::now();
    client.publish("own", b"x");
    let id = client.delivery("x", 1);
    let again = client.message_within(SECOND * 3 + peer.late());
    assert_due(start, SECOND * 3, peer.late());
    assert_eq!((again.attempts, again.id.as_str()), (2, id.as_str()));
    let stats = broker.channel("own", "c");
    assert_eq!((&stats["timeout_count"], &stats["requeue_count"]), (&1.into(), &0.into()));
    assert_eq!((&stats["in_flight_count"], &stats["message_count"]), (&1.into(), &1.into()));
    assert_eq!(stats["clients"][0]["in_flight_count"], 1);
    client.fin(&id);
    client.alive();
    client.fin(&id);
    client.expect(&format!("error: E_FIN_FAILED FIN {id} failed ID not in flight"));
}

/// After the timeout the message is nobody's until it is delivered again.
fn late_fin(broker: &Broker, peer: Peer) {
    let mut client = with_timeout(broker, 1000, "late c", 1);
    client.publish("late", b"x");
    let id = client.delivery("x", 1);
    client.command("RDY 0");
    let start = Instant::now();
    while broker.channel("late", "c")["in_flight_count"] != 0 {
        assert!(start.elapsed() < SECOND + peer.late());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(broker.channel("late", "c")["depth"], 1);
    assert_eq!(broker.channel("late", "c")["clients"][0]["in_flight_count"], 0);
    for (command, code) in [("FIN", "E_FIN"), ("REQ", "E_REQ"), ("TOUCH", "E_TOUCH")] {
        client.command(&format!("{command} {id} 0"));
        let error = format!("error: {code}_FAILED {command} {id} failed ID not in flight");
        client.expect(&error);
    }
    client.command("RDY 1");
    client.delivery("x", 2);
}

/// Each connection's messages have that connection's timeout.
fn per_connection(broker: &Broker, peer: Peer) {
    let mut short = with_timeout(broker, 1000, "each c", 1);
    let start_short = Instant::now();
    short.publish("each", b"short");
    short.delivery("short", 1);
    short.command("RDY 0");
    short.alive();
    let mut long = with_timeout(broker, 4000, "each c", 1);
    let start_long = Instant::now();
    long.publish("each", b"long");
    let first = long.message();
    let mut other = Client::consumer(broker, "each", "c", 2);
    if first.text() == "short" {
        // So late that the short timeout was over: nothing left to compare.
        return;
    }
    long.command("RDY 0");
    for (body, start, timeout) in [("short", start_short, 1), ("long", start_long, 4)] {
        let message = other.message_within(SECOND * timeout + peer.late());
        assert_due(start, SECOND * timeout, peer.late());
        assert_eq!((message.text(), message.attempts), (body, 2));
        // Or else it would come back once more, after the broker's own timeout.
        other.fin(&message.id);
    }
}

/// What a lost connection had in flight comes back after its timeout, not at once.
fn after_disconnect(broker: &Broker, peer: Peer) {
    let mut lost = with_timeout(broker, 3000, "lost c", 5);
    let mut other = Client::consumer(broker, "lost", "c", 0);
    let start = Instant::now();
    for body in ["a", "b", "c"] {
        lost.publish("lost", body.as_bytes());
        lost.delivery(body, 1);
    }
    drop(lost);
    other.command("RDY 5");
    other.silent(SECOND);
    assert_eq!(broker.channel("lost", "c")["in_flight_count"], 3);
    assert_eq!(broker.channel("lost", "c")["client_count"], 1);
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let message = other.message_within(SECOND * 3 + peer.late());
        assert_due(start, SECOND * 3, peer.late());
        assert_eq!(message.attempts, 2);
        bodies.push(message.text().to_string());
    }
    bodies.sort();
    assert_eq!(bodies, ["a", "b", "c"]);
    assert_eq!(broker.channel("lost", "c")["timeout_count"], 3);
}

/// A consumer that goes away before finishing, one message at a time, loses none of 200.
fn abandoned_by_many(broker: &Broker, peer: Peer) {
    super::publish_numbers(broker, "abandoned", 200);
    drop(Client::consumer(broker, "abandoned", "c", 0));
    for _ in 0..20 {
        let mut client = with_timeout(broker, 1000, "abandoned c", 5);
        client.message();
    }
    let mut rest = with_timeout(broker, 60_000, "abandoned c", 250);
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 200 {
        seen.insert(rest.message_within(SECOND + peer.late()).text().to_string());
    }
    broker.await_channel("abandoned", "c", "in_flight_count", 200);
}

#[test]
fn timeouts() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &["--msg-timeout=3s"]);
        at_once(&[
            &|| broker_timeout(&broker, peer),
            &|| late_fin(&broker, peer),
            &|| per_connection(&broker, peer),
            &|| after_disconnect(&broker, peer),
            &|| abandoned_by_many(&broker, peer),
        ]);
    });
}
